"""Reading what was said before."""

from __future__ import annotations

import orjson

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.endpoints.membership import joined_room
from surfaces_testing.homeserver.endpoints.syncing import position
from surfaces_testing.homeserver.errors import invalid, not_found
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.filters import Part
from surfaces_testing.homeserver.sync import visible
from surfaces_testing.homeserver.world import World

MAX_MESSAGES = 1000


async def messages(world: World, call: Call) -> Json:
    """GET /rooms/{roomId}/messages; a token stands between two events."""
    room = joined_room(world, call)
    back = _direction(call) == "b"
    start = position(world, call.query.get("from"))
    start = (world.pos if back else 0) if start is None else start
    end = position(world, call.query.get("to"))
    end = (0 if back else world.pos) if end is None else end
    span = room.between(end, start) if back else room.between(start, end)
    part = Part.read(orjson.loads(call.query.get("filter", "{}")))
    seen = [e for e in span if part.lets(e.type, e.sender) and visible(room, e, call.user_id)]
    if back:
        seen.reverse()
    chunk = seen[: min(int(call.query.get("limit", 10)), MAX_MESSAGES)]
    answer: Json = {"start": f"t{start}", "chunk": [room.client(event, call.caller, full=True) for event in chunk]}
    if chunk:
        answer["end"] = f"t{chunk[-1].pos - 1 if back else chunk[-1].pos}"
    return answer


async def event(world: World, call: Call) -> Json:
    """GET /rooms/{roomId}/event/{eventId}."""
    room = joined_room(world, call)
    found = room.event(call.args[1])
    if found is None:
        raise not_found("Event not found.")
    return room.client(found, call.caller, full=True)


def _direction(call: Call) -> str:
    direction = call.query.get("dir", "f")
    if direction not in ("b", "f"):
        raise invalid("Query parameter 'dir' must be one of ['b', 'f']")
    return direction


ROUTES = (
    Route(name="messages", method="GET", path="/_matrix/client/v3/rooms/*/messages", handler=messages),
    Route(name="event", method="GET", path="/_matrix/client/v3/rooms/*/event/*", handler=event),
)
