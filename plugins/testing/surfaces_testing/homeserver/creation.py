"""Making rooms (Matrix client-server API, `/createRoom`), in Synapse's order of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from surfaces_testing.homeserver.errors import MatrixError, bad_json, invalid
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.room import Room
from surfaces_testing.homeserver.world import World

ROOM_VERSIONS = ("11", "12")

_PRESETS: dict[str, Json] = {
    "private_chat": {"join_rule": "invite", "levels": {"invite": 0}, "guests": True},
    "trusted_private_chat": {"join_rule": "invite", "levels": {"invite": 0}, "guests": True},
    "public_chat": {"join_rule": "public", "levels": {"events": {"m.call.invite": 50}}, "guests": False},
}


def create_room(world: World, creator: str, config: Json) -> Room:
    """Make a room as asked. Raises `MatrixError`; a refused one leaves nothing behind."""
    version, preset, alias = _checked(world, creator, config)
    room = _new_room(world, creator, config, version)
    if alias is not None:
        world.set_alias(alias, room.room_id)
    world.member(room, creator, creator, "join")
    for kind, state_key, content in _first_state(world, creator, config, room, preset, alias):
        world.send(room, creator, kind, content, state_key=state_key)
    direct = {"is_direct": True} if config.get("is_direct") else {}
    for invitee in config.get("invite", ()):
        world.member(room, creator, invitee, "invite", **direct)
    return room


def _checked(world: World, creator: str, config: Json) -> tuple[str, str, str | None]:
    version = config.get("room_version", world.room_version)
    if version not in ROOM_VERSIONS:
        raise MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "Your homeserver does not support this room version")
    preset = config.get("preset") or ("public_chat" if config.get("visibility") == "public" else "private_chat")
    if preset not in _PRESETS:
        raise bad_json(f"'{preset}' is not a valid preset")
    levels = config.get("power_level_content_override") or {}
    if version != "12" and "users" in levels and creator not in levels["users"]:
        raise MatrixError(400, "M_UNKNOWN", f"'users' did not contain {creator}")
    return version, preset, _alias(world, config)


def _alias(world: World, config: Json) -> str | None:
    name = config.get("room_alias_name")
    if name is None:
        return None
    if ":" in name or any(letter.isspace() for letter in name):
        raise invalid("Invalid characters in room alias")
    alias = f"#{name}:{world.server_name}"
    if alias in world.aliases:
        raise MatrixError(400, "M_ROOM_IN_USE", "Room alias already taken")
    return alias


def _new_room(world: World, creator: str, config: Json, version: str) -> Room:
    content: Json = {**config.get("creation_content", {}), "room_version": version}
    if version == "12" and config.get("preset") == "trusted_private_chat" and config.get("invite"):
        content["additional_creators"] = sorted({*content.get("additional_creators", ()), *config["invite"]})
    room = Room(world.new_room_id(version), version)
    world.rooms[room.room_id] = room
    # From version 12 on a room is named by the hash of its first event.
    event_id = "$" + room.room_id[1:] if version == "12" else None
    world.add(room, creator, "m.room.create", content, state_key="", event_id=event_id)
    return room


def _first_state(
    world: World, creator: str, config: Json, room: Room, preset: str, alias: str | None
) -> Iterator[tuple[str, str, Json]]:
    initial = {
        (event["type"], event.get("state_key", "")): event["content"] for event in config.get("initial_state", ())
    }
    levels = initial.pop(("m.room.power_levels", ""), None)
    yield "m.room.power_levels", "", levels or _power_levels(creator, config, room, preset)
    if alias is not None and ("m.room.canonical_alias", "") not in initial:
        yield "m.room.canonical_alias", "", {"alias": alias}
    if ("m.room.join_rules", "") not in initial:
        yield "m.room.join_rules", "", {"join_rule": _PRESETS[preset]["join_rule"]}
    if ("m.room.history_visibility", "") not in initial:
        yield "m.room.history_visibility", "", {"history_visibility": "shared"}
    if _PRESETS[preset]["guests"] and ("m.room.guest_access", "") not in initial:
        yield "m.room.guest_access", "", {"guest_access": "can_join"}
    for (kind, state_key), content in initial.items():
        yield kind, state_key, content
    if "name" in config:
        yield "m.room.name", "", {"name": config["name"]}
    if "topic" in config:
        topic = config["topic"]
        yield "m.room.topic", "", {"topic": topic, "m.topic": {"m.text": [{"body": topic}]}}


def _power_levels(creator: str, config: Json, room: Room, preset: str) -> Json:
    twelve = room.version == "12"
    users: dict[str, Any] = {} if twelve else {creator: 100}
    if preset == "trusted_private_chat" and not twelve:
        users |= dict.fromkeys(config.get("invite", ()), 100)
    levels: Json = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            "m.room.tombstone": 150 if twelve else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50,
        "historical": 100,
    }
    ours = _PRESETS[preset]["levels"]
    events = {**levels["events"], **ours.get("events", {})}
    return {**levels, **ours, "events": events, **(config.get("power_level_content_override") or {})}
