"""Sending, redacting, state, typing and receipts."""

from __future__ import annotations

from surfaces_testing.homeserver.call import Call, Route
from surfaces_testing.homeserver.endpoints.membership import joined_room
from surfaces_testing.homeserver.errors import MatrixError, not_found
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.world import World


async def send(world: World, call: Call) -> Json:
    """PUT /rooms/{roomId}/send/{eventType}/{txnId}."""
    _, kind, txn = call.args
    event = world.send(joined_room(world, call), call.user_id, kind, call.json(), origin=call.origin(txn))
    return {"event_id": event.event_id}


async def redact(world: World, call: Call) -> Json:
    """PUT /rooms/{roomId}/redact/{eventId}/{txnId}."""
    _, target, txn = call.args
    reason = call.json().get("reason")
    event = world.redact(joined_room(world, call), call.user_id, target, reason, call.origin(txn))
    return {"event_id": event.event_id}


async def state(world: World, call: Call) -> list[Json]:
    """GET /rooms/{roomId}/state."""
    return [event.client(full=True) for event in joined_room(world, call).state.values()]


async def state_event(world: World, call: Call) -> Json:
    """GET /rooms/{roomId}/state/{eventType}[/{stateKey}]; `format=event` gives all of it."""
    kind, key = _state_key(call)
    event = joined_room(world, call).state.get((kind, key))
    if event is None:
        raise not_found("Event not found.")
    if call.query.get("format") != "event":
        return dict(event.content)
    whole = event.client() | {"room_id": event.room_id}
    # Synapse says less here than elsewhere.
    whole["unsigned"] = {key: whole["unsigned"][key] for key in ("age", "replaces_state") if key in whole["unsigned"]}
    return whole


async def put_state(world: World, call: Call) -> Json:
    """PUT /rooms/{roomId}/state/{eventType}[/{stateKey}]."""
    kind, key = _state_key(call)
    event = world.send(joined_room(world, call), call.user_id, kind, call.json(), state_key=key)
    return {"event_id": event.event_id}


async def typing(world: World, call: Call) -> Json:
    """PUT /rooms/{roomId}/typing/{userId}."""
    room, body = joined_room(world, call), call.json()
    if call.args[1] != call.user_id:
        raise MatrixError(400, "M_FORBIDDEN", "Cannot set another user's typing state")
    world.typing(room, call.user_id, min(body.get("timeout", 30_000), 120_000) / 1000 if body.get("typing") else None)
    return {}


async def receipt(world: World, call: Call) -> Json:
    """POST /rooms/{roomId}/receipt/{receiptType}/{eventId}."""
    _, kind, event_id = call.args
    room = joined_room(world, call)
    if kind == "m.read":
        world.read(room, call.user_id, event_id)
    return {}


def _state_key(call: Call) -> tuple[str, str]:
    return call.args[1], call.args[2] if len(call.args) == 3 else ""


_ROOMS = "/_matrix/client/v3/rooms/*"

ROUTES = (
    Route(name="send", method="PUT", path=f"{_ROOMS}/send/*/*", handler=send),
    Route(name="redact", method="PUT", path=f"{_ROOMS}/redact/*/*", handler=redact),
    Route(name="state", method="GET", path=f"{_ROOMS}/state", handler=state),
    Route(name="state.get", method="GET", path=f"{_ROOMS}/state/*", handler=state_event),
    Route(name="state.get", method="GET", path=f"{_ROOMS}/state/*/*", handler=state_event),
    Route(name="state.put", method="PUT", path=f"{_ROOMS}/state/*", handler=put_state),
    Route(name="state.put", method="PUT", path=f"{_ROOMS}/state/*/*", handler=put_state),
    Route(name="typing", method="PUT", path=f"{_ROOMS}/typing/*", handler=typing),
    Route(name="receipt", method="POST", path=f"{_ROOMS}/receipt/*/*", handler=receipt),
)
