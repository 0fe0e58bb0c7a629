"""Looks at agents that nobody talked to lately, when somebody asks how they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.foreign import contained
from surfaces_core._engine.peers import Peers
from surfaces_core._engine.people import People
from surfaces_core.contracts import Health, Transport
from surfaces_core.events import Agent

FRESH_S = 20.0
"""What was found out within this time is not found out again."""
WAIT_S = 2.5
"""Whoever asks waits at most so long for what is found out; they hear of the rest when they ask again."""
LONGEST_S = 30.0
MOST = 32
"""Agents that are looked at because of one question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found, and when."""

    at: float
    """Unix seconds."""
    health: Health


class Looks:
    """The last look at each agent."""

    def __init__(
        self, people: People, transports: Mapping[str, Transport], peers: Peers, log: FilteringBoundLogger
    ) -> None:
        self._people = people
        self._transports = transports
        self._peers = peers
        self._log = log
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._running: dict[str, asyncio.Event] = {}
        self.found: dict[str, Look] = {}
        """By agent."""

    async def freshen(self, agents: Iterable[str]) -> None:
        """Look at those of whom there is no news, those first who were not looked at for longest."""
        due = sorted((agent for agent in agents if self._is_due(agent)), key=self._looked_at)[:MOST]
        for agent in due:
            if agent not in self._running:
                self._running[agent] = asyncio.Event()
                self._asked.put_nowait(agent)
        waited = [self._running[agent] for agent in due]
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                for over in waited:
                    await over.wait()

    async def run(self) -> None:
        """Look at what is asked for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._look(await self._asked.get()))

    def _looked_at(self, agent: str) -> float:
        return self.found[agent].at if agent in self.found else 0.0

    def _is_due(self, agent: str) -> bool:
        record = self._peers.records.get(agent)
        answered = 0.0 if record is None else record.answered_at or 0.0
        return agent in self._people.agents and time.time() - max(answered, self._looked_at(agent)) > FRESH_S

    async def _look(self, agent: str) -> None:
        known = self._people.agents.get(agent)
        try:
            if known is not None:
                health = await self._checked(self._transports[known.transport], known)
                self.found[agent] = Look(at=time.time(), health=health)
                if health.reachable:
                    self._peers.reached(agent)
        finally:
            self._running.pop(agent).set()

    async def _checked(self, transport: Transport, agent: Agent) -> Health:
        try:
            with contained():
                async with asyncio.timeout(LONGEST_S):
                    return await transport.check(agent)
        except TimeoutError:
            return Health(reachable=False, code="TIMEOUT")
        except Exception:  # noqa: BLE001 - what only looks must not end what works
            self._log.exception("agent.check.bug", agent=agent.id)
            return Health(reachable=None, code="BUG")
