"""What a client's filter lets through (Matrix client-server API, "Filtering")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from surfaces_testing.homeserver.errors import bad_json
from surfaces_testing.homeserver.event import Json

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
"""Synapse's `filter_timeline_limit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The filter of one section; None lets everything through."""

    types: Sequence[str] | None = None
    not_types: Sequence[str] = ()
    senders: Sequence[str] | None = None
    not_senders: Sequence[str] = ()
    limit: int | None = None
    lazy: bool = False

    @classmethod
    def read(cls, raw: Json) -> Self:
        """From its JSON."""
        return cls(
            types=raw.get("types"),
            not_types=raw.get("not_types") or (),
            senders=raw.get("senders"),
            not_senders=raw.get("not_senders") or (),
            limit=raw.get("limit"),
            lazy=bool(raw.get("lazy_load_members")),
        )

    def lets(self, kind: str, sender: str = "") -> bool:
        """Whether something of this type and sender passes."""
        if self.types is not None and not _any(self.types, kind):
            return False
        if self.senders is not None and sender not in self.senders:
            return False
        return not _any(self.not_types, kind) and sender not in self.not_senders


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A whole filter of `/sync`."""

    timeline: Part
    state: Part
    ephemeral: Part
    account_data: Part
    rooms: Sequence[str] | None = None
    not_rooms: Sequence[str] = ()
    include_leave: bool = False

    @classmethod
    def read(cls, raw: Any) -> Self:
        """From its JSON. Raises `M_BAD_JSON`."""
        if not isinstance(raw, dict):
            raise bad_json("Filter must be an object")
        room = raw.get("room") or {}
        parts = {name: Part.read(room.get(name) or {}) for name in ("timeline", "state", "ephemeral")}
        return cls(
            **parts,
            account_data=Part.read(raw.get("account_data") or {}),
            rooms=room.get("rooms"),
            not_rooms=room.get("not_rooms") or (),
            include_leave=bool(room.get("include_leave")),
        )

    def wants(self, room_id: str) -> bool:
        """Whether a room passes at all."""
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms

    @property
    def timeline_limit(self) -> int:
        """Events per room, at most."""
        limit = self.timeline.limit
        return min(DEFAULT_LIMIT if limit is None else max(1, limit), MAX_LIMIT)

    @property
    def lazy(self) -> bool:
        """Members only of those who speak."""
        return self.state.lazy or self.timeline.lazy


def _any(patterns: Sequence[str], kind: str) -> bool:
    return any(pattern == kind or ("*" in pattern and fnmatchcase(kind, pattern)) for pattern in patterns)
