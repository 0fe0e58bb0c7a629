"""Owns the WebSocket server of the reference agent, and what tests may see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import WSCloseCode, web

from surfaces_agent_api.reference.faults import Fault, Wire
from surfaces_agent_api.reference.memory import Frame, Memory
from surfaces_agent_api.reference.session import Session

_GOODBYE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A frame that came from the host."""

    context: str
    frame: Frame


Condition = Callable[["ReferenceAgent"], bool]


class ReferenceAgent:
    """Serves AgentApi for as long as its `async with` block lasts.

    `words_per_second` slows answers down; `fault` makes it misbehave; `memory_file` makes its memory
    outlive it. `port` 0 takes a free one.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: str = "",
        workspace: Path | None = None,
        words_per_second: float | None = None,
        fault: Fault | None = None,
        memory_file: Path | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.fault = fault or Fault()
        self.received: list[Received] = []
        """Every frame of the host, oldest first."""
        self.connections = 0
        """How many sockets there ever were."""
        self.open = 0
        """How many there are now."""
        self._prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self._workspace = workspace
        self._words_per_second = words_per_second
        self._memory_file = memory_file
        self._waiting: list[tuple[Condition, asyncio.Future[None]]] = []
        self._sockets: set[web.WebSocketResponse] = set()
        self._sessions: dict[str, Session] = {}
        """The newest of each context."""

    @property
    def base_url(self) -> str:
        """What the agent registry is to name."""
        return f"http://{self.host}:{self.port}{self._prefix}/"

    async def __aenter__(self) -> Self:
        self._memory = await asyncio.to_thread(Memory, self._memory_file)
        app = web.Application()
        app.router.add_get(self._prefix + "/v1/agent_ws/{context}/", self._serve)
        app.on_shutdown.append(self._say_goodbye)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GOODBYE_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def until(self, condition: Condition) -> None:
        """Wait until it is true of what tests may see."""
        if condition(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        await future

    def _changed(self) -> None:
        for condition, future in self._waiting:
            if not future.done() and condition(self):
                future.set_result(None)
        self._waiting = [(condition, future) for condition, future in self._waiting if not future.done()]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.fault.status:
            return web.Response(status=self.fault.status, headers=self.fault.headers)
        socket = web.WebSocketResponse(compress=False, timeout=_GOODBYE_S, autoping=self.fault.answers_pings)
        await socket.prepare(request)
        self._count(socket, +1)
        try:
            await self._talk(request, socket)
        finally:
            self._count(socket, -1)
        return socket

    async def _talk(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        context = request.match_info["context"]
        session, before = self._session(request, socket), self._sessions.get(context)
        self._sessions[context] = session
        if before is not None:  # a host that died without a goodbye asks anew: nobody reads the old answer
            before.stop()
        try:
            await session.run()
        finally:
            if self._sessions[context] is session:
                del self._sessions[context]

    def _session(self, request: web.Request, socket: web.WebSocketResponse) -> Session:
        context = request.match_info["context"]

        def received(frame: Frame) -> None:
            self.received.append(Received(context=context, frame=frame))
            self._changed()

        return Session(
            wire=Wire(request=request, socket=socket, workspace=self._workspace),
            context=context,
            memory=self._memory,
            workspace=self._workspace,
            words_per_second=self._words_per_second,
            fault=self.fault,
            received=received,
        )

    def _count(self, socket: web.WebSocketResponse, change: int) -> None:
        self.open += change
        (self._sockets.add if change > 0 else self._sockets.discard)(socket)
        self._changed()

    async def _say_goodbye(self, app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)
