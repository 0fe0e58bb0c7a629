"""A homeserver that knows keys, messages to devices and members, and nothing else: for machines in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

import structlog

from surfaces_core import StateError, Unavailable
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.errors import Refused

from .conftest import MemoryStore


class FullStore(MemoryStore):
    """A store whose disk may be full."""

    full = False

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        if self.full:
            raise StateError("no space")
        await super().write(changes)


class KeyServer:
    """What the homeserver of some accounts holds."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Any]] = defaultdict(dict)
        self.one_time_keys: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
        self.inboxes: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self.members: dict[str, list[str]] = defaultdict(list)
        self.identities: dict[str, dict[str, Any]] = {}
        self.self_signing: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        """Devices that no message may go to."""
        self.requests: list[tuple[str, str]] = []
        self.down = False

    def call(self, user_id: str, device_id: str, method: str, path: str, body: Any) -> dict[str, Any]:
        """What it answers."""
        if self.down:
            raise Unavailable("down")
        self.requests.append((method, path))
        parts = [unquote(part) for part in path.split("/")[2:]]
        match parts:
            case ["keys", "upload"]:
                if "device_keys" in body:
                    self.devices[user_id][device_id] = body["device_keys"]
                self.one_time_keys[user_id, device_id] |= body.get("one_time_keys", {})
                count = len(self.one_time_keys[user_id, device_id])
                return {"one_time_key_counts": {"signed_curve25519": count}}
            case ["keys", "query"]:
                return {
                    "device_keys": {user: dict(self.devices[user]) for user in body["device_keys"]},
                    "master_keys": {user: key for user, key in self.identities.items() if user in body["device_keys"]},
                    "self_signing_keys": dict(self.self_signing),
                }
            case ["keys", "claim"]:
                return {"one_time_keys": self._claimed(body["one_time_keys"])}
            case ["sendToDevice", type_, _]:
                self._deliver(user_id, type_, body["messages"])
                return {}
            case ["rooms", room_id, "members"]:
                joined = {"membership": "join"}
                return {"chunk": [{"state_key": user, "content": joined} for user in self.members[room_id]]}
        raise AssertionError(path)

    def _claimed(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for user, devices in wanted.items():
            for device in devices:
                keys = self.one_time_keys[user, device]
                if keys:
                    name = next(iter(keys))
                    found.setdefault(user, {})[device] = {name: keys.pop(name)}
        return found

    def _deliver(self, sender: str, type_: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        for user, contents in messages.items():
            for device, content in contents.items():
                if device in self.refused:
                    raise Refused("no such device", status=400, errcode="M_INVALID_PARAM")
                for name in self.devices[user] if device == "*" else [device]:
                    self.inboxes[user, name].append({"type": type_, "sender": sender, "content": content})


class _Client:
    """One account's way to it."""

    timeout_s = 5.0

    def __init__(self, server: KeyServer, user_id: str, device_id: str) -> None:
        self.user_id, self.device_id, self._server = user_id, device_id, server

    async def call(self, method: str, path: str, body: Any = None, **_: Any) -> dict[str, Any]:
        return self._server.call(self.user_id, self.device_id, method, path, body)


class Party:
    """One device of somebody's, over a store that outlives it."""

    def __init__(self, server: KeyServer, user_id: str, device_id: str = "DEV", **options: Any) -> None:
        self.server, self.user_id, self.device_id, self.options = server, user_id, device_id, options
        self.store = FullStore()
        self.machine: Machine

    async def start(self) -> Machine:
        """A new life on the same store."""
        client = cast(Client, _Client(self.server, self.user_id, self.device_id))
        self.machine = Machine(client, self.store, structlog.get_logger(), **self.options)
        await self.machine.open(self.device_id)
        await self.machine._upkeep._publish()
        return self.machine

    async def sync(self, *more: Any, repeat: int = 1, **response: Any) -> None:
        """Take what waits for the device, `more` behind it."""
        waiting = [*self.server.inboxes.pop((self.user_id, self.device_id), []), *more]
        for _ in range(repeat):
            await self.machine.receive({"to_device": {"events": waiting}, **response})

    async def say(self, room_id: str, body: str, number: int = 1) -> dict[str, Any]:
        """An encrypted event as others get it."""
        content = {"msgtype": "m.text", "body": body}
        sealed = await self.machine.seal(room_id, {}, "m.room.message", content, timeout_s=5)
        event_id = f"${self.user_id}{number}"
        return {"type": "m.room.encrypted", "sender": self.user_id, "event_id": event_id, "content": sealed}
