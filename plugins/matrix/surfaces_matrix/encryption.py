"""Knows which rooms are encrypted, and lets nothing leave for one of these as plain text.

A room that was encrypted once stays so, whatever its state says later, and over restarts (Matrix spec,
"End-to-end encryption"). Where nothing has told yet, the room's own state is asked before the first word.
Without the libraries of the extra `e2ee`, or with `encryption: off`, nothing is read or said in such a room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import orjson
from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError, Inbound, Kind, Store, SurfaceContext, Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.content import KEY, MARK
from surfaces_matrix.errors import Encrypted, Refused, Unexplained
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.roomstate import state_path
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.shapes import mapping, sequence, user_id

if TYPE_CHECKING:
    from surfaces_matrix.e2ee.machine import Machine

ENCRYPTION = "m.room.encryption"
ENCRYPTED = "m.room.encrypted"
MEGOLM = "m.megolm.v1.aes-sha2"
EXTRA = "surfaces-matrix[e2ee]"
_NO_SUCH_STATE = frozenset({"M_NOT_FOUND", "M_UNRECOGNIZED"})
"""A homeserver that knows no encryption may not know the path either."""
VERIFICATION = "m.key.verification.request"
"""In a room as a message, else to the device (Matrix spec, "Key verification framework")."""
MOST_UNANSWERED = 1000
ASK_S = 2.0
"""A key mostly comes with its event or just behind: only then it is asked for."""
_ROWS = "e2ee/room/"


def installed() -> bool:
    """Whether the libraries of the extra are there."""
    return find_spec("vodozemac") is not None and find_spec("cryptography") is not None


def machine_for(
    settings: MatrixSettings,
    client: Client,
    context: SurfaceContext,
    session: Callable[[], str],
    allowed: Callable[[str], bool],
) -> Machine | None:
    """The machine of an account, or None where it is to do without. `ConfigError`."""
    where = f"surfaces.{context.name}"
    if settings.encryption is False and settings.encrypt_new_rooms:
        raise ConfigError(f"{where}.encrypt_new_rooms", "needs `encryption`")
    if not installed() and (settings.encryption or settings.encrypt_new_rooms):
        name = "encryption" if settings.encryption else "encrypt_new_rooms"
        raise ConfigError(f"{where}.{name}", f"needs the extra: pip install '{EXTRA}'")
    if settings.encryption is False or not installed():
        return None
    from surfaces_matrix.e2ee.machine import Machine

    secret = settings.pickle_key
    return Machine(
        client,
        context.store,
        context.log,
        trust=settings.trust,
        secret=None if secret is None else secret.get_secret_value(),
        where=f"{where}.pickle_key",
        session=session,
        allowed=allowed,
    )


async def was_encrypted(store: Store, room_id: str) -> bool:
    """Whether a room was ever seen encrypted."""
    return await store.get(_ROWS + room_id) is not None


class Encryption:
    """What one account knows of its rooms, and how it reads and writes in those that are encrypted."""

    def __init__(
        self, client: Client, store: Store, log: FilteringBoundLogger, machine: Machine | None, *, wait_s: float
    ) -> None:
        self._client = client
        self._store = store
        self._log = log
        self._wait_s = wait_s
        self.machine = machine
        self._encrypted: dict[str, Mapping[str, Any] | None] = {}
        """By room id what the encryption event says, None where there is none; a room that is not here is asked."""
        self._unanswered: set[str] = set()

    @property
    def seen(self) -> int:
        """How many of the bot's rooms are known to be encrypted."""
        return sum(content is not None for content in self._encrypted.values())

    @property
    def trouble(self) -> str:
        """A sentence on why encrypted rooms can't be read, or empty."""
        if self.machine is None:
            return f"encrypted rooms cannot be read without {EXTRA} and `encryption: on` ({self.seen} seen)"
        trouble = self.machine.trouble
        return f"the keys for encrypted rooms could not be published ({trouble})" if trouble else ""

    # A life

    async def recall(self) -> None:
        """Know the rooms that were seen encrypted in earlier lives."""
        for row, content in (await self._store.scan(_ROWS)).items():
            self._encrypted[row.removeprefix(_ROWS)] = mapping(orjson.loads(content))

    async def open(self, device_id: str) -> None:
        """Load the keys, once the login says of which device. `ConfigError`."""
        if self.machine is not None and device_id:
            await self.machine.open(device_id)
        elif self.machine is not None:
            self._log.warning("encryption.no_device", effect="an access token without a device has no keys")
            self.machine = None

    async def run(self) -> None:
        """Keep the keys in order, until cancelled."""
        if self.machine is not None:
            await self.machine.run()

    # What responses tell

    async def notice(self, response: Mapping[str, Any]) -> None:
        """Learn from a sync response which rooms became encrypted, and take the keys that it brings."""
        for room_id, events in joined_state(response).items():
            for event in map(mapping, events):
                # Without that key it is no state, and everybody may send it.
                if event.get("type") == ENCRYPTION and event.get("state_key") == "":
                    await self._note(room_id, mapping(event.get("content")))
                elif mapping(event.get("content")).get("msgtype") == VERIFICATION:
                    self._leave_unanswered(user_id(event.get("sender")), room_id)
        for event in map(mapping, sequence(mapping(response.get("to_device")).get("events"))):
            if event.get("type") == VERIFICATION:
                self._leave_unanswered(user_id(event.get("sender")), "")
        if self.machine is not None:
            await self.machine.receive(response)

    async def expect(self, room_id: str) -> None:
        """A room is encrypted, whatever its homeserver shows: the bot asked for that, or people encrypt there."""
        if not self.holds(room_id):
            await self._note(room_id, {"algorithm": MEGOLM})

    def complete(self, rooms: Iterable[str]) -> None:
        """All state of these rooms was noticed: the others among them are not encrypted."""
        for room_id in rooms:
            self._encrypted.setdefault(room_id, None)

    def lost(self) -> None:
        """Responses are missing."""
        if self.machine is not None:
            self.machine.lost()

    # Reading

    async def opened(self, room_id: str, event: Mapping[str, Any], *, hold: bool) -> Mapping[str, Any]:
        """An event as it is inside; one that can't be read comes back as it is, and with `hold` it is waited for."""
        if self.machine is None:
            return event
        if event.get("type") == ENCRYPTED and "state_key" not in event and event.get("content"):
            inside = await self.machine.read(room_id, event, hold=hold)
            if inside is None:
                return event
            await self.expect(room_id)  # whoever encrypts for us was told so; the answer must not leave as plain text
            event = inside
        elif event.get("type") == "m.room.redaction":
            # Up to room version 10 its target is beside the content ("Redactions").
            target = event.get("redacts") or mapping(event.get("content")).get("redacts")
            self.machine.taken_back(room_id, str(target))
        await self.machine.heard(room_id, event)
        return event

    async def counts(self, entry: Inbound, *, sealed: bool) -> bool:
        """Whether what came in was surely said by its sender, or by whom nobody can tell from them anyway.

        In an encrypted room the homeserver could have written whatever is not encrypted, and what an event relates
        to is not: a reaction says nothing else.
        """
        if not self.holds(entry.address.conversation) or entry.kind is Kind.REDACTION:
            return True
        if entry.kind is Kind.REACTION:
            return self.machine is not None and not await self.machine.held_to_keys(entry.sender)
        return sealed

    def holds(self, room_id: str) -> bool:
        """Whether a room is known to be encrypted."""
        return self._encrypted.get(room_id) is not None

    async def late(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Events that were waited for and can be read now, with their rooms."""
        return () if self.machine is None else await self.machine.readable()

    async def unreadable(self) -> Mapping[tuple[str, str], str]:
        """For which rooms and sessions keys did not come in time, with the id of the first event that needs it."""
        if self.machine is None:
            return {}
        given_up: dict[tuple[str, str], str] = {}
        for held in self.machine.given_up(self._wait_s, ASK_S):
            given_up.setdefault((held.room_id, held.session_id), held.event_id)
        return given_up

    def untrusted(self) -> Mapping[tuple[str, str], str]:
        """For which rooms and sessions somebody wrote from a device that is not listened to, with the first event."""
        return {} if self.machine is None else self.machine.untrusted()

    async def keep(self) -> None:
        """What was read is durable before the host has it."""
        if self.machine is not None:
            await self.machine.keep.flush()

    async def settle(self) -> None:
        """The host has what was late or unreadable."""
        if self.machine is not None:
            await self.machine.settle()

    # Writing

    async def check(self, room_id: str, *, timeout_s: float) -> bool:
        """Whether a room is encrypted. Raises `Encrypted` where nothing may be said.

        `Unavailable` or `Refused` where it can't be told.
        """
        if room_id not in self._encrypted:
            await self._ask(room_id, timeout_s)
        content = self._encrypted[room_id]
        if content is None:
            return False
        if self.machine is None:
            raise Encrypted(
                f"{room_id} is encrypted and this bot cannot encrypt: it needs {EXTRA}, or `encryption: on`"
            )
        if content.get("algorithm") != MEGOLM:
            raise Encrypted(f"{room_id} is encrypted in a way that this bot does not know")
        return True

    async def seal(
        self, room_id: str, type_: str, content: Mapping[str, Any], *, timeout_s: float
    ) -> tuple[str, Mapping[str, Any]]:
        """Type and content as an event may leave for a room. Raises as `check`, and `Unavailable`.

        What names the message for the bot itself stays readable: it is looked for when a restart forgot it.
        """
        if not await self.check(room_id, timeout_s=timeout_s) or self.machine is None:
            return type_, content
        rules = self._encrypted[room_id] or {}
        sealed = await self.machine.seal(room_id, rules, type_, content, timeout_s=timeout_s)
        return ENCRYPTED, {**sealed, **{name: content[name] for name in (MARK, KEY) if name in content}}

    # Which rooms

    async def _ask(self, room_id: str, timeout_s: float) -> None:
        try:
            content = await self._client.call("GET", state_path(room_id, ENCRYPTION), timeout_s=timeout_s)
        except (Refused, Unexplained) as error:
            if error.status != 404 or not await self._is_none(room_id, error, timeout_s):
                raise
            self._encrypted.setdefault(room_id, None)
            return
        if not content:
            # A homeserver that answers so to everything says nothing; of a real event the sync tells, too.
            raise Unavailable("the homeserver does not tell whether the room is encrypted")
        await self._note(room_id, content)

    async def _is_none(self, room_id: str, error: Refused | Unexplained, timeout_s: float) -> bool:
        """Whether a 404 says that there is no such state. Raises as `check`.

        One that does not say so in Matrix's words may be a proxy's, which gives it for what every room has, too.
        """
        if isinstance(error, Refused) and error.errcode in _NO_SUCH_STATE:
            return True
        return bool(await self._client.call("GET", state_path(room_id, "m.room.create"), timeout_s=timeout_s))

    async def _note(self, room_id: str, content: Mapping[str, Any]) -> None:
        """A room is encrypted; what it says of how counts unless it takes back an earlier, good word."""
        known = self._encrypted.get(room_id)
        if known is None:
            if self.machine is None:
                self._log.warning(
                    "room.encrypted", room=room_id, effect=f"nothing is read or said there without {EXTRA}"
                )
            else:
                self._log.info("room.encrypted", room=room_id)
        if known is None or (content != known and content.get("algorithm") == MEGOLM):
            self._encrypted[room_id] = content
            await self._store.put(_ROWS + room_id, orjson.dumps(content))

    def _leave_unanswered(self, sender: str | None, room_id: str) -> None:
        """Say once for each person why their client waits in vain."""
        if (
            self.machine is None
            and sender is not None
            and sender not in self._unanswered
            and len(self._unanswered) < MOST_UNANSWERED
        ):
            self._unanswered.add(sender)
            self._log.warning("verification.unanswered", sender=sender, room=room_id)
