"""The door for other processes: `POST /_test/<verb>` with JSON, answered with JSON.

It is open at the homeserver's own address, and at one of its own, for when the other refuses.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from surfaces_testing.homeserver import faults
from surfaces_testing.homeserver.call import Call, Route, Routes
from surfaces_testing.homeserver.errors import invalid
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.person import Person
from surfaces_testing.homeserver.world import World

if TYPE_CHECKING:
    from surfaces_testing.homeserver.server import FakeHomeserver

_FAULTS: Mapping[str, Callable[..., faults.Fault]] = {
    "limited": faults.limited,
    "status": faults.Status,
    "revoked": faults.revoked,
    "unknown_since": faults.unknown_since,
    "html": faults.Html,
    "lost": faults.Lost,
    "dropped": faults.Dropped,
    "reset": faults.Reset,
    "truncated": faults.Truncated,
    "mutated": faults.Mutated,
    "scrambled": faults.scrambled,
    "nothing": faults.Nothing,
    "restless": faults.Restless,
    "missing_next_batch": faults.missing_next_batch,
    "huge": faults.huge,
    "slow": faults.Slow,
    "slow_head": faults.SlowHead,
    "endless": faults.Endless,
    "wrong_length": faults.WrongLength,
}

_ACTS = frozenset(
    {
        "create_room", "create_dm", "invite", "join", "leave", "kick", "ban", "set_state", "send", "say", "reply",
        "edit", "redact", "react", "send_file", "type",
    }
)  # fmt: skip


class Control:
    """Makes of each verb one call on the homeserver."""

    def __init__(self, homeserver: FakeHomeserver) -> None:
        self._hs = homeserver
        self._stalled: dict[str, asyncio.Event] = {}

    @property
    def routes(self) -> Routes:
        """All verbs."""
        verbs = (
            self.register, self.act, self.say_many, self.shown, self.members, self.state, self.rooms, self.requests,
            self.wait, self.fault, self.always, self.chance, self.stall, self.release, self.clear, self.revoke,
            self.forget_transactions, self.position, self.roll_back, self.refuse, self.accept,
        )  # fmt: skip
        return Routes(
            *(
                Route(
                    name=f"_test.{verb.__name__}",
                    method="POST",
                    path=f"/_test/{verb.__name__}",
                    handler=verb,
                    open=True,
                )
                for verb in verbs
            )
        )

    async def register(self, world: World, call: Call) -> Json:
        """`{user_id, password?, display_name?}`: an account that can log in."""
        user = self._hs.register(**call.json())
        return {"user_id": user.user_id}

    async def act(self, world: World, call: Call) -> Json:
        """`{user_id, act, args, kwargs?}`: a method of `Person`; a file's bytes come as base64."""
        body = call.json()
        if body["act"] not in _ACTS:
            raise invalid("no such act")
        args: list[Any] = list(body.get("args", ()))
        if body["act"] == "send_file":
            args[2] = base64.b64decode(args[2])
        person = Person(world, world.user(body["user_id"]))
        return {"result": getattr(person, body["act"])(*args, **body.get("kwargs", {}))}

    async def say_many(self, world: World, call: Call) -> Json:
        """`{messages: [[user_id, room_id, text], …]}`: all at one instant."""
        return {"event_ids": self._hs.say_many(tuple(message) for message in call.json()["messages"])}

    async def shown(self, world: World, call: Call) -> Json:
        """`{room_id}`: what a client shows now."""
        return {"shown": [asdict(message) for message in self._hs.shown(call.json()["room_id"])]}

    async def members(self, world: World, call: Call) -> Json:
        """`{room_id}`: user id to membership."""
        return {"members": self._hs.members(call.json()["room_id"])}

    async def state(self, world: World, call: Call) -> Json:
        """`{room_id}`: a list of `[type, state_key, content]`."""
        return {"state": [[*key, content] for key, content in self._hs.state(call.json()["room_id"]).items()]}

    async def rooms(self, world: World, call: Call) -> Json:
        """All room ids, in the order they were made."""
        return {"rooms": list(world.rooms)}

    async def requests(self, world: World, call: Call) -> Json:
        """`{after?}`: what was asked, from that place in the record on."""
        return {"requests": [asdict(request) for request in self._hs.requests[call.json().get("after", 0) :]]}

    async def wait(self, world: World, call: Call) -> Json:
        """`{sender, count, type?, timeout_s?}`: until somebody sent that many events, or the time is up."""
        body = call.json()
        key = body["sender"], body.get("type", "m.room.message")
        try:
            await self._hs.until(lambda: world.sent[key] >= body["count"], body.get("timeout_s", 10.0))
        except TimeoutError:
            return {"count": world.sent[key], "reached": False}
        return {"count": world.sent[key], "reached": True}

    async def fault(self, world: World, call: Call) -> Json:
        """`{route, faults: [{kind, …} or null, …], times?}`: the next requests meet these.

        `{kind: "repeated", room_id, event_id}` is one, too.
        """
        body = call.json()
        script = [None if raw is None else _fault(raw, world) for raw in body["faults"]]
        self._hs.faults.script(body["route"], script * body.get("times", 1))
        return {}

    async def always(self, world: World, call: Call) -> Json:
        """`{route, fault: {kind, …}}`: every request meets this."""
        body = call.json()
        self._hs.faults.always(body["route"], _fault(body["fault"], world))
        return {}

    async def chance(self, world: World, call: Call) -> Json:
        """`{seed, rate, routes?}`: a share of all requests goes wrong."""
        body = call.json()
        self._hs.faults.random(body["seed"], body["rate"], routes=body.get("routes", ()))
        return {}

    async def stall(self, world: World, call: Call) -> Json:
        """`{route, times?}`: the next requests are done, and answered only after `release`."""
        body = call.json()
        release = self._stalled.setdefault(body["route"], asyncio.Event())
        self._hs.faults.script(body["route"], [faults.Stall(release=release)] * body.get("times", 1))
        return {}

    async def release(self, world: World, call: Call) -> Json:
        """`{route}`: answer what `stall` holds back."""
        held = self._stalled.pop(call.json()["route"], None)
        if held is not None:
            held.set()
        return {}

    async def clear(self, world: World, call: Call) -> Json:
        """`{route?}`: all is well again."""
        self._hs.faults.clear(call.json().get("route"))
        return {}

    async def revoke(self, world: World, call: Call) -> Json:
        """`{user_id}`: end all logins of somebody."""
        self._hs.revoke(call.json()["user_id"])
        return {}

    async def forget_transactions(self, world: World, call: Call) -> Json:
        """`{device_id?}`: a repeat of what was sent until now counts as new."""
        self._hs.forget_transactions(call.json().get("device_id"))
        return {}

    async def position(self, world: World, call: Call) -> Json:
        """Where the stream of everything is now, for `roll_back`."""
        return {"position": world.pos}

    async def roll_back(self, world: World, call: Call) -> Json:
        """`{position}`: forget everything after it, like a server restored from a backup."""
        self._hs.roll_back(call.json()["position"])
        return {}

    async def refuse(self, world: World, call: Call) -> Json:
        """Cut all connections and refuse new ones until `accept`; ask for both at the door's own address."""
        await self._hs.refuse()
        return {}

    async def accept(self, world: World, call: Call) -> Json:
        """Listen again, at the same port."""
        await self._hs.accept()
        return {}


def _fault(raw: Json, world: World) -> faults.Fault:
    options = dict(raw)
    kind = options.pop("kind")
    if kind == "repeated":
        event = world.room(options["room_id"]).event(options["event_id"])
        if event is None:
            raise invalid("no such event")
        return faults.repeated(event)
    make = _FAULTS.get(kind)
    if make is None:
        raise invalid("no such fault")
    return make(**options)
