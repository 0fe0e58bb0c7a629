"""Owns the Megolm sessions that events are decrypted with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import vodozemac

from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.e2ee.olm import MEGOLM, Undecryptable
from surfaces_matrix.e2ee.seen import Seen
from surfaces_matrix.shapes import is_room_id, mapping, text

MOST_CACHED = 500
NEVER_INSIDE = frozenset({"m.room.encrypted", "m.room.redaction"})
"""Whether somebody may take back an event the homeserver decides, which sees nothing of what is inside."""

Origin = Literal["direct", "forwarded", "backup", "file"]
"""How a session came; only one that its own maker sent says surely whose it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Whose session it is: the person, and the device by its keys."""

    user_id: str
    """Empty where nobody says."""
    curve25519: str
    ed25519: str


@dataclass(slots=True, kw_only=True)
class InboundSession:
    """One session of a room."""

    megolm: vodozemac.InboundGroupSession
    sender: Sender
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Decrypted:
    """What an event says, who made its session, and where in it."""

    session_id: str
    index: int
    type: str
    content: Mapping[str, Any]
    sender: Sender
    origin: Origin


class Inbound:
    """The sessions of one account. What changes is kept with the next flush."""

    def __init__(self, keep: Keep, key: bytes) -> None:
        self._keep = keep
        self._key = key
        self._seen = Seen(keep, key)
        self._cache: OrderedDict[tuple[str, str], InboundSession] = OrderedDict()

    async def get(self, room_id: str, session_id: str) -> InboundSession | None:
        """A session, or None."""
        found = self._cache.get((room_id, session_id))
        if found is None:
            row = await self._keep.get(_row(room_id, session_id))
            if row is None:
                return self._cache.get((room_id, session_id))
            found = self._cache.setdefault((room_id, session_id), self._load(row))
        self._cache.move_to_end((room_id, session_id))
        while len(self._cache) > MOST_CACHED:
            self._cache.popitem(last=False)
        return found

    async def all(self) -> Sequence[tuple[str, str]]:
        """The ids of room and session of all that there are."""
        return [(room_id, session_id) for _, room_id, session_id in map(_parts, await self._keep.scan("in/"))]

    async def add(self, room_id: str, session: InboundSession) -> bool:
        """Take a session; False where the one that is there is as good or is another one's."""
        session_id = session.megolm.session_id
        known = await self.get(room_id, session_id)
        if known is not None and not _is_better(session, known):
            return False
        self._cache[room_id, session_id] = session
        self._keep.set(_row(room_id, session_id), lambda: self._spelled(session))
        return True

    async def decrypt(self, room_id: str, content: Mapping[str, Any]) -> Decrypted:
        """The event inside an `m.room.encrypted` (Matrix spec, "m.megolm.v1.aes-sha2"). `Undecryptable`.

        It is still to be seen whether its sender may have said it, and then to be noticed.
        """
        session_id, ciphertext = text(content.get("session_id")), text(content.get("ciphertext"))
        if content.get("algorithm") != MEGOLM or session_id is None or ciphertext is None:
            raise Undecryptable("MALFORMED")
        session = await self.get(room_id, session_id)
        if session is None:
            raise Undecryptable("NO_KEY")
        try:
            message = vodozemac.MegolmMessage.from_base64(ciphertext)
        except ValueError as error:
            raise Undecryptable("MALFORMED") from error
        if message.message_index() < session.megolm.first_known_index:
            raise Undecryptable("NO_KEY")
        try:
            opened = session.megolm.decrypt(message)
            inner = mapping(orjson.loads(opened.plaintext))
        except ValueError as error:
            raise Undecryptable("MALFORMED") from error
        if inner.get("room_id") != room_id or text(inner.get("type")) is None or inner["type"] in NEVER_INSIDE:
            raise Undecryptable("MISDIRECTED")
        return Decrypted(
            session_id=session_id,
            index=opened.message_index,
            type=str(inner["type"]),
            content=_with_relation(mapping(inner.get("content")), content),
            sender=session.sender,
            origin=session.origin,
        )

    async def notice(self, room_id: str, event_id: str, found: Decrypted) -> None:
        """Note which event it was: another one with the same index is somebody's repeat of it. `Undecryptable`.

        What nobody could have said is not noticed: it would be taken for the first.
        """
        if not await self._seen.notice(room_id, found.session_id, found.index, event_id):
            raise Undecryptable("REPLAYED")

    def _load(self, row: bytes) -> InboundSession:
        kept = orjson.loads(row)
        return InboundSession(
            megolm=vodozemac.InboundGroupSession.from_pickle(kept["pickle"], self._key),
            sender=Sender(user_id=kept["user_id"], curve25519=kept["curve25519"], ed25519=kept["ed25519"]),
            origin=kept["origin"],
        )

    def _spelled(self, session: InboundSession) -> bytes:
        sender = session.sender
        return orjson.dumps(
            {
                "pickle": session.megolm.pickle(self._key),
                "user_id": sender.user_id,
                "curve25519": sender.curve25519,
                "ed25519": sender.ed25519,
                "origin": session.origin,
            }
        )


def exported(room_id: str, session: InboundSession) -> dict[str, Any] | None:
    """A session in the format of key exports (Matrix spec, "Key export format")."""
    key = session.megolm.export_at(session.megolm.first_known_index)
    if key is None:
        return None
    return {
        "algorithm": MEGOLM,
        "room_id": room_id,
        "session_id": session.megolm.session_id,
        "session_key": key.to_base64(),
        "sender_key": session.sender.curve25519,
        "sender_claimed_keys": {"ed25519": session.sender.ed25519},
        "forwarding_curve25519_key_chain": [],
    }


def imported(told: Mapping[str, Any], origin: Origin) -> tuple[str, InboundSession] | None:
    """Room and session of such an export, or None for what is none."""
    room_id, key, session_id = (text(told.get(name)) for name in ("room_id", "session_key", "session_id"))
    curve25519 = text(told.get("sender_key"))
    ed25519 = text(mapping(told.get("sender_claimed_keys")).get("ed25519"))
    if told.get("algorithm") != MEGOLM or room_id is None or key is None or not is_room_id(room_id):
        return None
    try:
        megolm = vodozemac.InboundGroupSession.import_session(vodozemac.ExportedSessionKey(key))
    except ValueError:
        return None
    if megolm.session_id != session_id:
        return None
    sender = Sender(user_id="", curve25519=curve25519 or "", ed25519=ed25519 or "")
    return room_id, InboundSession(megolm=megolm, sender=sender, origin=origin)


def received(told: Mapping[str, Any], sender: Sender) -> tuple[str, InboundSession] | None:
    """Room and session of an `m.room_key` that the session's maker sent, or None for what is none."""
    room_id, key = text(told.get("room_id")), text(told.get("session_key"))
    if told.get("algorithm") != MEGOLM or room_id is None or key is None or not is_room_id(room_id):
        return None
    try:
        megolm = vodozemac.InboundGroupSession(vodozemac.SessionKey(key))
    except ValueError:
        return None
    if megolm.session_id != told.get("session_id"):
        return None
    return room_id, InboundSession(megolm=megolm, sender=sender, origin="direct")


def _is_better(new: InboundSession, known: InboundSession) -> bool:
    """Whether a session reaches further back, or surely says whose it is where the known one did not."""
    first = max(new.megolm.first_known_index, known.megolm.first_known_index)
    ours, theirs = known.megolm.export_at(first), new.megolm.export_at(first)
    if ours is None or theirs is None or ours.to_base64() != theirs.to_base64():
        return False
    if known.origin == "direct" and (new.origin != "direct" or new.sender != known.sender):
        # It may reach further back, yet whose it is must not be said by anybody else.
        if new.megolm.first_known_index >= known.megolm.first_known_index:
            return False
        new.sender, new.origin = known.sender, known.origin
        return True
    surer = new.origin == "direct" and known.origin != "direct"
    earlier = new.megolm.first_known_index < known.megolm.first_known_index
    return earlier or (surer and new.megolm.first_known_index <= known.megolm.first_known_index)


def _with_relation(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content with its relation, which is beside the ciphertext (Matrix spec, "m.room.encrypted")."""
    if "m.relates_to" in inner or "m.relates_to" not in outer:
        return inner
    return {**inner, "m.relates_to": outer["m.relates_to"]}


def _row(room_id: str, session_id: str) -> str:
    return f"in/{room_id}/{session_id}"


def _parts(row: str) -> tuple[str, str, str]:
    """Of `in/ROOM/SESSION`: a session's id may hold slashes, it always has 43 characters; a room's may, too."""
    return row[:2], row[3:-44], row[-43:]
