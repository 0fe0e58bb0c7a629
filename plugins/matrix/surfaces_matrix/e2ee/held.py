"""Keeps the events whose keys have not come yet, until they come or have been waited for long enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from surfaces_matrix.e2ee.keep import Keep
from surfaces_matrix.shapes import mapping, text

MOST_IN_A_ROOM = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One event that can't be read for now."""

    room_id: str
    event: Mapping[str, Any]
    since: float
    """Unix seconds of the first try, in this life of the process where it was tried again."""

    @property
    def event_id(self) -> str:
        """Its id."""
        return str(self.event["event_id"])

    @property
    def session_id(self) -> str:
        """The Megolm session whose key is missing."""
        return text(mapping(self.event.get("content")).get("session_id")) or ""


class Holding:
    """All that is held for one account, in the order it came. What changes is kept with the next flush."""

    def __init__(self, keep: Keep, clock: Callable[[], float]) -> None:
        self._keep = keep
        self._clock = clock
        self._held: dict[str, Held] = {}
        """By row."""

    async def load(self) -> None:
        """What was held when the last life ended; its time begins anew, for no key could come meanwhile."""
        rows = await self._keep.scan("held/")
        kept = {row: orjson.loads(value) for row, value in rows.items()}
        for row, one in sorted(kept.items(), key=lambda pair: float(pair[1]["since"])):
            self._held[row] = Held(room_id=one["room_id"], event=one["event"], since=self._clock())

    def add(self, room_id: str, event: Mapping[str, Any]) -> bool:
        """Hold an event; False where it is held already, or too many are in its room."""
        row = _row(room_id, event)
        mine = sum(1 for held in self._held.values() if held.room_id == room_id)
        if row in self._held or mine >= MOST_IN_A_ROOM:
            return False
        held = Held(room_id=room_id, event=dict(event), since=self._clock())
        self._held[row] = held
        self._keep.set(row, orjson.dumps({"room_id": room_id, "event": event, "since": held.since}))
        return True

    def drop(self, held: Held) -> None:
        """It is read, or nobody waits for it any more."""
        row = _row(held.room_id, held.event)
        if self._held.pop(row, None) is not None:
            self._keep.set(row, None)

    def find(self, room_id: str, event_id: str) -> Held | None:
        """One event."""
        return self._held.get(f"held/{room_id}/{event_id}")

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)


def _row(room_id: str, event: Mapping[str, Any]) -> str:
    return f"held/{room_id}/{event['event_id']}"
