"""A person with a Matrix client of their own: logs in, syncs, talks, and waits for what shows."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp

from surfaces_demo.synapse import Account
from surfaces_demo.timeline import Message, Room, Timeline

T = TypeVar("T")

_FILTER = json.dumps(
    {
        "presence": {"types": []},
        "account_data": {"types": []},
        "room": {"timeline": {"limit": 100}, "account_data": {"types": []}},
    }
)


class NotSeen(Exception):
    """What should have shown did not, in time; the message says what."""


class Refused(Exception):
    """The homeserver answered with an error."""


class Unreachable(Exception):
    """The homeserver does not answer."""


class Person:
    """Logged in and syncing for as long as its `async with` block."""

    def __init__(self, url: str, account: Account) -> None:
        self._base = f"{url}/_matrix/client/v3"
        self._media = f"{url}/_matrix/client/v1/media/download"
        self._uploads = f"{url}/_matrix/media/v3/upload"
        self._account = account
        self._changed = asyncio.Condition()
        self._token = ""
        self.timeline = Timeline(account.user_id)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._http = await stack.enter_async_context(aiohttp.ClientSession())
            await self._log_in()
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self._syncing = tasks.create_task(self._sync())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._syncing.cancel()
        await self._stack.__aexit__(kind, error, trace)

    # What a person does ---------------------------------------------------------------------------

    async def invite_to_chat(self, user_id: str) -> Room:
        """Begin a direct chat with somebody; the room."""
        return await self.create_room(is_direct=True, invite=[user_id], preset="trusted_private_chat")

    async def create_room(self, **body: object) -> Room:
        """Make a room; `body` as in `POST /createRoom`."""
        created = await self._call("POST", "/createRoom", body)
        return self.timeline.room(created["room_id"])

    async def join(self, room: Room) -> None:
        """Accept an invitation."""
        await self._call("POST", f"/join/{quote(room.room_id, safe='')}", {})

    async def say(self, room: Room, text: str) -> str:
        """Say something; the event's id."""
        return await self.send(room, {"msgtype": "m.text", "body": text})

    async def send(self, room: Room, content: dict[str, Any]) -> str:
        """Send any content of a message; the event's id."""
        path = f"/rooms/{quote(room.room_id, safe='')}/send/m.room.message/{uuid.uuid4().hex}"
        return str((await self._call("PUT", path, content))["event_id"])

    async def send_file(self, room: Room, name: str, data: bytes, mime: str) -> str:
        """Send a file without a caption; the event's id."""
        options = {"params": {"filename": name}, "data": data, "headers": {"Content-Type": mime}}
        async with self._request("POST", self._uploads, **options) as response:
            uploaded = await _answer(response)
        info = {"mimetype": mime, "size": len(data)}
        return await self.send(
            room, {"msgtype": "m.file", "body": name, "filename": name, "url": uploaded["content_uri"], "info": info}
        )

    async def download(self, message: Message) -> bytes:
        """The content of a file that somebody sent."""
        if message.url is None:
            raise Refused("the message carries no file")
        address = f"{self._media}/{message.url.removeprefix('mxc://')}"
        async with self._request("GET", address) as response:
            if response.status != 200:
                raise Refused(f"the file cannot be fetched: {response.status}")
            return await response.read()

    # What a person sees ---------------------------------------------------------------------------

    async def see(self, what: str, look: Callable[[], T | None], within_s: float = 20.0) -> T:
        """Wait until `look` finds something in the timeline. Raises `NotSeen` saying what was missing."""
        try:
            async with asyncio.timeout(within_s), self._changed:
                while not (found := look()):
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise NotSeen(f"{what}: not seen within {within_s:.0f} s") from None

    async def changes(self) -> None:
        """Wait until anything is new."""
        async with self._changed:
            await self._changed.wait()

    async def see_invitation(self, *, space: bool = False, within_s: float = 20.0) -> Room:
        """Wait for an invitation to a room, or to a Space."""

        def look() -> Room | None:
            rooms = self.timeline.rooms.values()
            return next((room for room in rooms if room.membership == "invite" and room.space == space), None)

        return await self.see("an invitation to a Space" if space else "an invitation to a room", look, within_s)

    # The wire -------------------------------------------------------------------------------------

    async def _log_in(self) -> None:
        identifier = {"type": "m.id.user", "user": self._account.user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": self._account.password}
        self._token = (await self._call("POST", "/login", body))["access_token"]

    async def _sync(self) -> None:
        params = {"timeout": "0", "filter": _FILTER}
        while True:
            try:
                answer = await self._call("GET", "/sync", params=params)
            except Unreachable:
                # A homeserver that restarts; the next try tells.
                await asyncio.sleep(0.2)
                continue
            self.timeline.feed(answer)
            params |= {"since": answer["next_batch"], "timeout": "20000"}
            async with self._changed:
                self._changed.notify_all()

    async def _call(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while True:
            async with self._request(method, self._base + path, json=body, params=params) as response:
                if response.status != 429 or time.monotonic() > deadline:
                    return await _answer(response)
                wait_ms = (await response.json()).get("retry_after_ms", 500)
            await asyncio.sleep(wait_ms / 1000)

    @asynccontextmanager
    async def _request(self, method: str, address: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        headers |= options.pop("headers", {})
        try:
            async with self._http.request(method, address, headers=headers, **options) as response:
                yield response
        except aiohttp.ClientError as error:
            raise Unreachable(f"the homeserver does not answer: {error}") from error


async def _answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    answer = await response.json()
    if response.status != 200:
        raise Refused(f"{response.method} {response.url.path}: {response.status} {answer.get('error', '')}")
    return dict(answer)
