"""One room: its events in order and what they add up to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from surfaces_testing.homeserver.accounts import Device
from surfaces_testing.homeserver.event import Event, Json, Reader

CREATORS_ABOVE_ALL = 2**53
"""In room version 12 creators are above every power level (Matrix specification, room version 12)."""


@dataclass(slots=True, kw_only=True)
class Receipt:
    """Somebody has read up to an event."""

    user_id: str
    event_id: str
    ts: int
    pos: int


@dataclass(slots=True)
class Room:
    """Fed by `World` alone; everybody else reads."""

    room_id: str
    version: str
    timeline: list[Event] = field(default_factory=list)
    state: dict[tuple[str, str], Event] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    """Event id to its place in `timeline`."""
    members: dict[str, str] = field(default_factory=dict)
    """User id to membership."""
    history: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """User id to (position, membership), oldest first."""
    forgotten: set[str] = field(default_factory=set)
    typing: dict[str, float] = field(default_factory=dict)
    """User id to when it lapses."""
    typing_pos: int = 0
    receipts: dict[str, Receipt] = field(default_factory=dict)
    last_pos: int = 0

    def add(self, event: Event) -> None:
        """Take an event in."""
        self.index[event.event_id] = len(self.timeline)
        self.timeline.append(event)
        self.last_pos = event.pos
        if event.state_key is None:
            return
        self.state[event.key] = event
        if event.type == "m.room.member":
            membership = str(event.content.get("membership"))
            self.members[event.state_key] = membership
            self.history.setdefault(event.state_key, []).append((event.pos, membership))

    def event(self, event_id: str) -> Event | None:
        """One of its events."""
        place = self.index.get(event_id)
        return None if place is None else self.timeline[place]

    def put(self, event: Event) -> None:
        """Replace an event by what its redaction leaves of it."""
        self.timeline[self.index[event.event_id]] = event
        current = self.state.get(event.key)
        if current is not None and current.event_id == event.event_id:
            self.state[event.key] = event

    def client(self, event: Event, device: Device, *, full: bool = False) -> Json:
        """An event of the timeline as somebody's device gets it (see `Event.client`)."""
        membership = self.membership_at(device.user_id, event.pos) or "leave"
        reader = Reader(user_id=device.user_id, device_id=device.device_id, membership=membership)
        return event.client(reader, full=full)

    def between(self, after: int, upto: int) -> Sequence[Event]:
        """Events with `after < pos <= upto`, oldest first."""
        return self.timeline[self.place(after) : self.place(upto)]

    def place(self, pos: int) -> int:
        """How many events lie at or before a position."""
        return bisect_right(self.timeline, pos, key=lambda event: event.pos)

    def state_at(self, pos: int) -> Iterator[Event]:
        """The state as it was after everything up to `pos`."""
        for current in self.state.values():
            event: Event | None = current
            while event is not None and event.pos > pos:
                event = event.replaces
            if event is not None:
                yield event

    def content(self, kind: str, key: str = "") -> Json:
        """The content of a state event; empty where there is none."""
        event = self.state.get((kind, key))
        return {} if event is None else dict(event.content)

    def membership(self, user_id: str) -> str:
        """Now; `""` for somebody who never had to do with it."""
        return self.members.get(user_id, "")

    def membership_at(self, user_id: str, pos: int) -> str:
        """After everything up to `pos`."""
        found = ""
        for changed, membership in self.history.get(user_id, ()):
            if changed > pos:
                break
            found = membership
        return found

    def joined(self) -> list[str]:
        """User ids."""
        return [user_id for user_id, membership in self.members.items() if membership == "join"]

    @property
    def create(self) -> Event:
        """Its first event."""
        return self.timeline[0]

    @property
    def creators(self) -> frozenset[str]:
        """Of a version 12 room: whoever is above all power levels."""
        if self.version != "12":
            return frozenset()
        return frozenset({self.create.sender, *self.create.content.get("additional_creators", ())})

    def power(self, user_id: str) -> int:
        """The power level of somebody (Matrix client-server API, `m.room.power_levels`)."""
        if user_id in self.creators:
            return CREATORS_ABOVE_ALL
        levels = self.state.get(("m.room.power_levels", ""))
        if levels is None:
            return 100 if user_id == self.create.sender else 0
        users = levels.content.get("users", {})
        return int(users.get(user_id, levels.content.get("users_default", 0)))

    def needed(self, kind: str, *, state: bool) -> int:
        """The power level that sending an event of a type needs."""
        levels = self.content("m.room.power_levels")
        if not levels:
            return 0
        default = levels.get("state_default", 50) if state else levels.get("events_default", 0)
        return int(levels.get("events", {}).get(kind, default))
