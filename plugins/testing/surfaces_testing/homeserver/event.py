"""Events as the homeserver keeps them and as clients get them."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

Json = dict[str, Any]

MAX_BYTES = 65_536
ENVELOPE_BYTES = 600
"""What a signed event carries beside its content: hashes, signature, parents (about, on Synapse)."""

_COPIED = ("age", "redacted_because", "replaces_state", "prev_content")
"""What Synapse's older form repeats outside of `unsigned`."""

_KEPT_BY_REDACTION: Mapping[str, frozenset[str]] = {
    "m.room.member": frozenset({"membership", "join_authorised_via_users_server"}),
    "m.room.join_rules": frozenset({"join_rule", "allow"}),
    "m.room.history_visibility": frozenset({"history_visibility"}),
    "m.room.redaction": frozenset({"redacts"}),
    "m.room.power_levels": frozenset(
        {
            "ban",
            "events",
            "events_default",
            "invite",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        }
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which device sent an event under which transaction id."""

    user_id: str
    device_id: str
    txn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whose client gets an event; `membership` is theirs when it was sent, empty where Synapse doesn't say."""

    user_id: str
    device_id: str
    membership: str = ""

    def sent(self, origin: Origin) -> bool:
        """Whether this device sent it."""
        return (self.user_id, self.device_id) == (origin.user_id, origin.device_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `pos` is its place in the homeserver's stream of everything, from 1."""

    event_id: str
    room_id: str
    type: str
    sender: str
    content: Mapping[str, Any]
    ts: int
    """Unix milliseconds."""
    pos: int
    state_key: str | None = None
    replaces: Event | None = None
    """The state event whose place this one took."""
    origin: Origin | None = None
    redacted_by: Event | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its place in the room's state."""
        return self.type, self.state_key or ""

    def client(self, reader: Reader | None = None, *, full: bool = False) -> Json:
        """As a client gets it: in a sync, or (`full`) asked for, in Synapse's older and longer form."""
        unsigned = self._unsigned(reader, full=full)
        wire: Json = {
            "content": self.content,
            "type": self.type,
            "sender": self.sender,
            "event_id": self.event_id,
            "origin_server_ts": self.ts,
            "unsigned": unsigned,
        }
        if self.state_key is not None:
            wire["state_key"] = self.state_key
        if self.type == "m.room.redaction":
            wire["redacts"] = self.content.get("redacts")
        if full:
            wire["room_id"] = self.room_id
            wire |= {key: unsigned[key] for key in _COPIED if key in unsigned}
        return wire

    def stripped(self) -> Json:
        """As somebody gets it who is only invited."""
        return {"type": self.type, "state_key": self.state_key, "sender": self.sender, "content": self.content}

    def redacted(self, by: Event) -> Event:
        """What is left of it (room versions 11 and 12; Matrix specification, "Redactions")."""
        if self.type == "m.room.create":
            return replace(self, redacted_by=by)
        kept = _KEPT_BY_REDACTION.get(self.type, frozenset())
        content = {key: value for key, value in self.content.items() if key in kept}
        return replace(self, content=content, redacted_by=by)

    def _unsigned(self, reader: Reader | None, *, full: bool) -> Json:
        unsigned: Json = {"age": max(0, int(time.time() * 1000) - self.ts)}
        if reader is not None and reader.membership:
            unsigned["membership"] = reader.membership
        if self.replaces is not None:
            unsigned["replaces_state"] = self.replaces.event_id
            unsigned["prev_content"] = self.replaces.content
            unsigned["prev_sender"] = self.replaces.sender
        if self.origin is not None and reader is not None and reader.sent(self.origin):
            unsigned["transaction_id"] = self.origin.txn
        if self.redacted_by is not None:
            unsigned["redacted_by"] = self.redacted_by.event_id
            why = None if reader is None else replace(reader, membership="")
            unsigned["redacted_because"] = self.redacted_by.client(why, full=full)
        return unsigned


def event_hash(seed: str) -> str:
    """43 characters, like the hash that names an event since room version 4."""
    return base64.urlsafe_b64encode(hashlib.sha256(seed.encode()).digest()).decode().rstrip("=")


def fits(content: Mapping[str, Any], *ids: str) -> bool:
    """Whether an event with this content may be sent (Matrix client-server API, "Size limits")."""
    return len(orjson.dumps(content)) + sum(map(len, ids)) + ENVELOPE_BYTES <= MAX_BYTES
