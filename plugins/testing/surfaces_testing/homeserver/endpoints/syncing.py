"""GET /sync: answers at once when there is something, else when there is or the time is up."""

from __future__ import annotations

import asyncio

import orjson

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.errors import MatrixError, invalid, not_json, unknown_token
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.filters import Filter
from surfaces_testing.homeserver.sync import Sync
from surfaces_testing.homeserver.world import World


async def sync(world: World, call: Call) -> Json:
    """GET /sync."""
    chosen = _filter(world, call)
    since = position(world, call.query.get("since"))
    full = call.query.get("full_state", "").lower() == "true"
    waits_s = 0.0 if full or since is None else _milliseconds(call.query.get("timeout", "0")) / 1000
    try:
        async with asyncio.timeout(waits_s):
            return await _next(world, call, chosen, since, full=full, patient=waits_s > 0)
    except TimeoutError:
        return Sync(world, call.caller, chosen, since, full_state=full).build()[0]


async def _next(world: World, call: Call, chosen: Filter, since: int | None, *, full: bool, patient: bool) -> Json:
    changes = world.users[call.user_id].changes
    while True:
        answer, anything = Sync(world, call.caller, chosen, since, full_state=full).build()
        if anything or not patient:
            return answer
        await changes.wait()
        if call.caller.token not in world.devices:
            raise unknown_token()


def position(world: World, token: str | None) -> int | None:
    """The position of a token, which is its first number. One ahead of the stream counts as now, as on Synapse.

    Raises `M_UNKNOWN` for what is no token of this server.
    """
    if token is None:
        return None
    number = token[1:].partition("_")[0]
    if token[:1] not in ("s", "t") or not number.isdecimal():
        raise MatrixError(400, "M_UNKNOWN", "Invalid stream token")
    return min(int(number), world.pos)


def _filter(world: World, call: Call) -> Filter:
    asked = call.query.get("filter", "{}")
    if not asked.startswith("{"):
        filters = world.users[call.user_id].filters
        if not asked.isdecimal() or int(asked) >= len(filters):
            raise MatrixError(400, "M_INVALID_PARAM", "No such filter")
        return Filter.read(filters[int(asked)])
    try:
        return Filter.read(orjson.loads(asked))
    except orjson.JSONDecodeError:
        raise not_json() from None


def _milliseconds(text: str) -> int:
    if not text.isdecimal():
        raise invalid("Query parameter 'timeout' must be an integer")
    return int(text)


ROUTES = (Route(name="sync", method="GET", path="/_matrix/client/v3/sync", handler=sync),)
