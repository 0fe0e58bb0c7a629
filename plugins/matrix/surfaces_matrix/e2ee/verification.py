"""Verifies people's devices with them: whoever asks, in a room or from device to device, pictures are compared.

The bot shows its pictures in the conversation, and the person says there whether they match. Nothing of a
verification that runs is kept over a restart: the other side is told that there is none.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from traceback import extract_tb
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from surfaces_core import CommandError, Rejected, StateError, Unavailable
from surfaces_matrix import words
from surfaces_matrix.e2ee.crosskeys import public_of
from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.identity import OwnIdentity
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.sas import METHOD, PREFIX, REASONS, Party, Phase, Sas, Step
from surfaces_matrix.shapes import mapping, seconds, sequence, text

KINDS = ("request", "ready", "start", "accept", "key", "mac", "done", "cancel")
REQUEST = PREFIX + "request"
LONGEST_S = 600.0
"""A request that is older is not answered, and a verification that takes longer is given up (Matrix spec)."""
AHEAD_S = 300.0
LOOK_S = 5.0
MOST_IN_LINE = 1000
MOST = 100
"""Verifications at the same time; more come from nobody who means well."""


class Rooms(Protocol):
    """What verifications need of rooms."""

    async def tell(self, room_id: str, txn: str, text: str) -> None:
        """Say something to people. `Unavailable` or `Rejected`."""
        ...

    async def put(self, room_id: str, kind: str, txn: str, content: Mapping[str, Any]) -> str:
        """Send an event, encrypted where the room is; its id. `Unavailable` or `Rejected`."""
        ...

    async def home(self, person: str) -> str | None:
        """A conversation of a person's, where they can be told something. `Unavailable` or `Rejected`."""
        ...


@dataclass(kw_only=True)
class Dialogue:
    """One verification, as it is held with somebody."""

    person: str
    transaction: str
    room_id: str
    """Where people are told; the verification itself runs there, too, if it is `in_room`."""
    in_room: bool
    device_id: str
    """Theirs; empty until it is known."""
    ends_at: float
    cause: str = ""
    """Which command began it, if one did."""
    sas: Sas | None = None
    shown: bool = False
    closed: bool = False
    """Its end was begun."""
    seen: set[str] = field(default_factory=set)

    def dress(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """A content with what says to which verification it belongs."""
        if self.in_room:
            return {**content, "m.relates_to": {"rel_type": "m.reference", "event_id": self.transaction}}
        return {**content, "transaction_id": self.transaction}


class Verification:
    """All verifications of one account."""

    def __init__(
        self,
        machine: Machine,
        identity: OwnIdentity,
        rooms: Rooms,
        log: FilteringBoundLogger,
        *,
        allowed: Callable[[str], bool],
        prefix: str,
        speaking: Callable[[str], AbstractContextManager[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Within `speaking` to a person sentences are in their language."""
        self._machine = machine
        self._identity = identity
        self._rooms = rooms
        self._log = log
        self._allowed = allowed
        self._prefix = prefix
        self._speaking = speaking
        self._clock = clock
        self._dialogues: dict[str, Dialogue] = {}
        """By transaction."""
        self._line: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MOST_IN_LINE)
        """What came and is still to be worked on, for whoever hands it over does not wait."""
        for kind in KINDS:
            machine.on_to_device(PREFIX + kind, self._to_device(kind))
            machine.on_room_event(PREFIX + kind, self._room_event(kind))

    # What people ask of the bot

    async def begin(self, room_id: str, person: str, cause: str) -> str:
        """Ask a person's devices to verify; what to say about it. `CommandError`, `Unavailable` or `Rejected`."""
        if self._identity.keys is None:
            raise CommandError(words.VERIFY_NOT_READY())
        if any(one.cause == cause for one in self._dialogues.values()):
            return words.VERIFY_ASKED()
        await self._drop_of(person)
        content = {
            "msgtype": REQUEST,
            "body": words.VERIFY_FALLBACK(),
            "from_device": self._machine.device_id,
            "methods": [METHOD],
            "to": person,
        }
        event_id = await self._rooms.put(room_id, "m.room.message", _txn("verify", cause), content)
        self._open(person, event_id, room_id=room_id, in_room=True, cause=cause)
        return words.VERIFY_ASKED()

    async def answer(self, person: str, matches: bool) -> str:
        """A person says whether the pictures match; what to say about it."""
        dialogue = self._comparing(person)
        if dialogue is None or dialogue.sas is None:
            raise CommandError(words.VERIFY_NOTHING(prefix=self._prefix))
        if matches:
            await self._go_on(dialogue, dialogue.sas.confirm())
            return ""
        dialogue.shown = False  # it is said here
        await self._go_on(dialogue, dialogue.sas.cancel("m.mismatched_sas"))
        return words.VERIFY_MISMATCH()

    def waits_for(self, person: str) -> bool:
        """Whether a person is to say if pictures match."""
        return self._comparing(person) is not None

    def _comparing(self, person: str) -> Dialogue | None:
        found = [one for one in self._dialogues.values() if one.person == person and one.shown]
        return next((one for one in found if one.sas is not None and one.sas.phase is Phase.COMPARE), None)

    async def run(self) -> None:
        """Answer what comes, and give up what takes too long, until cancelled."""
        while True:
            work: Callable[[], Awaitable[None]] = self.look
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    work = await self._line.get()
            try:
                await work()
            except (Unavailable, Rejected) as error:  # the other side will say that it took too long
                self._log.warning("verification.failed", error=str(error))
            except StateError:
                raise
            except Exception as error:  # noqa: BLE001 - whoever found a bug here could end the host whenever they like
                # A traceback might show what was sent.
                last = extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__} at {last.name}:{last.lineno}"
                self._log.error("verification.failed", error=where)

    def _enqueue(self, work: Callable[[], Awaitable[None]]) -> None:
        with suppress(asyncio.QueueFull):
            self._line.put_nowait(work)

    async def look(self) -> None:
        """Give up what took too long by now."""
        for dialogue in [one for one in self._dialogues.values() if one.ends_at <= self._clock()]:
            await self._cancel(dialogue, "m.timeout")

    # What devices say

    def _to_device(self, kind: str) -> Callable[[str, Mapping[str, Any], Device | None], Awaitable[None]]:
        async def work(sender: str, content: Mapping[str, Any]) -> None:
            transaction = text(content.get("transaction_id"))
            if transaction is None or sender == self._machine.user_id:
                return
            if kind == "request":
                await self._requested(sender, transaction, content, seconds(content.get("timestamp")), room_id="")
                return
            dialogue = self._dialogues.get(transaction)
            if dialogue is not None and dialogue.person == sender and not dialogue.in_room:
                await self._said(dialogue, kind, content)
            elif kind not in ("done", "cancel"):
                await self._unknown(sender, transaction, text(content.get("from_device")))

        async def handle(sender: str, content: Mapping[str, Any], _: Device | None) -> None:
            self._enqueue(partial(work, sender, content))

        return handle

    def _room_event(self, kind: str) -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
        async def work(room_id: str, event: Mapping[str, Any]) -> None:
            sender, event_id, content = event.get("sender"), text(event.get("event_id")), mapping(event.get("content"))
            if not isinstance(sender, str) or event_id is None or sender == self._machine.user_id:
                return
            if kind == "request":
                if content.get("to") == self._machine.user_id:
                    sent_at = seconds(event.get("origin_server_ts"))
                    await self._requested(sender, event_id, content, sent_at, room_id=room_id)
                return
            dialogue = self._dialogues.get(text(mapping(content.get("m.relates_to")).get("event_id")) or "")
            if dialogue is None or (dialogue.person, dialogue.room_id) != (sender, room_id):
                return
            if dialogue.in_room and event_id not in dialogue.seen:
                dialogue.seen.add(event_id)
                await self._said(dialogue, kind, content)

        async def handle(room_id: str, event: Mapping[str, Any]) -> None:
            self._enqueue(partial(work, room_id, event))

        return handle

    async def _requested(
        self, sender: str, transaction: str, content: Mapping[str, Any], sent_at: float | None, *, room_id: str
    ) -> None:
        device_id = text(content.get("from_device"))
        age_s = self._clock() - (sent_at or 0.0)
        if device_id is None or not -AHEAD_S < age_s < LONGEST_S or transaction in self._dialogues:
            return
        if not self._allowed(sender) or len(self._dialogues) >= MOST:
            self._log.info("verification.refused", sender=sender)
            return
        await self._drop_of(sender)
        told_in = room_id or await self._rooms.home(sender) or ""
        dialogue = self._open(sender, transaction, room_id=told_in, in_room=bool(room_id), device_id=device_id)
        if METHOD not in sequence(content.get("methods")):
            await self._cancel(dialogue, "m.unknown_method")
        elif not told_in:  # nobody could say whether the pictures match
            self._log.warning("verification.nowhere", sender=sender)
            await self._cancel(dialogue, "m.user")
        elif await self._know(dialogue):
            ready = {"from_device": self._machine.device_id, "methods": [METHOD]}
            await self._send(dialogue, [("ready", dialogue.dress(ready))])

    def _open(
        self, person: str, transaction: str, *, room_id: str, in_room: bool, device_id: str = "", cause: str = ""
    ) -> Dialogue:
        dialogue = self._dialogues[transaction] = Dialogue(
            person=person,
            transaction=transaction,
            room_id=room_id,
            in_room=in_room,
            device_id=device_id,
            cause=cause,
            ends_at=self._clock() + LONGEST_S,
        )
        self._log.info("verification.opened", sender=person, in_room=in_room)
        return dialogue

    async def _said(self, dialogue: Dialogue, kind: str, content: Mapping[str, Any]) -> None:
        if kind == "ready":
            await self._is_ready(dialogue, content)
            return
        if dialogue.sas is None and kind == "start":  # without a request, or before our question was answered
            dialogue.device_id = dialogue.device_id or text(content.get("from_device")) or ""
            if not await self._know(dialogue):
                return
        if dialogue.sas is not None:
            await self._go_on(dialogue, dialogue.sas.receive(kind, content))
        elif kind == "cancel":
            await self._ended(dialogue, text(content.get("code")) or "m.user")
        else:
            await self._cancel(dialogue, "m.unexpected_message")

    async def _is_ready(self, dialogue: Dialogue, content: Mapping[str, Any]) -> None:
        if dialogue.device_id:  # another device of theirs was quicker, or they say it twice
            return
        dialogue.device_id = text(content.get("from_device")) or ""
        if METHOD not in sequence(content.get("methods")):
            await self._cancel(dialogue, "m.unknown_method")
        elif await self._know(dialogue) and dialogue.sas is not None:
            await self._go_on(dialogue, dialogue.sas.begin())

    async def _know(self, dialogue: Dialogue) -> bool:
        """Find out which keys the other device has; without them there is nothing to verify."""
        device = (await self._machine.devices(dialogue.person)).get(dialogue.device_id)
        if device is None:
            await self._cancel(dialogue, "m.key_mismatch")
            return False
        keys = {f"ed25519:{device.device_id}": device.ed25519}
        master = public_of((await self._machine.identity_of(dialogue.person)).master)
        if master and device.cross_signed:
            keys[f"ed25519:{master}"] = master
        theirs = Party(user_id=dialogue.person, device_id=device.device_id, keys=keys)
        dialogue.sas = Sas(ours=self._ours(), theirs=theirs, transaction=dialogue.transaction, dress=dialogue.dress)
        return True

    def _ours(self) -> Party:
        keys = {f"ed25519:{self._machine.device_id}": self._machine.ed25519}
        if self._identity.keys is not None:
            master = self._identity.keys.master.public
            keys[f"ed25519:{master}"] = master
        return Party(user_id=self._machine.user_id, device_id=self._machine.device_id, keys=keys)

    # What follows

    async def _go_on(self, dialogue: Dialogue, steps: list[Step]) -> None:
        sas = dialogue.sas
        assert sas is not None
        if dialogue.closed:  # somebody else is at its end just now
            return
        dialogue.closed = sas.over
        if sas.phase is Phase.DONE:
            await self._trust(dialogue, sas)  # before anybody is told
        await self._send(dialogue, steps)
        if sas.phase is Phase.COMPARE and not dialogue.shown:
            dialogue.shown = True
            self._log.info("verification.pictures", sender=dialogue.person, pictures=sas.shown())
            await self._tell(dialogue, lambda: words.verify_pictures(sas.shown(), self._prefix, numbers=sas.decimal))
        elif sas.phase is Phase.DONE:
            self._dialogues.pop(dialogue.transaction, None)
            self._log.info("verification.done", sender=dialogue.person, device=dialogue.device_id)
            await self._tell(dialogue, words.VERIFY_DONE)
        elif sas.phase is Phase.CANCELLED:
            await self._ended(dialogue, sas.code)

    async def _trust(self, dialogue: Dialogue, sas: Sas) -> None:
        for name in sas.verified:
            await self._machine.set_trust(dialogue.person, name.removeprefix("ed25519:"), sas.theirs.keys[name], True)
        master = (await self._machine.identity_of(dialogue.person)).master
        key, keys = public_of(master), self._identity.keys
        if master is None or keys is None or f"ed25519:{key}" not in sas.verified:
            return
        bare = {name: value for name, value in master.items() if name not in ("signatures", "unsigned")}
        signature = {f"ed25519:{keys.user_signing.public}": keys.user_signing.sign(bare)}
        signed = {**bare, "signatures": {self._machine.user_id: signature}}
        await self._machine.upload_signatures({dialogue.person: {key: signed}})

    async def _cancel(self, dialogue: Dialogue, code: str) -> None:
        if dialogue.sas is not None:
            await self._go_on(dialogue, dialogue.sas.cancel(code))
            return
        await self._send(dialogue, [("cancel", dialogue.dress({"code": code, "reason": REASONS[code]}))])
        await self._ended(dialogue, code)

    async def _ended(self, dialogue: Dialogue, code: str) -> None:
        self._dialogues.pop(dialogue.transaction, None)
        self._log.info("verification.cancelled", sender=dialogue.person, code=code[:64])
        if dialogue.shown:
            mismatch = code == "m.mismatched_sas"
            await self._tell(dialogue, words.VERIFY_MISMATCH if mismatch else words.VERIFY_CANCELLED)

    async def _drop_of(self, person: str) -> None:
        """A person verifies one thing at a time: what began earlier is given up."""
        for dialogue in [one for one in self._dialogues.values() if one.person == person]:
            dialogue.shown = False  # that it ended is not worth a word
            await self._cancel(dialogue, "m.user")

    async def _unknown(self, person: str, transaction: str, device_id: str | None) -> None:
        """What began before a restart ends."""
        code = "m.unknown_transaction"
        content = {"transaction_id": transaction, "code": code, "reason": REASONS[code]}
        if device_id is not None and self._allowed(person):
            await self._machine.send_to_device(PREFIX + "cancel", {person: {device_id: content}}, encrypted=False)

    # How it is sent

    async def _send(self, dialogue: Dialogue, steps: list[Step]) -> None:
        for kind, content in steps:
            if dialogue.in_room:
                txn = _txn(kind, dialogue.transaction)
                await self._rooms.put(dialogue.room_id, PREFIX + kind, txn, content)
            elif dialogue.device_id:
                messages = {dialogue.person: {dialogue.device_id: content}}
                await self._machine.send_to_device(PREFIX + kind, messages, encrypted=False)

    async def _tell(self, dialogue: Dialogue, sentence: Callable[[], str]) -> None:
        with self._speaking(dialogue.person):
            said = sentence()
        try:
            await self._rooms.tell(dialogue.room_id, _txn(said, dialogue.transaction), said)
        except (Unavailable, Rejected) as error:
            self._log.warning("verification.unsaid", room=dialogue.room_id, error=str(error))


def _txn(what: str, transaction: str) -> str:
    return "verification." + hashlib.sha256(f"{what}\0{transaction}".encode()).hexdigest()[:32]
