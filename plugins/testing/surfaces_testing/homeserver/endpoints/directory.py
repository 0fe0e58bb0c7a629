"""Names of rooms."""

from __future__ import annotations

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.errors import MatrixError, forbidden, not_found
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.world import World


async def resolve(world: World, call: Call) -> Json:
    """GET /directory/room/{roomAlias}."""
    room_id = world.aliases.get(call.args[0])
    if room_id is None:
        raise not_found(f"Room alias {call.args[0]} not found")
    return {"room_id": room_id, "servers": [world.server_name]}


async def name(world: World, call: Call) -> Json:
    """PUT /directory/room/{roomAlias}."""
    room_id = call.json().get("room_id")
    if room_id not in world.rooms:
        raise MatrixError(400, "M_UNKNOWN", "Room does not exist")
    world.set_alias(call.args[0], room_id)
    return {}


async def unname(world: World, call: Call) -> Json:
    """DELETE /directory/room/{roomAlias}."""
    room_id = world.aliases.get(call.args[0])
    if room_id is None:
        raise not_found(f"Unknown room alias {call.args[0]}")
    if world.rooms[room_id].power(call.user_id) < 50:
        raise forbidden("You don't have permission to delete the alias.")
    del world.aliases[call.args[0]]
    return {}


_PATH = "/_matrix/client/v3/directory/room/*"

ROUTES = (
    Route(name="alias", method="GET", path=_PATH, handler=resolve, open=True),
    Route(name="alias.put", method="PUT", path=_PATH, handler=name),
    Route(name="alias.delete", method="DELETE", path=_PATH, handler=unname),
)
