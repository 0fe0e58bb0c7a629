"""Reads from the state of the bot's rooms which conversations and Spaces there are; pure.

Only what the bot itself wrote is believed: anybody who may set state in a room could write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from surfaces_core import Address, Binding
from surfaces_matrix.shapes import mapping, one_line, seconds, sequence
from surfaces_matrix.state import BINDING, SPACE, VERSION, BindingContent, SpaceContent

Reason = Literal["unbound", "foreign_sender", "unknown_version", "malformed", "duplicate_space"]

_LONGEST_NAME = 255

_State = Mapping[tuple[str, str], Mapping[str, Any]]
_Content = TypeVar("_Content", BindingContent, SpaceContent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A person's Space and the conversations that it shows, as room ids."""

    room: str
    owner: str
    children: frozenset[str]
    created_at: int
    """Milliseconds, as the homeserver says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the rooms show."""

    found: tuple[Binding, ...]
    """By owner and number; two with the same number are both here, for the host to say so."""
    spaces: Mapping[str, Space]
    """By owner."""
    skipped: Mapping[str, Reason]
    """By room id; `unbound` are rooms that never had a binding, like those that people call from."""


def bindings(surface: str, me: str, rooms: Mapping[str, Sequence[object]]) -> Snapshot:
    """What the state events of the joined rooms say; `rooms` has them by room id, oldest first.

    Never raises, whatever the events are. Of two Spaces of one person the older one counts.
    """
    claims = {room_id: _claim(surface, me, room_id, _current(events)) for room_id, events in rooms.items()}
    skipped: dict[str, Reason] = {room_id: claim for room_id, claim in claims.items() if isinstance(claim, str)}
    found = [claim for claim in claims.values() if isinstance(claim, Binding)]
    found.sort(key=lambda one: (one.owner, one.number, one.created_at, one.address.conversation))
    spaces: dict[str, Space] = {}
    by_age = sorted((c for c in claims.values() if isinstance(c, Space)), key=lambda one: (one.created_at, one.room))
    for space in by_age:
        if spaces.setdefault(space.owner, space) is not space:
            skipped[space.room] = "duplicate_space"
    return Snapshot(found=tuple(found), spaces=spaces, skipped=skipped)


def _claim(surface: str, me: str, room_id: str, state: _State) -> Binding | Space | Reason:
    """What one room says it is."""
    if (BINDING, "") in state:
        binding = _believed(state[BINDING, ""], me, BindingContent)
        address = Address(surface=surface, conversation=room_id)
        return binding if isinstance(binding, str) else binding.binding(address, _name(state))
    if (SPACE, "") in state:
        event = state[SPACE, ""]
        space = _believed(event, me, SpaceContent)
        if isinstance(space, str):
            return space
        created_at = int((seconds(event.get("origin_server_ts")) or 0.0) * 1000)
        return Space(room=room_id, owner=space.owner, children=_children(state, me), created_at=created_at)
    return "unbound"


def _believed(event: Mapping[str, Any], me: str, kind: type[_Content]) -> _Content | Reason:
    if event.get("sender") != me:
        return "foreign_sender"
    content = mapping(event.get("content"))
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        return "unknown_version"
    try:
        return kind.model_validate(content)
    except ValidationError:
        return "malformed"


def _current(events: Iterable[object]) -> _State:
    """The last event of each type and state key."""
    state = {}
    for event in map(mapping, events):
        kind, key = event.get("type"), event.get("state_key")
        if isinstance(kind, str) and isinstance(key, str):
            state[kind, key] = event
    return state


def _name(state: _State) -> str:
    """The room's name; whoever set it, for people may rename their conversations."""
    content = mapping(state.get(("m.room.name", ""), {}).get("content"))
    return one_line(content.get("name"), _LONGEST_NAME)


def _children(state: _State, me: str) -> frozenset[str]:
    """The rooms that a Space shows: a child without `via` is none (client-server API, `m.space.child`)."""
    return frozenset(
        key
        for (kind, key), event in state.items()
        if kind == "m.space.child" and event.get("sender") == me and sequence(mapping(event.get("content")).get("via"))
    )
