"""What waits: every lane of the inbox and the outbox, as operators see it; never what is said in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.journal import Backlog, Entry, Part
from surfaces_core._engine.lanes import Lanes, Standing
from surfaces_core._engine.spots import Spot
from surfaces_core.events import Address

State = Literal["running", "waiting", "ready", "held", "stored"]
"""Worked on; until its next try; for a free place; until its surface has said what its rooms show; for a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One lane: what is not done of one conversation, on its way in or out."""

    box: Literal["in", "out"]
    surface: str
    conversation: str
    depth: int
    oldest_s: float
    """Seconds since the first one came."""
    state: State
    tries: int
    """Of the first one, so far."""
    next_s: float | None
    """Seconds until its next try, where that is known."""
    error: str
    """The code of its last failure."""


def inbox(lanes: Iterable[Lanes[Entry]], held: Mapping[str, Sequence[Entry]], now: float) -> list[Waiting]:
    """The inbox of a host that runs."""
    running = [
        _entries(standing.items, now, _state(standing), standing.wait_s)
        for some in lanes
        for standing in some.standings()
    ]
    return running + [_entries(lane, now, "held") for entries in held.values() for lane in _by_lane(entries)]


def outbox(deliveries: Iterable[Delivery], now: float) -> list[Waiting]:
    """The outbox of a host that runs."""
    return [
        _parts(standing.items, now, _state(standing), standing.wait_s, delivery.failures(standing.items[0]))
        for delivery in deliveries
        for standing in delivery.lanes.standings()
    ]


def stored(backlog: Backlog, now: float) -> list[Waiting]:
    """Both, as they are stored while no host runs."""
    entries = [
        _entries(lane, now, "stored", max(0.0, lane[0].not_before - now) if lane[0].not_before else None)
        for lane in _by_lane(backlog.entries)
    ]
    lanes: dict[Address, list[Part]] = {}
    for part in backlog.parts:
        lanes.setdefault(part.outbound.address, []).append(part)
    return entries + [_parts(lane, now, "stored", None, (0, "")) for lane in lanes.values()]


def _state(standing: Standing[Entry] | Standing[Part]) -> State:
    if standing.busy:
        return "running"
    return "ready" if standing.wait_s is None else "waiting"


def _by_lane(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    lanes: dict[Spot, list[Entry]] = {}
    for entry in entries:
        lanes.setdefault(Spot.of(entry.message), []).append(entry)
    return lanes.values()


def _entries(items: Sequence[Entry], now: float, state: State, next_s: float | None = None) -> Waiting:
    first = items[0]
    return Waiting(
        box="in",
        surface=first.message.address.surface,
        conversation=first.message.address.conversation,
        depth=len(items),
        oldest_s=max(0.0, now - first.came_at),
        state=state,
        tries=first.attempts,
        next_s=next_s,
        error=first.error,
    )


def _parts(items: Sequence[Part], now: float, state: State, next_s: float | None, failures: tuple[int, str]) -> Waiting:
    first = items[0].outbound
    return Waiting(
        box="out",
        surface=first.address.surface,
        conversation=first.address.conversation,
        depth=len(items),
        oldest_s=max(0.0, now - first.frozen_at),
        state=state,
        tries=failures[0],
        next_s=next_s,
        error=failures[1],
    )
