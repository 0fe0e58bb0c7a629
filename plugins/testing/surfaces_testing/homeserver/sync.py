"""Builds the answers of `/sync` (Matrix client-server API, "Syncing")."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from surfaces_testing.homeserver.accounts import Device, User
from surfaces_testing.homeserver.event import Event, Json
from surfaces_testing.homeserver.filters import Filter
from surfaces_testing.homeserver.room import Room
from surfaces_testing.homeserver.world import World

_STRIPPED = (
    "m.room.create",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.avatar",
    "m.room.encryption",
    "m.room.name",
    "m.room.topic",
)


class Sync:
    """One answer for one device; `since` is a position, None for the first sync."""

    def __init__(self, world: World, device: Device, chosen: Filter, since: int | None, *, full_state: bool) -> None:
        self._world = world
        self._device = device
        self._user: User = world.users[device.user_id]
        self._filter = chosen
        self._since = since
        self._asked_for_all = full_state
        self._full = full_state or since is None
        self._upto = world.pos

    def build(self) -> tuple[Json, bool]:
        """The answer, and whether anything is in it."""
        rooms: dict[str, Json] = {"join": {}, "invite": {}, "leave": {}}
        for room in self._candidates():
            self._place(room, rooms)
        sections = {name: content for name, content in rooms.items() if content}
        answer: Json = {
            "next_batch": f"s{self._upto}",
            "device_one_time_keys_count": {"signed_curve25519": 0},
            "org.matrix.msc2732.device_unused_fallback_key_types": [],
            "device_unused_fallback_key_types": [],
        }
        account_data = self._account_data("")
        if account_data:
            answer["account_data"] = {"events": account_data}
        if sections:
            answer["rooms"] = sections
        return answer, bool(sections or account_data)

    def _candidates(self) -> Iterator[Room]:
        rooms: Iterable[str] = self._user.rooms
        if self._since is not None and not self._full:
            rooms = self._world.changed_rooms(self._since) & self._user.rooms
        for room_id in rooms:
            if self._filter.wants(room_id):
                yield self._world.rooms[room_id]

    def _place(self, room: Room, rooms: dict[str, Json]) -> None:
        me = self._user.user_id
        match room.membership(me):
            case "join":
                entry = self._joined(room)
                if entry is not None:
                    rooms["join"][room.room_id] = entry
            case "invite" if self._is_new(room.state["m.room.member", me].pos):
                rooms["invite"][room.room_id] = {"invite_state": {"events": list(_invite_state(room, me))}}
            case "leave" | "ban" if self._shows_left(room):
                rooms["leave"][room.room_id] = self._left(room)

    def _is_new(self, pos: int) -> bool:
        return self._since is None or pos > self._since

    def _joined(self, room: Room) -> Json | None:
        newly = self._since is not None and room.membership_at(self._user.user_id, self._since) != "join"
        fresh = self._full or newly
        entry = self._timeline(room, self._upto, from_start=self._since is None or newly, newly=newly)
        ephemeral = list(self._ephemeral(room, everything=self._since is None or newly))
        account_data = self._account_data(room.room_id)
        nothing = not (entry["timeline"]["events"] or entry["state"]["events"] or ephemeral or account_data)
        if nothing and not newly and not self._asked_for_all:
            return None
        joined = sum(membership == "join" for membership in room.members.values())
        return {
            **entry,
            "account_data": {"events": account_data},
            "ephemeral": {"events": ephemeral},
            "unread_notifications": {"notification_count": 0, "highlight_count": 0},
            "summary": {"m.joined_member_count": joined} if fresh else {},
        }

    def _shows_left(self, room: Room) -> bool:
        me = self._user.user_id
        left = room.state["m.room.member", me]
        if me in room.forgotten or not self._is_new(left.pos):
            return False
        # Who was put out is told so even in a first sync.
        return self._since is not None or left.sender != me or self._filter.include_leave

    def _left(self, room: Room) -> Json:
        me = self._user.user_id
        left = room.state["m.room.member", me]
        since = self._since
        newly = since is not None and any(pos > since and then == "join" for pos, then in room.history[me])
        entry = self._timeline(room, left.pos, from_start=since is None or newly, newly=newly)
        return {**entry, "account_data": {"events": []}}

    def _timeline(self, room: Room, upto: int, *, from_start: bool, newly: bool = False) -> Json:
        after = 0 if from_start or self._since is None else self._since
        span = room.between(after, upto)
        found = [event for event in span if self._sees(room, event)]
        events = found[-self._filter.timeline_limit :]
        start = events[0].pos - 1 if events else upto
        limited = newly or len(found) > len(events)
        whole = after > 0 and not self._full and len(span) == len(events)
        state = [] if whole else self._state(room, events, 0 if self._full else after, upto)
        if self._filter.lazy:
            state = self._lazily(room, state, events)
        wires = [self._wire(room, room.client(event, self._device)) for event in events]
        return {
            "timeline": {"events": wires, "prev_batch": f"s{start}", "limited": limited},
            "state": {"events": [self._wire(room, event.client()) for event in state]},
        }

    def _sees(self, room: Room, event: Event) -> bool:
        return self._filter.timeline.lets(event.type, event.sender) and visible(room, event, self._user.user_id)

    def _state(self, room: Room, events: Sequence[Event], after: int, upto: int) -> list[Event]:
        """What is state at the timeline's start or end, new to the client and not in the timeline (as Synapse has it).

        The start is that behind the first event, and of two changes of one thing in the timeline only
        the last counts as being in it.
        """
        contained = {event.key: event.event_id for event in events if event.state_key is not None}.values()
        ends = [*room.state_at(events[0].pos), *room.state_at(upto)] if events else room.state_at(upto)
        chosen = {event.key: event for event in ends if event.pos > after and event.event_id not in contained}
        return [event for event in chosen.values() if self._filter.state.lets(event.type, event.sender)]

    def _lazily(self, room: Room, state: Sequence[Event], events: Sequence[Event]) -> list[Event]:
        """Members only of those who speak here and were not told before (as Synapse does)."""
        known = self._device.known_members
        if self._full:
            known -= {(room.room_id, user_id) for user_id in room.members}
        speakers = {event.sender for event in events} | ({self._user.user_id} if self._full else set())
        wanted = {user_id for user_id in speakers if (room.room_id, user_id) not in known and user_id in room.members}
        known |= {(room.room_id, user_id) for user_id in wanted}
        contained = {event.event_id for event in events}
        members = [room.state["m.room.member", user_id] for user_id in wanted]
        rest = [event for event in state if event.type != "m.room.member"]
        return rest + [event for event in members if event.event_id not in contained]

    def _wire(self, room: Room, wire: Json) -> Json:
        # Synapse leaves the room's id in the event that it was made from.
        made = wire["type"] == "m.room.create" and room.version == "12"
        return wire | {"room_id": room.room_id} if made else wire

    def _ephemeral(self, room: Room, *, everything: bool) -> Iterator[Json]:
        lets, since = self._filter.ephemeral.lets, 0 if everything or self._since is None else self._since
        if room.typing_pos > since and lets("m.typing") and (room.typing or not everything):
            now = time.monotonic()
            yield {
                "type": "m.typing",
                "content": {"user_ids": [who for who, ends in room.typing.items() if ends > now]},
            }
        new = [receipt for receipt in room.receipts.values() if receipt.pos > since]
        if new and lets("m.receipt"):
            content: Json = {}
            for receipt in new:
                readers = content.setdefault(receipt.event_id, {}).setdefault("m.read", {})
                readers[receipt.user_id] = {"ts": receipt.ts}
            yield {"type": "m.receipt", "content": content}

    def _account_data(self, room_id: str) -> list[Json]:
        since = self._since or 0
        allowed = self._filter.account_data.lets
        return [
            {"type": kind, "content": content}
            for (where, kind), (pos, content) in self._user.account_data.items()
            if where == room_id and pos > since and (room_id or allowed(kind))
        ]


def visible(room: Room, event: Event, user_id: str) -> bool:
    """Whether somebody may see an event (Matrix client-server API, "Room History Visibility")."""
    if event.type == "m.room.redaction" and room.event(event.content["redacts"]) is None:
        return False
    rule = room.content("m.room.history_visibility").get("history_visibility", "shared")
    if rule in ("shared", "world_readable") or event.state_key == user_id:
        return True
    then = room.membership_at(user_id, event.pos)
    return then == "join" or (rule == "invited" and then == "invite")


def _invite_state(room: Room, invited: str) -> Iterator[Json]:
    invite = room.state["m.room.member", invited]
    for kind in _STRIPPED:
        event = room.state.get((kind, ""))
        if event is not None:
            yield event.stripped()
    inviter = room.state.get(("m.room.member", invite.sender))
    if inviter is not None:
        yield inviter.stripped()
    yield invite.stripped()
