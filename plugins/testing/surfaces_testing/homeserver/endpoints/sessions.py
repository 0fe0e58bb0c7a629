"""Versions, logins, profiles and a user's own data."""

from __future__ import annotations

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.errors import MatrixError, bad_json, forbidden, invalid, not_found
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.filters import Filter
from surfaces_testing.homeserver.world import World

VERSIONS = ["r0.6.1", *(f"v1.{minor}" for minor in range(1, 13))]


async def versions(world: World, call: Call) -> Json:
    """GET /versions."""
    return {"versions": VERSIONS, "unstable_features": {}}


async def login_flows(world: World, call: Call) -> Json:
    """GET /login."""
    return {"flows": [{"type": "m.login.password"}]}


async def log_in(world: World, call: Call) -> Json:
    """POST /login."""
    body = call.json()
    if body.get("type") != "m.login.password":
        raise MatrixError(400, "M_UNKNOWN", f"Unknown login type {body.get('type')}")
    identifier = body.get("identifier") or {}
    name = identifier.get("user") or body.get("user")
    if not isinstance(name, str):
        raise bad_json("missing user")
    user_id = name if name.startswith("@") else f"@{name}:{world.server_name}"
    user = world.users.get(user_id)
    if user is None or user.password != body.get("password"):
        raise forbidden("Invalid username or password")
    device = world.log_in(user, body.get("device_id"))
    return {
        "user_id": user_id,
        "access_token": device.token,
        "device_id": device.device_id,
        "home_server": world.server_name,
    }


async def log_out(world: World, call: Call) -> Json:
    """POST /logout."""
    del world.devices[call.caller.token]
    return {}


async def whoami(world: World, call: Call) -> Json:
    """GET /account/whoami."""
    return {"user_id": call.user_id, "is_guest": False, "device_id": call.caller.device_id}


async def profile(world: World, call: Call) -> Json:
    """GET /profile/{userId}."""
    return _profile(world, call)


async def profile_field(world: World, call: Call) -> Json:
    """GET /profile/{userId}/{field}."""
    field = call.args[1]
    known = _profile(world, call)
    return {field: known[field]} if field in known else {}


async def set_profile_field(world: World, call: Call) -> Json:
    """PUT /profile/{userId}/{field}."""
    user_id, field = call.args
    if user_id != call.user_id:
        raise MatrixError(400, "M_FORBIDDEN", "Cannot set another user's displayname")
    value = call.json().get(field)
    user = world.user(user_id)
    if field == "avatar_url":
        user.avatar_url = value
    world.rename(user, str(value) if field == "displayname" else user.display_name)
    return {}


async def add_filter(world: World, call: Call) -> Json:
    """POST /user/{userId}/filter."""
    raw = call.json()
    Filter.read(raw)
    filters = world.user(_own(call)).filters
    filters.append(raw)
    return {"filter_id": str(len(filters) - 1)}


async def get_filter(world: World, call: Call) -> Json:
    """GET /user/{userId}/filter/{filterId}."""
    if call.args[0] not in world.users:
        raise invalid("Invalid user id")
    filters = world.user(_own(call)).filters
    if not call.args[1].isdecimal() or int(call.args[1]) >= len(filters):
        raise not_found("No such filter")
    return filters[int(call.args[1])]


async def get_account_data(world: World, call: Call) -> Json:
    """GET /user/{userId}[/rooms/{roomId}]/account_data/{type}."""
    _, room_id, kind = _account_data(call)
    found = world.user(_own(call)).account_data.get((room_id, kind))
    if found is None:
        raise not_found("Account data not found")
    return found[1]


async def set_account_data(world: World, call: Call) -> Json:
    """PUT /user/{userId}[/rooms/{roomId}]/account_data/{type}."""
    _, room_id, kind = _account_data(call)
    world.set_account_data(world.user(_own(call)), room_id, kind, call.json())
    return {}


def _account_data(call: Call) -> tuple[str, str, str]:
    return (call.args[0], "", call.args[1]) if len(call.args) == 2 else (call.args[0], call.args[1], call.args[2])


def _profile(world: World, call: Call) -> Json:
    if call.args[0] not in world.users:
        raise MatrixError(404, "M_UNKNOWN", "Profile was not found")
    return world.users[call.args[0]].profile


def _own(call: Call) -> str:
    if call.args[0] != call.user_id:
        raise forbidden("Cannot do this for other users")
    return call.user_id


_V3 = "/_matrix/client/v3"

ROUTES = (
    Route(name="versions", method="GET", path="/_matrix/client/versions", handler=versions, open=True),
    Route(name="login_flows", method="GET", path=f"{_V3}/login", handler=login_flows, open=True),
    Route(name="login", method="POST", path=f"{_V3}/login", handler=log_in, open=True),
    Route(name="logout", method="POST", path=f"{_V3}/logout", handler=log_out),
    Route(name="whoami", method="GET", path=f"{_V3}/account/whoami", handler=whoami),
    Route(name="profile", method="GET", path=f"{_V3}/profile/*", handler=profile, open=True),
    Route(name="profile", method="GET", path=f"{_V3}/profile/*/*", handler=profile_field, open=True),
    Route(name="profile.put", method="PUT", path=f"{_V3}/profile/*/*", handler=set_profile_field),
    Route(name="filter.post", method="POST", path=f"{_V3}/user/*/filter", handler=add_filter),
    Route(name="filter", method="GET", path=f"{_V3}/user/*/filter/*", handler=get_filter),
    Route(name="account_data", method="GET", path=f"{_V3}/user/*/account_data/*", handler=get_account_data),
    Route(name="account_data.put", method="PUT", path=f"{_V3}/user/*/account_data/*", handler=set_account_data),
    Route(name="account_data", method="GET", path=f"{_V3}/user/*/rooms/*/account_data/*", handler=get_account_data),
    Route(name="account_data.put", method="PUT", path=f"{_V3}/user/*/rooms/*/account_data/*", handler=set_account_data),
)
