"""Making rooms, and who is in them."""

from __future__ import annotations

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.creation import create_room
from surfaces_testing.homeserver.errors import MatrixError, bad_json, forbidden, not_found, not_joined
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.room import Room
from surfaces_testing.homeserver.world import World


async def create(world: World, call: Call) -> Json:
    """POST /createRoom."""
    return {"room_id": create_room(world, call.user_id, call.json()).room_id}


async def join(world: World, call: Call) -> Json:
    """POST /join/{roomIdOrAlias} and /rooms/{roomId}/join."""
    named = call.args[0]
    if named.startswith("#"):
        if named not in world.aliases:
            raise not_found(f"Room alias {named} not found")
        named = world.aliases[named]
    if named not in world.rooms:
        raise MatrixError(
            404, "M_UNKNOWN", "Can't join remote room because no servers that are in the room have been provided."
        )
    room = world.rooms[named]
    if room.membership(call.user_id) != "join":
        world.member(room, call.user_id, call.user_id, "join")
    return {"room_id": room.room_id}


async def leave(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/leave."""
    room = _known(world, call)
    if room.membership(call.user_id) != "leave":
        world.member(room, call.user_id, call.user_id, "leave", **_reason(call))
    return {}


async def invite(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/invite."""
    world.member(_known(world, call), call.user_id, _target(call), "invite", **_reason(call))
    return {}


async def kick(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/kick."""
    room, target = _known(world, call), _target(call)
    if room.membership(target) not in ("join", "invite"):
        raise forbidden(f"The target user is not in the room {target}")
    world.member(room, call.user_id, target, "leave", **_reason(call))
    return {}


async def ban(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/ban."""
    world.member(_known(world, call), call.user_id, _target(call), "ban", **_reason(call))
    return {}


async def unban(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/unban."""
    world.member(_known(world, call), call.user_id, _target(call), "leave", **_reason(call))
    return {}


async def forget(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/forget."""
    room = _known(world, call)
    if room.membership(call.user_id) in ("join", "invite"):
        raise MatrixError(400, "M_UNKNOWN", f"User {call.user_id} is in room {room.room_id}")
    room.forgotten.add(call.user_id)
    return {}


async def joined_rooms(world: World, call: Call) -> Json:
    """GET /joined_rooms."""
    mine = world.users[call.user_id].rooms
    return {"joined_rooms": [room for room in mine if world.rooms[room].membership(call.user_id) == "join"]}


async def joined_members(world: World, call: Call) -> Json:
    """GET /rooms/{roomId}/joined_members."""
    room = joined_room(world, call)
    members = {}
    for user_id in room.joined():
        content = room.content("m.room.member", user_id)
        members[user_id] = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
    return {"joined": members}


async def members(world: World, call: Call) -> Json:
    """GET /rooms/{roomId}/members."""
    room = joined_room(world, call)
    wanted, unwanted = call.query.get("membership"), call.query.get("not_membership")
    chunk = [
        event.client(full=True)
        for (kind, _), event in room.state.items()
        if kind == "m.room.member"
        and wanted in (None, event.content["membership"])
        and event.content["membership"] != unwanted
    ]
    return {"chunk": chunk}


def joined_room(world: World, call: Call) -> Room:
    """The room that the path names first. Raises 403 unless the caller is in it."""
    room = _known(world, call)
    if room.membership(call.user_id) != "join":
        raise not_joined(call.user_id, room.room_id)
    return room


def _known(world: World, call: Call) -> Room:
    """Synapse tells nobody whether a room exists that they are not in."""
    room = world.rooms.get(call.args[0])
    if room is None:
        raise not_joined(call.user_id, call.args[0])
    return room


def _target(call: Call) -> str:
    target = call.json().get("user_id")
    if not isinstance(target, str):
        raise MatrixError(400, "M_MISSING_PARAM", "Missing params: ['user_id']")
    if not target.startswith("@") or ":" not in target:
        raise bad_json(f"{target} is not a user id")
    return target


def _reason(call: Call) -> dict[str, str]:
    reason = call.json().get("reason")
    return {"reason": reason} if isinstance(reason, str) else {}


_ROOMS = "/_matrix/client/v3/rooms/*"

ROUTES = (
    Route(name="createRoom", method="POST", path="/_matrix/client/v3/createRoom", handler=create),
    Route(name="join", method="POST", path="/_matrix/client/v3/join/*", handler=join),
    Route(name="join", method="POST", path=f"{_ROOMS}/join", handler=join),
    Route(name="leave", method="POST", path=f"{_ROOMS}/leave", handler=leave),
    Route(name="invite", method="POST", path=f"{_ROOMS}/invite", handler=invite),
    Route(name="kick", method="POST", path=f"{_ROOMS}/kick", handler=kick),
    Route(name="ban", method="POST", path=f"{_ROOMS}/ban", handler=ban),
    Route(name="unban", method="POST", path=f"{_ROOMS}/unban", handler=unban),
    Route(name="forget", method="POST", path=f"{_ROOMS}/forget", handler=forget),
    Route(name="joined_rooms", method="GET", path="/_matrix/client/v3/joined_rooms", handler=joined_rooms),
    Route(name="joined_members", method="GET", path=f"{_ROOMS}/joined_members", handler=joined_members),
    Route(name="members", method="GET", path=f"{_ROOMS}/members", handler=members),
)
