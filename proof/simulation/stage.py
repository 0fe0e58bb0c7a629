"""What there is in a simulated world beside people and the host: it outlives every life of the host."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from proof.simulation.agents import TRANSPORT, Agents
from proof.simulation.disk import Disk
from proof.simulation.judge import Judge
from proof.simulation.messenger import Messenger
from proof.simulation.trace import HOST, Trace
from proof.simulation.weather import CALM, Weather, stream
from surfaces_core._config.settings import Registry
from surfaces_core._config.sources import Source
from surfaces_core.events import Agent
from surfaces_core.testing.memory_files import MemoryFiles

AGENTS = tuple(f"agent-{number}" for number in range(8))
REPEATABLE = frozenset(AGENTS[::2])
"""They know a repeated question."""
FLAKY = AGENTS[5:]
"""They are away now and then."""
UNSEEN = frozenset(AGENTS[7:])
"""Nobody can look whether they are there."""
ALPHA_PEOPLE = 80
BETA_PEOPLE = 110
EPOCH = 1_700_000_000.0
MOST_JUMP_S = 900.0
"""The clock never differs more from what it said before."""


class Stage:
    """Messengers, agents, files, a disk and a clock, and who watches them."""

    def __init__(self, seed: int, weather: Weather, away: Sequence[str], copy: TextIO | None) -> None:
        self.seed = seed
        self.weather = weather
        self.trace = Trace(self.time, copy)
        self.judge = Judge(trace=self.trace, now=self.time)
        self.disk = Disk(self.judge)
        self.files = MemoryFiles()
        self.agents = Agents(
            trace=self.trace,
            judge=self.judge,
            now=self.time,
            contents=self.files.contents,
            away_until=dict.fromkeys(away, float("inf")),
            repeatable=REPEATABLE,
            unseen=UNSEEN,
        )
        self.messengers = {
            name: Messenger(name=name, trace=self.trace, judge=self.judge, now=self.time, chats={})
            for name in ("alpha", "beta")
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offset = EPOCH

    def begin(self) -> None:
        """Time runs."""
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return 0.0 if self._loop is None else self._loop.time()

    def clock(self) -> float:
        """Unix seconds on the wall clock of the host, which jumps."""
        return self._offset + self.time()

    def weather_now(self) -> Weather:
        """The weather as it is."""
        return self.weather

    # Weather

    def spare(self) -> None:
        """Whatever goes wrong from now on, nothing of it ends the host."""
        self.weather = replace(self.weather, commit_fails=0.0)

    def clear_up(self) -> None:
        """Nothing goes wrong any more."""
        self.weather = CALM
        self.agents.away_until.clear()
        for messenger in self.messengers.values():
            messenger.away_until = 0.0

    async def storm(self) -> None:
        """Agents and messengers come and go, and the clock jumps, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._agents_come_and_go(stream(self.seed, "agents")))
            group.create_task(self._messengers_come_and_go(stream(self.seed, "messengers")))
            group.create_task(self._clocks_jump(stream(self.seed, "clocks")))

    async def _agents_come_and_go(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / 120))
            agent = chance.choice(FLAKY)
            self.agents.away_until[agent] = self.time() + chance.expovariate(1 / 120)
            self.trace.line(HOST, f"{agent} is away until {self.agents.away_until[agent]:.1f}")

    async def _messengers_come_and_go(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / 300))
            messenger = chance.choice(list(self.messengers.values()))
            messenger.away_until = self.time() + chance.uniform(0.5, 60.0)
            self.trace.line(HOST, f"{messenger.name} is away until {messenger.away_until:.1f}")

    async def _clocks_jump(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.expovariate(1 / 300))
            self._offset = EPOCH + chance.uniform(-MOST_JUMP_S / 2, MOST_JUMP_S / 2)
            self.trace.line(HOST, f"the clock jumps to {self._offset - EPOCH:+.1f}")


def agent_of(person: str) -> str:
    """The agent of a person."""
    return AGENTS[int(person[2:]) % len(AGENTS)]


def alpha_people() -> list[str]:
    """They call from outside, and talk in rooms."""
    return [f"@a{number:03}" for number in range(ALPHA_PEOPLE)]


def beta_people() -> list[str]:
    """They just write."""
    return [f"@b{number:03}" for number in range(BETA_PEOPLE)]


def registry() -> Registry:
    """The host's agents, and whose they are."""
    return Registry(
        agents={name: Agent(id=name, label=name, transport=TRANSPORT, workspace=f"/{name}") for name in AGENTS},
        people={person: agent_of(person) for person in (*alpha_people(), *beta_people())},
        default=AGENTS[0],
        source=Source(file="simulation"),
        places={},
    )
