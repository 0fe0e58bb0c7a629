"""Encrypts and decrypts for one account: the door to all of its keys."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Store, Unavailable
from surfaces_matrix.breath import Breath
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.channel import ONE_TIME_KEY, Channel
from surfaces_matrix.e2ee.device import Device, Identity, Policy, Trust
from surfaces_matrix.e2ee.devices import Devices
from surfaces_matrix.e2ee.held import Held, Holding
from surfaces_matrix.e2ee.inbound import (
    Decrypted,
    Inbound,
    InboundSession,
    Origin,
    Sender,
    exported,
    imported,
    received,
)
from surfaces_matrix.e2ee.inbox import Inbox, ToDeviceHandler
from surfaces_matrix.e2ee.keep import Keep, pickle_key
from surfaces_matrix.e2ee.members import Members
from surfaces_matrix.e2ee.olm import Olm, Opened, Undecryptable
from surfaces_matrix.e2ee.outbound import Outbound, Rotation
from surfaces_matrix.e2ee.policy import believed, is_held
from surfaces_matrix.e2ee.sharing import WITHHELD, Sharing
from surfaces_matrix.e2ee.upkeep import Upkeep
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import LONGEST_ID, mapping, one_line, sequence, text, user_id

RoomEventHandler = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Gets the room's id and an event of it, decrypted."""
NewSessionHandler = Callable[[str, str], Awaitable[None]]
"""Gets the ids of a room and of a Megolm session that can be exported now."""
LOOK_S = 5.0
"""So long reading waits to learn whose device sent an event."""
NEVER = frozenset({"m.blacklisted", "m.unverified", "m.unauthorised"})
"""Codes of `m.room_key.withheld` by which a key will not come, however long one waits."""
KEY_COMES = frozenset({"NO_KEY", "UNKNOWN_DEVICE", "UNSIGNED"})
"""Codes of what may be read later."""
UNTRUSTED = "UNTRUSTED"
"""Code of what was read, and came from a device whose words do not count."""
MOST_WITHHELD = 1000
MOST_HEARD = 1000
MOST_PASSED_OVER = 20


class Machine:
    """The keys of one device of ours. Usable once `open` returned; what needs it before waits for that."""

    def __init__(
        self,
        client: Client,
        store: Store,
        log: FilteringBoundLogger,
        *,
        trust: Policy = "tofu",
        secret: str | None = None,
        where: str = "pickle_key",
        session: Callable[[], str] = str,
        allowed: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.user_id = client.user_id
        self.device_id = ""
        self.keep = Keep(store)
        """Where more durable state of this account's keys can be kept, written together with what is here."""
        self._client = client
        self._store = store
        self._log = log
        self._policy: Policy = trust
        self._secret = secret
        self._where = where
        self._session = session
        self._allowed = allowed
        self._clock = clock
        self._devices = Devices(client, self.keep, log)
        self._members = Members(client)
        self._held = Holding(self.keep, clock)
        self._opened = asyncio.Event()
        self._to_device: list[tuple[str, ToDeviceHandler]] = []
        self._room_events: dict[str, list[RoomEventHandler]] = {}
        self._new_session: list[NewSessionHandler] = []
        self._fresh: list[tuple[str, str]] = []
        """Sessions that came since the handlers were told."""
        self._news = True
        """Something came by which a held event may be readable."""
        self._readable: dict[str, tuple[Held, Mapping[str, Any]]] = {}
        """Held events that could be read, by event id, until the host has them."""
        self._given_up: dict[str, Held] = {}
        self._untrusted: dict[tuple[str, str], str] = {}
        """The first event of a device that is not listened to, by room and session, until the host knows."""
        self.passed_over: deque[tuple[str, str, str]] = deque(maxlen=MOST_PASSED_OVER)
        """Rooms, ids and senders of the last such events, for whoever examines the account."""
        self._asked: set[str] = set()
        self._heard: OrderedDict[str, None] = OrderedDict()
        """Events that handlers were called for, by id."""
        self._withheld: dict[tuple[str, str], tuple[str, str]] = {}
        """Senders and codes of keys that will not come, by room and session."""

    async def open(self, device_id: str) -> None:
        """Load the keys of a device, or make new ones where it has none. `ConfigError` when they can't be opened."""
        if self._opened.is_set() and device_id == self.device_id:
            return
        key = await pickle_key(self._store, self._secret)
        self._olm = await Olm.load(
            self.keep, key, self.user_id, device_id, clock=self._clock, where=self._where, log=self._log
        )
        self._inbound = Inbound(self.keep, key)
        self._channel = Channel(self._client, self.keep, self._olm, self._log, self._clock)
        self._upkeep = Upkeep(
            self._client, self.keep, self._olm, self._channel, self._devices, self._log, self._clock, self._session
        )
        self._inbox = Inbox(self.keep, self._olm, self._devices, self._channel, self._upkeep, self._log)
        self._sharing = Sharing(
            olm=self._olm,
            keep=self.keep,
            channel=self._channel,
            devices=self._devices,
            members=self._members,
            outbound=Outbound(self._clock),
            policy=self._policy,
            log=self._log,
            began=self._add,
        )
        await self._inbox.load()
        self._inbox.on_encrypted("m.room_key", self._take_key)
        self._inbox.on_encrypted("m.forwarded_room_key", self._take_forwarded)
        self._inbox.on_encrypted("m.dummy", self._take_dummy)
        self._inbox.on(WITHHELD, self._take_withheld)
        for type_, handler in self._to_device:
            self._inbox.on(type_, handler)
        await self._held.load()
        await self.keep.flush()
        self.device_id = device_id
        self._opened.set()

    async def ready(self, timeout_s: float) -> None:
        """Wait until it is open. `Unavailable`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._opened.wait()
        except TimeoutError:
            raise Unavailable("the encryption keys are not loaded yet") from None

    async def opened(self) -> None:
        """Wait until it is open, however long that takes."""
        await self._opened.wait()

    async def run(self) -> None:
        """Do what the keys need from the homeserver, until cancelled."""
        await self._opened.wait()
        await self._upkeep.run()

    @property
    def trouble(self) -> str:
        """Why our keys could not be published, as a stable word; empty when they are."""
        return self._upkeep.trouble if self._opened.is_set() else ""

    # Who we are

    @property
    def ed25519(self) -> str:
        """Our device's signing key, unpadded base64."""
        return self._olm.ed25519

    @property
    def curve25519(self) -> str:
        """Our device's identity key, unpadded base64."""
        return self._olm.curve25519

    def sign(self, value: Mapping[str, Any]) -> str:
        """Our device's signature of an object's canonical JSON, without its `signatures` and `unsigned`."""
        return self._olm.sign(value)

    def device_keys(self) -> dict[str, Any]:
        """Our device keys object, signed, as it is uploaded."""
        return self._olm.device_keys()

    # Who others are

    async def devices(self, user_id: str) -> Mapping[str, Device]:
        """Somebody's devices by id, asked for where they are not known or may have changed. `Unavailable`."""
        await self._devices.refresh([user_id], timeout_s=self._client.timeout_s)
        return await self._devices.of(user_id)

    async def identity_of(self, user_id: str) -> Identity:
        """Somebody's cross-signing keys as last queried; asked for where they are not known. `Unavailable`."""
        await self._devices.refresh([user_id], timeout_s=self._client.timeout_s)
        return await self._devices.identity(user_id)

    async def forget_devices(self, user_id: str) -> None:
        """Ask for somebody's devices anew the next time."""
        await self._devices.outdate([user_id])

    async def set_trust(self, user_id: str, device_id: str, ed25519: str, verified: bool) -> None:
        """Note that a device with this key was verified, or no longer is.

        With a master key's public part as `device_id` and `ed25519` it is the person's identity.
        """
        await self._devices.trust(user_id, device_id, ed25519, verified)
        self._news = True
        await self.keep.flush()

    def vouch(self, user_signing: str) -> None:
        """Whoever is signed by this key of our identity counts as verified."""
        self._devices.vouch(user_signing)
        self._news = True

    async def upload_signatures(self, body: Mapping[str, Any]) -> None:
        """Upload signatures (Matrix spec, `/keys/signatures/upload`). `Unavailable` or `Rejected`."""
        answer = await self._client.call("POST", "/v3/keys/signatures/upload", dict(body))
        failures = mapping(answer.get("failures"))
        if failures:
            raise Refused(f"signatures were refused for {sorted(failures)}", status=400, errcode="M_INVALID_SIGNATURE")

    # Messages to devices

    async def send_to_device(
        self, type_: str, messages: Mapping[str, Mapping[str, Mapping[str, Any]]], *, encrypted: bool
    ) -> None:
        """Send contents by user and device id; to a device without a session one is made. `Unavailable`, `Refused`."""
        timeout_s = self._client.timeout_s
        await self.ready(timeout_s)
        if not encrypted:
            await self._channel.put(type_, messages, timeout_s=timeout_s)
            return
        known = {user_id: await self.devices(user_id) for user_id in messages}
        wanted = [
            (known[user_id][device_id], content)
            for user_id, contents in messages.items()
            for device_id, content in contents.items()
            if device_id in known[user_id]
        ]
        await self._channel.reach([device for device, _ in wanted], timeout_s=timeout_s)
        await self._channel.send(type_, wanted, timeout_s=timeout_s)

    def on_to_device(self, type_: str, handler: ToDeviceHandler) -> None:
        """Call a handler for each such message; its failures are logged and end nothing.

        It is called while the sync waits, and may be called again after a crash.
        """
        self._to_device.append((type_, handler))
        if self._opened.is_set():
            self._inbox.on(type_, handler)

    def on_room_event(self, type_: str, handler: RoomEventHandler) -> None:
        """Call a handler for each such event of a room's timeline, decrypted; `m.room.message` by its msgtype."""
        self._room_events.setdefault(type_, []).append(handler)

    # Responses

    async def receive(self, response: Mapping[str, Any]) -> None:
        """Take and keep what a sync response brings for the keys; a repeat does no harm."""
        self._members.notice(response)
        changed = sequence(mapping(response.get("device_lists")).get("changed"))
        if changed:
            await self._devices.outdate(filter(None, map(user_id, changed)))
            self._news = True
        await self._inbox.take(sequence(mapping(response.get("to_device")).get("events")))
        counts = response.get("device_one_time_keys_count")
        there = mapping(counts).get(ONE_TIME_KEY, 0)
        self._upkeep.counted(there if isinstance(counts, dict) and isinstance(there, int) else None)
        await self.keep.flush()
        await self._tell()

    def lost(self) -> None:
        """Responses are missing: nobody knows whose devices changed."""
        self._devices.outdate_all()
        if self._opened.is_set():
            self._upkeep.republish()

    # Rooms

    async def seal(
        self, room_id: str, encryption: Mapping[str, Any], type_: str, content: Mapping[str, Any], *, timeout_s: float
    ) -> dict[str, Any]:
        """The content of an `m.room.encrypted` for an event. `encryption` is what the room's `m.room.encryption` says.

        `Unavailable` or `Refused`.
        """
        await self.ready(timeout_s)
        sealed = await self._sharing.seal(room_id, Rotation.of(encryption), type_, content, timeout_s=timeout_s)
        await self._tell()
        return sealed

    async def decrypt(self, room_id: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An `m.room.encrypted` event as the event that is in it. `Undecryptable`."""
        sender, event_id = user_id(event.get("sender")), text(event.get("event_id"))
        if sender is None or event_id is None:
            raise Undecryptable("MALFORMED")
        found = await self._inbound.decrypt(room_id, mapping(event.get("content")))
        await self._check(found, sender)
        await self._inbound.notice(room_id, event_id, found)
        return {**event, "type": found.type, "content": found.content}

    async def _check(self, found: Decrypted, sender: str) -> None:
        """Raise `Undecryptable` unless an event was surely said by its sender, and by a device that is trusted."""
        if found.sender.user_id not in ("", sender):
            raise Undecryptable("FORGED")
        if sender == self.user_id and found.sender.curve25519 == self.curve25519:
            return
        device = await self._devices.find(sender, found.sender.curve25519)
        if device is None or device.trust is Trust.UNSIGNED:
            await self._look(sender)
            device = await self._devices.find(sender, found.sender.curve25519)
        was_verified = await self._devices.was_verified(sender)
        if not believed(self._policy, found, device, was_verified=was_verified):
            if device is None:
                raise Undecryptable("UNKNOWN_DEVICE")
            raise Undecryptable("UNSIGNED" if device.trust is Trust.UNSIGNED else UNTRUSTED)

    async def held_to_keys(self, person: str) -> bool:
        """Whether somebody's words count from their verified devices alone."""
        return is_held(self._policy, was_verified=await self._devices.was_verified(person))

    async def _look(self, person: str) -> None:
        try:
            await self._devices.refresh([person], timeout_s=LOOK_S)
        except (Unavailable, Refused) as error:
            self._log.debug("devices.unknown", user=person, error=str(error))

    async def read(self, room_id: str, event: Mapping[str, Any], *, hold: bool) -> Mapping[str, Any] | None:
        """An encrypted event as it is inside; None, and with `hold` held, where it can't be read. Flush behind it."""
        try:
            opened = await self.decrypt(room_id, event)
        except Undecryptable as error:
            if error.code in KEY_COMES:
                if hold and self._held.add(room_id, event):
                    self._log.info("event.held", room=room_id, code=error.code)
            else:
                self._log.warning("event.unreadable", room=room_id, code=error.code)
                self._note(room_id, event, error, hold=hold)
            return None
        return opened

    def _note(self, room_id: str, event: Mapping[str, Any], error: Undecryptable, *, hold: bool) -> None:
        """Whoever writes from a device that is not listened to is to hear of it."""
        session_id = text(mapping(event.get("content")).get("session_id"))
        if hold and error.code == UNTRUSTED and session_id is not None:
            self._untrusted.setdefault((room_id, session_id), str(event.get("event_id")))
            self.passed_over.append((room_id, str(event.get("event_id")), str(event.get("sender"))))

    async def heard(self, room_id: str, event: Mapping[str, Any]) -> None:
        """Hand an event, plain or decrypted, to whoever waits for its type."""
        type_ = text(event.get("type")) or ""
        if type_ == "m.room.message":
            type_ = text(mapping(event.get("content")).get("msgtype")) or ""
        event_id = text(event.get("event_id"))
        if type_ not in self._room_events or event_id is None or event_id in self._heard:
            return
        self._heard[event_id] = None
        while len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)
        for handler in self._room_events[type_]:
            try:
                await handler(room_id, event)
            except Unavailable as error:
                self._log.warning("room_event.failed", type=type_, room=room_id, code=error.code)

    # What could not be read

    async def readable(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """The held events that can be read by now, decrypted, with their rooms, in the order they came."""
        if self._news:
            self._news, breath = False, Breath()
            for held in self._held:
                await breath()
                if held.event_id in self._readable:
                    continue
                try:
                    self._readable[held.event_id] = held, await self.decrypt(held.room_id, held.event)
                except Undecryptable as error:
                    if error.code not in KEY_COMES:
                        self._log.warning("event.unreadable", room=held.room_id, code=error.code)
                        self._note(held.room_id, held.event, error, hold=True)
                        self._held.drop(held)
        return [(held.room_id, event) for held, event in self._readable.values()]

    def given_up(self, wait_s: float, ask_s: float) -> Sequence[Held]:
        """The held events whose keys did not come in time or never will; for the others they are asked for."""
        for held in self._held:
            if held.event_id in self._readable or held.event_id in self._given_up:
                continue
            sender = str(held.event.get("sender"))
            refused = self._withheld.get((held.room_id, held.session_id), ("", ""))
            age_s = self._clock() - held.since
            if age_s >= wait_s or (refused[0] == sender and refused[1] in NEVER):
                self._log.warning("event.given_up", room=held.room_id, code=refused[1] or "NO_KEY")
                self._given_up[held.event_id] = held
            elif age_s >= ask_s and held.event_id not in self._asked:
                self._asked.add(held.event_id)
                device_id = one_line(mapping(held.event.get("content")).get("device_id"), LONGEST_ID)
                self._upkeep.ask(held.room_id, held.session_id, sender, device_id)
        return list(self._given_up.values())

    def untrusted(self) -> Mapping[tuple[str, str], str]:
        """For which rooms and sessions events came from devices that are not listened to, with the first event's id."""
        return dict(self._untrusted)

    def taken_back(self, room_id: str, event_id: str) -> None:
        """An event was redacted: nobody waits for its key any more."""
        held = self._held.find(room_id, event_id)
        if held is not None:
            self._held.drop(held)
            self._readable.pop(event_id, None)
            self._given_up.pop(event_id, None)

    def held(self) -> Sequence[tuple[Held, str]]:
        """All that can't be read for now, each with the code by which its key was refused, or nothing."""
        return [(one, self._withheld.get((one.room_id, one.session_id), ("", ""))[1]) for one in self._held]

    async def settle(self) -> None:
        """The host has what was readable or given up."""
        for held in (*(held for held, _ in self._readable.values()), *self._given_up.values()):
            self._held.drop(held)
            self._asked.discard(held.event_id)
        self._readable, self._given_up, self._untrusted = {}, {}, {}
        await self.keep.flush()

    # The keys of rooms

    async def export_session(self, room_id: str, session_id: str) -> dict[str, Any] | None:
        """One session in the format of key exports (Matrix spec, "Key export format"), or None."""
        session = await self._inbound.get(room_id, session_id)
        return None if session is None else exported(room_id, session)

    async def sessions(self) -> Sequence[tuple[str, str]]:
        """The ids of room and session of all that can be exported."""
        return await self._inbound.all()

    async def import_sessions(self, sessions: Sequence[Mapping[str, Any]], source: Origin) -> int:
        """Take sessions in that format; how many were new or better. What is malformed is passed over."""
        found = [one for one in (imported(told, source) for told in sessions) if one is not None]
        taken = sum([await self._add(room_id, session) for room_id, session in found])
        await self.keep.flush()
        await self._tell()
        return taken

    def on_new_session(self, handler: NewSessionHandler) -> None:
        """Call a handler, which should be quick, for each session that is new or better than before."""
        self._new_session.append(handler)

    async def missing(self) -> Sequence[tuple[str, str]]:
        """Rooms and sessions whose keys held events wait for."""
        return list(dict.fromkeys((held.room_id, held.session_id) for held in self._held))

    async def _add(self, room_id: str, session: InboundSession) -> bool:
        added = await self._inbound.add(room_id, session)
        if added:
            self._news = True
            self._fresh.append((room_id, session.megolm.session_id))
        return added

    async def _tell(self) -> None:
        fresh, self._fresh = self._fresh, []
        for room_id, session_id in fresh:
            for handler in self._new_session:
                await handler(room_id, session_id)

    async def _take_key(self, opened: Opened, _: Device | None) -> None:
        """A device gives us the key of its session; whose words are not listened to, their keys are not kept."""
        if opened.sender != self.user_id and not self._allowed(opened.sender):
            self._log.debug("room_key.unwanted", sender=opened.sender)
            return
        sender = Sender(user_id=opened.sender, curve25519=opened.curve25519, ed25519=opened.ed25519)
        found = received(opened.content, sender)
        if found is not None:
            await self._add(*found)

    async def _take_forwarded(self, opened: Opened, device: Device | None) -> None:
        """One of our own verified devices gives us a session's key, or its maker does, who was asked."""
        ours = opened.sender == self.user_id and device is not None and device.trust is Trust.VERIFIED
        if not (ours or self._waits_for(opened)):
            self._log.warning("room_key.refused", sender=opened.sender)
            return
        claimed = {"ed25519": opened.content.get("sender_claimed_ed25519_key")}
        found = imported({**opened.content, "sender_claimed_keys": claimed}, "forwarded")
        if found is not None:
            await self._add(*found)

    def _waits_for(self, opened: Opened) -> bool:
        """Whether it is for messages of the same person, which wait, and of the very device that gives it."""
        content = opened.content
        wanted = (content.get("room_id"), content.get("session_id"), opened.sender)
        made_by = (content.get("sender_key"), content.get("sender_claimed_ed25519_key"))
        return (
            opened.sender != self.user_id
            and self._allowed(opened.sender)
            and made_by == (opened.curve25519, opened.ed25519)
            and any((held.room_id, held.session_id, held.event.get("sender")) == wanted for held in self._held)
        )

    async def _take_dummy(self, opened: Opened, _: Device | None) -> None:
        """A device begins anew with us (Matrix spec, "Recovering from undecryptable messages")."""
        self._sharing.outbound.renewed(opened.sender, opened.curve25519)

    async def _take_withheld(self, sender: str, content: Mapping[str, Any], _: Device | None) -> None:
        """A device tells why it gives us no key."""
        code, sender_key = text(content.get("code")), text(content.get("sender_key"))
        room_id, session_id = text(content.get("room_id")), text(content.get("session_id"))
        self._log.info("room_key.withheld", sender=sender, code=(code or "")[:64])
        if code == "m.no_olm" and sender_key is not None:
            self._upkeep.wedged(sender, sender_key)
        elif code is not None and room_id is not None and session_id is not None:
            self._withheld[room_id, session_id] = (sender, code)
            while len(self._withheld) > MOST_WITHHELD:
                del self._withheld[next(iter(self._withheld))]
