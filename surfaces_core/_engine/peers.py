"""Agents that cannot be reached: how often they are tried, and how those who wait hear that one is back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gate import Gate, Trouble
from surfaces_core._engine.people import People
from surfaces_core.contracts import Transport
from surfaces_core.errors import Unavailable
from surfaces_core.events import Address

PROBE_S = 4.0
"""About how often an agent that somebody waits for is looked at, between the tries that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How the turns of one agent went since the host started."""

    answered_at: float | None = None
    """Unix seconds of its last answer."""
    trouble: Trouble | None = None
    """Its last failure."""
    in_row: int = 0
    """Failures since its last answer."""


class Peers:
    """What is known of each agent's reachability; all of it may be forgotten at any time."""

    def __init__(self, people: People, transports: Mapping[str, Transport], log: FilteringBoundLogger) -> None:
        self._people = people
        self._transports = transports
        self._log = log
        self._gates: dict[str, Gate] = {}
        self._lost: asyncio.Queue[str] = asyncio.Queue()
        self._watched: set[str] = set()
        self.down: dict[str, Trouble] = {}
        """Agents that could not be reached when they were last tried."""
        self.records: dict[str, Record] = {}
        """Agents that were asked something."""
        self.waiting: Callable[[str], Iterable[Hashable]] = lambda agent: ()
        """Lanes whose next question waits for an agent."""
        self.wake: Callable[[Hashable], object] = lambda lane: None
        """Lets the next question of a lane be tried at once."""

    def away(self, agent: str) -> bool:
        """Whether questions have to ask for their turn."""
        return agent in self._gates and self._gates[agent].away

    def ask(self, agent: str) -> float:
        """Seconds until a question may be put to an agent; with 0 the caller has the place and must try."""
        return self._gates[agent].ask() if agent in self._gates else 0.0

    def failed(self, agent: str, who: Address, began: float, error: Unavailable) -> None:
        """A try that began at some time of the loop did not reach the agent."""
        gate = self._gates.setdefault(agent, Gate())
        if agent not in self.down:
            self.down[agent] = Trouble.of(error)
            self._log.warning("agent.down", agent=agent, code=error.code, error=str(error))
        gate.failed(who, began, error)
        if agent not in self._watched:
            self._watched.add(agent)
            self._lost.put_nowait(agent)

    def reached(self, agent: str) -> None:
        """The agent answered."""
        if self.down.pop(agent, None) is not None:
            self._log.info("agent.back", agent=agent)
        gate = self._gates.pop(agent, None)
        if gate is None:
            return
        gate.succeeded()
        for lane in self.waiting(agent):
            self.wake(lane)

    def ended(self, agent: str, failure: BaseException | None) -> None:
        """A turn of the agent is over, or this try of it."""
        record = self.records.get(agent, Record())
        if failure is None:
            self.records[agent] = replace(record, answered_at=time.time(), in_row=0)
        else:
            self.records[agent] = replace(record, trouble=Trouble.of(failure), in_row=record.in_row + 1)

    async def run(self) -> None:
        """Look at agents that are down until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._watch(await self._lost.get()))

    async def _watch(self, agent: str) -> None:
        try:
            while agent in self._gates:
                await asyncio.sleep(PROBE_S * random.uniform(0.75, 1.25))  # noqa: S311 - hosts must not keep step
                if agent in self._gates and not await self._look(agent):
                    return
        finally:
            self._watched.discard(agent)

    async def _look(self, agent: str) -> bool:
        """Whether to go on looking."""
        known = self._people.agents.get(agent)
        if known is None or not list(self.waiting(agent)):  # the next question finds out by itself
            self._gates.pop(agent).succeeded()
            return False
        if self._gates[agent].idle_s < PROBE_S / 2:  # it was tried just now
            return True
        try:
            with contained():
                health = await self._transports[known.transport].check(known)
        except Exception:  # noqa: BLE001 - what only looks must not end what works
            self._log.exception("agent.check.bug", agent=agent)
            return False
        if health.reachable:
            self.reached(agent)
        return health.reachable is not None
