"""Who may do what in a room: the part of Matrix's authorization rules that clients meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from surfaces_testing.homeserver.errors import MatrixError, bad_json, forbidden, not_joined
from surfaces_testing.homeserver.room import Room

_LEVELS = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}


def may_send(room: Room, sender: str, kind: str, state_key: str | None, content: dict[str, Any]) -> None:
    """Refuse what is not allowed with a `MatrixError`; returns quietly otherwise."""
    if kind == "m.room.member" and state_key is not None:
        may_change_membership(room, sender, state_key, content)
        return
    if room.membership(sender) != "join":
        raise not_joined(sender, room.room_id)
    if room.power(sender) < room.needed(kind, state=state_key is not None):
        raise forbidden("You don't have permission to post that to the room.")
    if state_key is not None and state_key.startswith("@") and state_key != sender:
        raise forbidden("You are not allowed to set others state")
    if kind == "m.room.message" and not all(isinstance(content.get(part), str) for part in ("msgtype", "body")):
        raise MatrixError(400, "M_UNKNOWN", "'msgtype' or 'body' not in content")
    if kind == "m.room.power_levels":
        _may_set_levels(room, sender, content)


def may_change_membership(room: Room, sender: str, target: str, content: dict[str, Any]) -> None:
    """Matrix specification, room version 11, "Authorization rules", rule 4."""
    membership = content.get("membership")
    match membership:
        case "join":
            _may_join(room, sender, target)
        case "invite":
            _may_invite(room, sender, target)
        case "leave" if sender == target:
            _may_leave(room, sender)
        case "leave" | "ban":
            _may_remove(room, sender, target, str(membership))
        case _:
            raise bad_json("unknown membership")


def may_redact(room: Room, sender: str, author: str) -> None:
    """One's own events, or with the power for others'."""
    if room.membership(sender) != "join":
        raise not_joined(sender, room.room_id)
    if sender != author and room.power(sender) < int(room.content("m.room.power_levels").get("redact", 50)):
        raise forbidden("You don't have permission to redact events")


def _may_join(room: Room, sender: str, target: str) -> None:
    if sender != target:
        raise forbidden("Cannot force another user to join.")
    now = room.membership(target)
    if now == "ban":
        raise forbidden(f"{target} is banned from the room.")
    first_join = target == room.create.sender and not now
    public = room.content("m.room.join_rules").get("join_rule", "invite") == "public"
    if now not in ("join", "invite") and not first_join and not public:
        raise forbidden("You are not invited to this room.")


def _may_invite(room: Room, sender: str, target: str) -> None:
    if room.membership(sender) != "join":
        raise not_joined(sender, room.room_id)
    if room.membership(target) == "join":
        raise forbidden(f"{target} is already in the room.")
    if room.membership(target) == "ban":
        raise MatrixError(403, "M_BAD_STATE", f"{target} is banned from the room")
    _powerful(room, sender, "invite", 0)


def _may_leave(room: Room, sender: str) -> None:
    if room.membership(sender) not in ("join", "invite"):
        raise not_joined(sender, room.room_id)


def _may_remove(room: Room, sender: str, target: str, membership: str) -> None:
    if room.membership(sender) != "join":
        raise not_joined(sender, room.room_id)
    _powerful(room, sender, "ban" if "ban" in (membership, room.membership(target)) else "kick", 50)
    if room.power(target) >= room.power(sender):
        raise forbidden(f"You cannot remove user {target}.")


def _powerful(room: Room, sender: str, act: str, default: int) -> None:
    if room.power(sender) < int(room.content("m.room.power_levels").get(act, default)):
        raise forbidden(f"You don't have permission to {act} people")


def _may_set_levels(room: Room, sender: str, content: dict[str, Any]) -> None:
    """Nobody raises anything above themselves or lowers what is above them (rule 9 there)."""
    users = content.get("users", {})
    if set(users) & room.creators:
        raise MatrixError(400, "M_UNKNOWN", "Creators must not stand in the power levels.")
    old, mine = room.content("m.room.power_levels"), room.power(sender)
    for before, after in _changes(old, content):
        if max(before, after) > mine:
            raise forbidden("You don't have permission to add ops level greater than your own")
    for user_id, before in old.get("users", {}).items():
        if user_id != sender and users.get(user_id) != before and before >= mine:
            raise forbidden("You don't have permission to remove ops level equal to your own")


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Levels that differ, before and after; one that is not named counts as its default."""
    for name, default in _LEVELS.items():
        yield from _change(old.get(name, default), new.get(name, default))
    for group in ("users", "events"):
        before, after = old.get(group, {}), new.get(group, {})
        for name in {*before, *after}:
            yield from _change(before.get(name, 0), after.get(name, 0))


def _change(before: int, after: int) -> Iterator[tuple[int, int]]:
    if before != after:
        yield before, after
