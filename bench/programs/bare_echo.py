"""The least that an echo bot can cost: aiohttp and orjson, one loop, nothing kept, nothing retried."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

API = "/_matrix/client/v3"
FILTER = '{"presence":{"types":[]},"room":{"ephemeral":{"types":[]},"timeline":{"limit":100},"state":{"types":[]}}}'


class Loop:
    """Sync, echo, sync."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._me = os.environ["MATRIX_USER_ID"]
        self._headers: dict[str, str] = {}
        self._ids = itertools.count()

    async def run(self) -> None:
        """Log in, say READY after the first sync, echo from then on."""
        identifier = {"type": "m.id.user", "user": self._me}
        login = {"type": "m.login.password", "identifier": identifier, "password": os.environ["MATRIX_PASSWORD"]}
        self._headers = {"Authorization": f"Bearer {(await self._call('POST', '/login', login))['access_token']}"}
        since = (await self._call("GET", "/sync", filter=FILTER, timeout="0"))["next_batch"]
        sys.stdout.write("READY {}\n")
        sys.stdout.flush()
        while True:
            answer = await self._call("GET", "/sync", filter=FILTER, timeout="30000", since=since)
            for room, entry in answer.get("rooms", {}).get("join", {}).items():
                for event in entry["timeline"]["events"]:
                    if event["type"] == "m.room.message" and event["sender"] != self._me:
                        await self._say(room, event["content"]["body"])
            since = answer["next_batch"]

    async def _say(self, room: str, text: str) -> None:
        path = f"/rooms/{quote(room)}/send/m.room.message/{next(self._ids)}"
        await self._call("PUT", path, {"msgtype": "m.text", "body": text})

    async def _call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        address = os.environ["MATRIX_HOMESERVER"] + API + path
        data = None if body is None else orjson.dumps(body)
        async with self._http.request(method, address, params=query, data=data, headers=self._headers) as response:
            return orjson.loads(await response.read())


async def main() -> None:
    """One session for all."""
    async with aiohttp.ClientSession() as http:
        await Loop(http).run()


asyncio.run(main())
