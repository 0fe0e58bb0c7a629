"""Reads from a sync response who invited the bot and where it was put out; pure."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from surfaces_core import Address, Inbound, Kind
from surfaces_matrix.shapes import is_room_id, mapping, one_line, seconds, sequence, text, user_id
from surfaces_matrix.state import BINDING

LONGEST_NAME = 100
LONGEST_ROOM_NAME = 255


def invites(surface: str, me: str, response: Mapping[str, Any]) -> Iterator[Inbound]:
    """A `START` for each invite, its sender being who invited (Matrix spec, `/sync`, "Invited Room")."""
    for room_id, room in rooms_of(response, "invite").items():
        events = sequence(mapping(mapping(room).get("invite_state")).get("events"))
        invite = _own_membership(events, me, {"invite"})
        inviter = user_id(invite.get("sender"))
        if inviter is not None:
            yield Inbound(
                address=Address(surface=surface, conversation=room_id),
                event_id=f"invite:{room_id}:{_invite_id(invite)}",
                sender=inviter,
                sender_name=_display_name(events, inviter),
                sent_at=seconds(invite.get("origin_server_ts")) or time.time(),
                kind=Kind.START,
            )


def departures(surface: str, me: str, response: Mapping[str, Any], joined: set[str]) -> Iterator[Inbound]:
    """A `LEFT` for each room that the bot is no longer in; `joined` are those it was known to be in.

    That it left by its own act is only news where it was known to be in.
    """
    for room_id, room in rooms_of(response, "leave").items():
        parts = mapping(room)
        events = [*sequence(mapping(parts.get("state")).get("events")), *_timeline(parts)]
        event = _own_membership(events, me, {"leave", "ban"})
        sender = user_id(event.get("sender"))
        if room_id in joined or sender not in (None, me):
            yield Inbound(
                address=Address(surface=surface, conversation=room_id),
                event_id=text(event.get("event_id")) or f"left:{room_id}:{response.get('next_batch')}",
                sender=sender or me,
                sent_at=seconds(event.get("origin_server_ts")) or time.time(),
                kind=Kind.LEFT,
            )


def changes(surface: str, me: str, response: Mapping[str, Any]) -> Iterator[Inbound]:
    """A `RENAMED` for each new name that somebody gave a room, a `LEFT` for each that goes on elsewhere."""
    for room_id, events in joined_state(response).items():
        for event in map(mapping, events):
            change = _change(event, me) if event.get("state_key") == "" else None
            event_id, sender = text(event.get("event_id")), user_id(event.get("sender"))
            if change is not None and event_id is not None and sender is not None:
                yield replace(
                    change,
                    address=Address(surface=surface, conversation=room_id),
                    event_id=event_id,
                    sender=sender,
                    sent_at=seconds(event.get("origin_server_ts")) or time.time(),
                )


def _change(event: Mapping[str, Any], me: str) -> Inbound | None:
    """What a state event changes, to be filled in with where and when."""
    content, nowhere = mapping(event.get("content")), Address(surface="", conversation="")
    if event.get("type") == "m.room.name" and event.get("sender") != me:
        name = one_line(content.get("name"), LONGEST_ROOM_NAME)
        return Inbound(address=nowhere, event_id="", sender="", sent_at=0.0, kind=Kind.RENAMED, text=name)
    target = text(content.get("replacement_room"))
    if event.get("type") == "m.room.tombstone" and target is not None and is_room_id(target):
        return Inbound(address=nowhere, event_id="", sender="", sent_at=0.0, kind=Kind.LEFT, target=target)
    return None


def joined_rooms(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """The joined rooms of a response by their ids."""
    return rooms_of(response, "join")


def rooms_of(response: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """The rooms of a section (`join`, `invite`, `leave`) by their ids."""
    rooms = mapping(mapping(response.get("rooms")).get(section))
    odd = [name for name in rooms if not is_room_id(name)]
    return {name: room for name, room in rooms.items() if name not in odd} if odd else rooms


def joined_state(response: Mapping[str, Any]) -> dict[str, list[Any]]:
    """All state events of each joined room, oldest first; those in the timeline came last."""
    return {
        room_id: [*sequence(mapping(mapping(room).get("state")).get("events")), *_timeline(mapping(room))]
        for room_id, room in joined_rooms(response).items()
    }


def aside(response: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The bindings among the bot's own data of joined rooms, by room."""
    found = {}
    for room_id, room in joined_rooms(response).items():
        for event in map(mapping, sequence(mapping(mapping(room).get("account_data")).get("events"))):
            content = mapping(event.get("content"))
            if event.get("type") == BINDING and content:
                found[room_id] = content
    return found


def _timeline(room: Mapping[str, Any]) -> list[Any]:
    return list(sequence(mapping(room.get("timeline")).get("events")))


def _own_membership(events: list[Any] | Any, me: str, wanted: set[str]) -> Mapping[str, Any]:
    """The last event that gives the bot one of the wanted memberships, or an empty one."""
    for event in reversed(events):
        found = mapping(event)
        if (
            found.get("type") == "m.room.member"
            and found.get("state_key") == me
            and text(mapping(found.get("content")).get("membership")) in wanted
        ):
            return found
    return {}


def _invite_id(invite: Mapping[str, Any]) -> str:
    """Names an invite. The specification promises a stripped event only, without id and time.

    Then the day stands in for them: an invite that is seen twice begins nothing twice, one that
    is taken for an earlier one would never be answered.
    """
    known = text(invite.get("event_id")) or invite.get("origin_server_ts") or int(time.time() // 86_400)
    told = json.dumps([known, invite.get("sender"), invite.get("content")], sort_keys=True, default=str)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _display_name(events: Any, person: str) -> str:
    for event in events:
        found = mapping(event)
        if found.get("type") == "m.room.member" and found.get("state_key") == person:
            return one_line(mapping(found.get("content")).get("displayname"), LONGEST_NAME)
    return ""
