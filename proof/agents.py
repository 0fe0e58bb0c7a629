"""The reference agent in this process, which does harm at chosen moments: to the host, or to the connection."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from proof.processes import WORKSPACE, Agent
from surfaces_agent_api.reference import ReferenceAgent
from surfaces_agent_api.reference.faults import STATUS, Fault, Wire, in_turn, sends
from surfaces_agent_api.reference.memory import Frame
from surfaces_agent_api.reference.session import Session

WORDS_PER_SECOND = 100.0


@dataclass(frozen=True, kw_only=True)
class Deed:
    """Some harm at one moment."""

    act: Callable[[Wire], None]
    before: bool = True
    """Instead of what is done at that moment; else behind it."""
    frames: int = 0
    """Behind a question: so many frames of its answer are sent first."""
    when: Callable[[], Awaitable[None]] | None = None
    """And then this is waited for."""


def cut(wire: Wire) -> None:
    """Cut the connection without a goodbye."""
    if wire.request.transport is not None:
        wire.request.transport.abort()


class Moments:
    """What is done to whom when; nothing, where nothing is said."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How often each moment came."""
        self.heard: dict[str, dict[str, str]] = {}
        """What the agent was asked, by context and id."""
        self.answering = asyncio.Event()
        """Where it is not set, the agent hears questions and says nothing to them."""
        self.answering.set()
        self.texts: dict[str, Deed] = {}
        """Deeds for a question of that text, however often it comes."""
        self.chance: Callable[[str], Deed | None] = lambda moment: None
        """Asked where nothing else is said; until `calm`."""
        self._scripts: dict[str, deque[Deed | None]] = {}

    def script(self, moment: str, deeds: Iterable[Deed | None]) -> None:
        """The next moments of a kind meet these, one each."""
        self._scripts.setdefault(moment, deque()).extend(deeds)

    def clear(self) -> None:
        """No harm but what chance brings."""
        self._scripts.clear()
        self.texts.clear()

    def calm(self) -> None:
        """No harm any more."""
        self.clear()
        self.chance = lambda moment: None

    def next(self, moment: str, text: str = "") -> Deed | None:
        """What is done at this moment."""
        self.counts[moment] += 1
        if text in self.texts:
            return self.texts[text]
        script = self._scripts.get(moment)
        return script.popleft() if script else self.chance(moment)


class HarmfulAgent(ReferenceAgent):
    """Answers as it should, but for what its moments say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.moments = Moments()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        deed = self.moments.next("agent.connect")
        if deed is not None and deed.before:
            deed.act(Wire(request=request, socket=web.WebSocketResponse(), workspace=None))
            return web.Response(status=503)
        request["fault"] = Fault() if deed is None else Fault(greet=in_turn(sends(STATUS), _doing(deed)))
        return await super()._serve(request)

    def _session(self, request: web.Request, socket: web.WebSocketResponse) -> Session:
        wire = Wire(request=request, socket=socket, workspace=self._workspace)
        return _Harmful(
            moments=self.moments,
            wire=wire,
            context=request.match_info["context"],
            memory=self._memory,
            workspace=self._workspace,
            words_per_second=self._words_per_second,
            fault=request["fault"],
            received=lambda frame: None,
        )


def _doing(deed: Deed) -> Callable[[Wire], Any]:
    async def act(wire: Wire) -> None:
        deed.act(wire)

    return act


class _Harmful(Session):
    """One socket."""

    def __init__(self, *, moments: Moments, **options: Any) -> None:
        super().__init__(**options)
        self._moments = moments
        self._pending: Deed | None = None
        """Done when so many frames of the running answer are sent."""
        self._frames = 0
        self._over = False

    def _hear(self, frame: Frame, turns: asyncio.TaskGroup) -> None:
        deed = self._moments.next("agent.ask", str(frame["text"])) if frame.get("type") == "USER_MESSAGE" else None
        if deed is not None and deed.before:
            self._do(deed)
            return
        super()._hear(frame, turns)
        if frame.get("type") == "USER_MESSAGE":
            self._moments.heard.setdefault(self._context, {})[str(frame.get("message_id"))] = str(frame["text"])
        self._pending, self._frames = deed, 0
        if deed is not None and deed.frames == 0:
            self._do(deed)

    async def _answer(self, frame: Frame) -> None:
        await self._moments.answering.wait()
        await super()._answer(frame)

    async def _send(self, frame: Frame) -> None:
        deed = self._moments.next("agent.frame") if not self._over else None
        if deed is not None and deed.before:
            self._do(deed)
        if self._over:
            raise ConnectionResetError
        await super()._send(frame)
        self._frames += 1
        if deed is not None:
            self._do(deed)
        elif self._pending is not None and self._frames == self._pending.frames:
            if self._pending.when is not None:
                await self._pending.when()
            self._do(self._pending)

    def _do(self, deed: Deed) -> None:
        self._pending, self._over = None, True
        deed.act(self._wire)


@dataclass(frozen=True, kw_only=True)
class Watched(Agent):
    """An agent in this process."""

    moments: Moments


@asynccontextmanager
async def watched_agent(volume: Path, words_per_second: float | None = WORDS_PER_SECOND) -> AsyncIterator[Watched]:
    """An agent with its workspace on a volume, which is made."""
    workspace = volume / WORKSPACE
    workspace.mkdir(parents=True)
    async with HarmfulAgent(workspace=workspace, words_per_second=words_per_second) as agent:
        yield Watched(base_url=agent.base_url, volume=volume, workspace=workspace, moments=agent.moments)
