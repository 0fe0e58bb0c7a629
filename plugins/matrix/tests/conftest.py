"""What the tests of this plugin share: a homeserver that answers what a test tells it, and a surface on it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, settings

from surfaces_core import (
    Address,
    Draft,
    FileRef,
    Files,
    Intake,
    OpenFile,
    Outbound,
    Receipt,
    Rejected,
    Surface,
    SurfaceContext,
    Unavailable,
)
from surfaces_core.testing.recording_intake import RecordingIntake, receiving
from surfaces_matrix import MatrixSurface
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.cursor import Position
from surfaces_matrix.gate import Gate
from surfaces_matrix.login import session_of

ME = "@bot:hs"
ANN = "@ann:hs"
ROOM = "!room:hs"
HERE = Address(surface="work", conversation=ROOM)
TOKEN = "tok1"
SYNC = "GET /_matrix/client/v3/sync"
LOGIN = "POST /_matrix/client/v3/login"
WHOAMI = "GET /_matrix/client/v3/account/whoami"
NO_STATE = (404, {"errcode": "M_NOT_FOUND", "error": "Event not found."})
LOGGED_OUT = (401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token"})


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a machine that is busy with other things is no fault."""


@dataclass(frozen=True)
class Request:
    """One request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]

    @property
    def token(self) -> str:
        """The access token it came with."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


Answer = Any
"""A dict; (status, dict or text); (status, dict or text, headers); bytes; or a function of the request giving one.

The function may wait."""


class Stage:
    """A homeserver that answers as scripted, and otherwise as a quiet one with one joined room would."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.token = TOKEN
        """The one good access token; a login gives it out."""
        self.snapshot: dict[str, Any] = {"next_batch": "s0", "rooms": {"join": {ROOM: {}}}}
        self._scripts: dict[str, deque[Answer]] = defaultdict(deque)
        self._changed = asyncio.Condition()

    # What a test says

    async def then(self, what: str, *answers: Answer) -> None:
        """Queue answers for `METHOD /path` or a part of it; the first script that fits is used."""
        async with self._changed:
            self._scripts[what].extend(answers)
            self._changed.notify_all()

    async def live(self, *answers: Answer) -> None:
        """Queue answers for syncs with a `since`."""
        await self.then("live", *answers)

    def forget(self, what: str) -> None:
        """Drop the answers that are queued for something."""
        self._scripts[what].clear()

    def count(self, part: str) -> int:
        """How many requests came whose method and path hold `part`."""
        return len(self.sent(part))

    def sent(self, part: str) -> list[Request]:
        """The requests whose method and path hold `part`."""
        return [request for request in self.requests if part in f"{request.method} {request.path}"]

    def live_syncs(self) -> list[Request]:
        """The syncs with a `since`."""
        return [request for request in self.sent(SYNC) if "since" in request.query]

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until something holds of the requests."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(done)

    # What it does

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        json = request.content_type == "application/json" or raw[:1] == b"{"
        seen = Request(
            request.method,
            request.raw_path.partition("?")[0],
            dict(request.query),
            (await request.json()) if raw and json else raw,
            dict(request.headers),
        )
        async with self._changed:
            self.requests.append(seen)
            self._changed.notify_all()
        answer = await self._answer(seen)
        while callable(answer):
            answer = answer(seen)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        return _response(answer)

    async def _answer(self, request: Request) -> Answer:
        name = f"{request.method} {request.path}"
        live = name == SYNC and "since" in request.query
        if live:
            if request.token != self.token:
                return LOGGED_OUT
            async with self._changed:
                try:
                    async with asyncio.timeout(int(request.query["timeout"]) / 1000):
                        await self._changed.wait_for(lambda: self._scripts["live"] or request.token != self.token)
                except TimeoutError:
                    return {"next_batch": request.query["since"]}
                return LOGGED_OUT if request.token != self.token else self._scripts["live"].popleft()
        for part, answers in self._scripts.items():
            if part != "live" and part in name and answers:
                return answers.popleft()
        return self._usual(name, request)

    def _usual(self, name: str, request: Request) -> Answer:
        if name == LOGIN:
            return {"user_id": ME, "access_token": self.token, "device_id": request.body.get("device_id", "MADE")}
        if request.token != self.token:
            return LOGGED_OUT
        if name == WHOAMI:
            return {"user_id": ME, "device_id": "KEPT"}
        if name == SYNC:
            return self.snapshot
        if "/send/" in name:
            return {"event_id": f"$of-{request.path.rpartition('/')[2]}"}
        if name.startswith("GET") and "/state/" in name:
            return NO_STATE
        if "/upload" in name:
            return {"content_uri": "mxc://hs/up1"}
        return {}

    async def revoke(self, new: str) -> None:
        """The token is no longer good; the next login gives a new one."""
        async with self._changed:
            self.token = new
            self._changed.notify_all()


def _response(answer: Answer) -> web.Response:
    status = 200
    headers: dict[str, str] = {}
    if isinstance(answer, tuple):
        status, answer, *rest = answer
        headers = rest[0] if rest else {}
    if isinstance(answer, bytes):
        return web.Response(body=answer, status=status, headers=headers)
    if isinstance(answer, str):
        return web.Response(text=answer, status=status, headers=headers)
    return web.json_response(answer, status=status, headers=headers)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A stage that listens on loopback."""
    stage = Stage()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", stage.handle)
    async with TestServer(app) as server:
        stage.url = str(server.make_url("")).rstrip("/")
        yield stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A scripted homeserver."""
    async with staged() as stage:
        yield stage


@dataclass
class MemoryStore:
    """A store in memory that outlives the surfaces that use it."""

    rows: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.rows[key] = value

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        return {key: value for key, value in sorted(self.rows.items()) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class _Supervised(Surface):
    """A surface that is run as the host runs it: again after a while when it was `Unavailable`."""

    def __init__(self, surface: MatrixSurface) -> None:
        super().__init__(surface.settings, surface.context)
        self._surface = surface

    async def run(self, intake: Intake) -> None:
        while True:
            try:
                await self._surface.run(intake)
            except Unavailable:
                await asyncio.sleep(0.001)

    async def send(self, message: Outbound) -> Receipt:
        return await self._surface.send(message)


@dataclass
class Bot:
    """Makes surfaces for one account on one homeserver, over one store; without encryption unless that is set."""

    url: str
    files: Any = None
    store: MemoryStore = field(default_factory=MemoryStore)
    intake: RecordingIntake = field(default_factory=RecordingIntake)
    settings: dict[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] | None = None
    """Instead of the surface's own."""

    def make(self, **settings: Any) -> MatrixSurface:
        """A surface that waits for milliseconds where it should wait for seconds."""
        credential = {} if "access_token" in settings or "access_token" in self.settings else {"password": "pw"}
        wanted = {"homeserver": self.url, "user_id": ME, "encryption": False, **credential, **self.settings, **settings}
        surface = MatrixSurface(
            MatrixSurface.Settings.model_validate(wanted),
            SurfaceContext(
                name="work", log=structlog.get_logger().bind(surface="work"), store=self.store, files=self.files
            ),
        )
        surface._sync.clock = self.clock or surface._sync.clock
        surface._sync.patience.backoff = Backoff(base_s=0.002, cap_s=0.01, least_s=0.001)
        surface._sync._reader.backoff = Backoff(base_s=0.002, cap_s=0.01, least_s=0.001)
        surface._client._gate = Gate(spacing_s=0.001)
        return surface

    @asynccontextmanager
    async def live(self, **settings: Any) -> AsyncIterator[MatrixSurface]:
        """One life: opened, ready, receiving; begun again whenever it asks for that, as the host does."""
        async with self.make(**settings) as surface, receiving(_Supervised(surface), self.intake):
            yield surface


@pytest.fixture
def bot(stage: Stage) -> Bot:
    """A bot on the scripted homeserver."""
    return Bot(stage.url)


@pytest.fixture
def log() -> Any:
    """What is logged while a test runs."""
    with structlog.testing.capture_logs() as entries:
        yield entries


def tokens(intake: RecordingIntake) -> list[str]:
    """The sync tokens of all cursors that were stored."""
    return [Position.read(cursor).token for cursor in intake.cursors]


def message(event_id: str, text: str, *, sender: str = ANN, sent_at: float | None = None) -> dict[str, Any]:
    """A text message as a homeserver sends it; `sent_at` in Unix seconds, now by default."""
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": sender,
        "origin_server_ts": int((time.time() if sent_at is None else sent_at) * 1000),
        "content": {"msgtype": "m.text", "body": text},
    }


def batch(next_batch: str, *events: Any, room: str = ROOM, **timeline: Any) -> dict[str, Any]:
    """A sync response with these events in one room."""
    return {"next_batch": next_batch, "rooms": {"join": {room: {"timeline": {"events": list(events), **timeline}}}}}


def outbound(text: str = "", *, part: int = 0, address: Address = HERE, **more: Any) -> Outbound:
    """A part of an answer, stored just now, in the room unless another is named."""
    fresh = {"device": session_of(TOKEN), "frozen_at": time.time(), **more}
    return Outbound(key=f"turn.{part}", turn="turn", part=part, address=address, text=text, **fresh)


def draft(
    text: str = "", *, version: int = 1, attempt: int = 1, part: int = 0, address: Address = HERE, **more: Any
) -> Draft:
    """A draft, of part 0 in the room unless others are named, in a turn that shows since just now."""
    fresh = {"device": session_of(TOKEN), "first_at": time.time(), **more}
    return Draft(
        key=f"turn.{part}",
        turn="turn",
        part=part,
        address=address,
        attempt=attempt,
        version=version,
        text=text,
        **fresh,
    )


class Workspace(Files):
    """Files in memory."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[FileRef, bytes]] = {}

    def put(self, ref: FileRef, content: bytes) -> None:
        self._files[ref.path] = (ref, content)

    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        raise Rejected("nothing is saved here")

    async def open(self, workspace: str, path: str) -> OpenFile:
        if path not in self._files:
            raise Rejected("no such file")
        return _Opened(*self._files[path])

    async def remove(self, workspace: str, path: str) -> None:
        self._files.pop(path, None)


class _Opened(OpenFile):
    def __init__(self, ref: FileRef, content: bytes) -> None:
        self.ref, self._content = ref, content

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), 65_536):
            yield self._content[start : start + 65_536]

    async def aclose(self) -> None:
        return None


@pytest.fixture
def workspace() -> Workspace:
    """Files of an agent."""
    return Workspace()


@asynccontextmanager
async def web_server(app: web.Application) -> AsyncIterator[str]:
    """The address of another server on loopback."""
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def a_file(name: str, size: int, **more: Any) -> FileRef:
    """A file in the workspace `w`."""
    return FileRef(workspace="w", path=name, size=size, **more)
