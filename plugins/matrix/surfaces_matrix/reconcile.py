"""Reads from the state of the bot's rooms which conversations and Spaces there are; pure.

Only what the bot itself wrote is believed: anybody who may set state in a room could write it. A room that says
nothing that can be believed may still be a conversation: where a Space of the bot's lists it, the Space says
whose it is, and its place there or its name which number it has. Its agent and context are then left empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from surfaces_core import Address, Binding
from surfaces_matrix.shapes import mapping, one_line, seconds, sequence, text
from surfaces_matrix.state import BINDING, SPACE, VERSION, BindingContent, SpaceContent

Reason = Literal[
    "unbound",
    "foreign_sender",
    "unknown_version",
    "malformed",
    "duplicate_space",
    "unowned_space",
    "replaced",
    "no_number",
    "number_taken",
    "two_owners",
]

_LONGEST_NAME = 255
_NUMBERED = re.compile(r"C([1-9][0-9]{0,8})(?![0-9\w])", re.ASCII)
_ORDER = re.compile(r"0*([1-9][0-9]{0,8})", re.ASCII)
_UNREADABLE: tuple[Reason, ...] = ("unbound", "foreign_sender", "malformed")
"""What may be a conversation all the same; one of a newer version knows better than this one."""

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
    marked: bool = True
    """It says itself whose it is."""
    orders: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where its children stand in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the rooms show."""

    found: tuple[Binding, ...]
    """By owner and number; two with the same number are both here, for the host to say so."""
    spaces: Mapping[str, Space]
    """By owner."""
    skipped: Mapping[str, Reason]
    """By room id; `unbound` are rooms that never had a binding, like those that people call from."""
    listed: Mapping[str, str] = field(default_factory=dict)
    """Rooms that are conversations of these owners, though nothing more can be told of them."""

    def of(self, owner: str) -> frozenset[str]:
        """The rooms of a person's conversations, as far as they are told."""
        found = {_room(binding) for binding in self.found if binding.owner == owner}
        return frozenset(found | {room for room, whose in self.listed.items() if whose == owner})

    @property
    def unowned(self) -> list[str]:
        """Spaces that the bot made and that don't say whose they are."""
        return [room for room, reason in self.skipped.items() if reason == "unowned_space"]


@dataclass(frozen=True, slots=True)
class _Lost:
    """A room that a Space lists and that does not say itself what it is."""

    room: str
    owner: str
    number: int | None
    created_at: float
    name: str


def bindings(
    surface: str,
    me: str,
    rooms: Mapping[str, Sequence[object]],
    *,
    aside: Mapping[str, object] | None = None,
    owners: Mapping[str, str] | None = None,
) -> Snapshot:
    """What the state events of the joined rooms say; `rooms` has them by room id, oldest first.

    `aside` are bindings among the bot's own data, `owners` the owners of Spaces that don't say it.
    Never raises, whatever the events are. Of two Spaces of one person the older one counts, and one
    that says whose it is before one that does not.
    """
    states = {room_id: _current(events) for room_id, events in rooms.items()}
    claims = {
        room_id: _claim(surface, me, room_id, state, (aside or {}).get(room_id), (owners or {}).get(room_id))
        for room_id, state in states.items()
    }
    found = [claim for claim in claims.values() if isinstance(claim, Binding)]
    skipped: dict[str, Reason] = {room_id: claim for room_id, claim in claims.items() if isinstance(claim, str)}
    gone = _replaced(found, states)
    skipped |= dict.fromkeys(gone, "replaced")
    found = [one for one in found if one.address.conversation not in gone]
    all_spaces = [claim for claim in claims.values() if isinstance(claim, Space)]
    all_spaces.sort(key=lambda one: (not one.marked, one.created_at, one.room))
    spaces: dict[str, Space] = {}
    for space in all_spaces:
        if spaces.setdefault(space.owner, space) is not space:
            skipped[space.room] = "duplicate_space"
    listed = _listed(all_spaces, states, skipped)
    recovered = _recovered(surface, listed, found, skipped)
    found = sorted([*found, *recovered], key=lambda one: (one.owner, one.number, one.created_at, _room(one)))
    unclear = {lost.room: lost.owner for lost in listed if lost.room in skipped}
    return Snapshot(found=tuple(found), spaces=spaces, skipped=skipped, listed=unclear)


def number_of(order: object, name: str) -> int | None:
    """Which number a conversation has by its place in a Space, else by its name (`C3 …`)."""
    found = _ORDER.fullmatch(text(order) or "") or _NUMBERED.match(name)
    return None if found is None else int(found[1])


def _room(binding: Binding) -> str:
    return binding.address.conversation


def _claim(
    surface: str, me: str, room_id: str, state: _State, aside: object, owner: str | None
) -> Binding | Space | Reason:
    """What one room says it is."""
    address = Address(surface=surface, conversation=room_id)
    kept = _parsed(mapping(aside), BindingContent) if mapping(aside) else "unbound"
    if isinstance(kept, BindingContent) and (not kept.shared or kept.owner == room_id):
        return kept.binding(address, name_of(state))
    if (BINDING, "") in state:
        binding = _believed(state[BINDING, ""], me, BindingContent)
        if isinstance(binding, str):
            return binding
        return "malformed" if binding.shared else binding.binding(address, name_of(state))
    if (SPACE, "") in state:
        event = state[SPACE, ""]
        space = _believed(event, me, SpaceContent)
        if isinstance(space, str):
            return _unmarked(me, room_id, state, owner) or space
        return _space(me, room_id, space.owner, event, state, marked=True)
    return _unmarked(me, room_id, state, owner) or "unbound"


def _unmarked(me: str, room_id: str, state: _State, owner: str | None) -> Space | Reason | None:
    """A Space that the bot made and that does not say whose it is."""
    create = state.get(("m.room.create", ""), {})
    if create.get("sender") != me or mapping(create.get("content")).get("type") != "m.space":
        return None
    return "unowned_space" if owner is None else _space(me, room_id, owner, create, state, marked=False)


def _space(me: str, room_id: str, owner: str, event: Mapping[str, Any], state: _State, *, marked: bool) -> Space:
    created_at = int((seconds(event.get("origin_server_ts")) or 0.0) * 1000)
    orders = _children(state, me)
    children = frozenset(orders)
    return Space(room=room_id, owner=owner, children=children, created_at=created_at, marked=marked, orders=orders)


def _believed(event: Mapping[str, Any], me: str, kind: type[_Content]) -> _Content | Reason:
    if event.get("sender") != me:
        return "foreign_sender"
    return _parsed(mapping(event.get("content")), kind)


def _parsed(content: Mapping[str, Any], kind: type[_Content]) -> _Content | Reason:
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


def name_of(state: _State) -> str:
    """The room's name; whoever set it, for people may rename their conversations."""
    content = mapping(state.get(("m.room.name", ""), {}).get("content"))
    return one_line(content.get("name"), _LONGEST_NAME)


def _children(state: _State, me: str) -> dict[str, str]:
    """The rooms that a Space shows: a child without `via` is none (client-server API, `m.space.child`)."""
    return {
        key: text(mapping(event.get("content")).get("order")) or ""
        for (kind, key), event in state.items()
        if kind == "m.space.child" and event.get("sender") == me and sequence(mapping(event.get("content")).get("via"))
    }


def _replaced(found: Sequence[Binding], states: Mapping[str, _State]) -> set[str]:
    """Rooms whose conversation goes on in the room that they were replaced by."""
    by_room = {_room(one): one for one in found}
    gone = set()
    for room_id, binding in by_room.items():
        target = mapping(states[room_id].get(("m.room.tombstone", ""), {}).get("content")).get("replacement_room")
        there = by_room.get(target) if isinstance(target, str) and target != room_id else None
        if there is not None and (there.number, there.context) == (binding.number, binding.context):
            gone.add(room_id)
    return gone


def _listed(spaces: Sequence[Space], states: Mapping[str, _State], skipped: dict[str, Reason]) -> list[_Lost]:
    """The rooms without a word to be believed that Spaces list, oldest first."""
    owners: dict[str, set[str]] = {}
    orders: dict[str, str] = {}
    for space in spaces:
        for child in space.children:
            owners.setdefault(child, set()).add(space.owner)
            orders.setdefault(child, space.orders.get(child, ""))
    lost = []
    for child, whose in owners.items():
        if skipped.get(child) not in _UNREADABLE:
            continue
        if len(whose) > 1:
            skipped[child] = "two_owners"
            continue
        state, (owner,) = states[child], whose
        created_at = seconds(state.get(("m.room.create", ""), {}).get("origin_server_ts")) or 0.0
        name = name_of(state)
        lost.append(_Lost(child, owner, number_of(orders[child], name), created_at, name))
    return sorted(lost, key=lambda one: (one.created_at, one.room))


def _recovered(
    surface: str, listed: Sequence[_Lost], found: Sequence[Binding], skipped: dict[str, Reason]
) -> list[Binding]:
    """Bindings without agent and context for rooms that Spaces list; each number once."""
    taken = {(one.owner, one.number) for one in found}
    recovered = []
    for lost in listed:
        if lost.number is None:
            skipped[lost.room] = "no_number"
        elif (lost.owner, lost.number) in taken:
            skipped[lost.room] = "number_taken"
        else:
            taken.add((lost.owner, lost.number))
            del skipped[lost.room]
            recovered.append(
                Binding(
                    address=Address(surface=surface, conversation=lost.room),
                    owner=lost.owner,
                    number=lost.number,
                    name=lost.name or f"C{lost.number}",
                    agent="",
                    context="",
                    created_at=lost.created_at,
                )
            )
    return recovered
