"""Two lives of the real host over one scenario: the first is killed, the second must make everything good."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from surfaces_testing.homeserver import Fault, FakeHomeserver
from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.faults import Wire

from ..processes import HOST, Program, write_config
from .scenario import Scenario

WORKSPACE = "reference"


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The reference agent, which outlives all hosts."""

    base_url: str
    volume: Path

    @property
    def workspace(self) -> Path:
        """Its folder."""
        return self.volume / WORKSPACE


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where the first life ends."""

    name: str
    """A kill point of the host, or an endpoint of the homeserver."""
    count: int
    """The how many-th time."""
    side: str = ""
    """At the homeserver: `before` or `after` it does what it is asked."""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.name, self.side, str(self.count))))


class Killer(Fault):
    """Kills whoever asks, before or after doing what was asked; no answer is seen."""

    def __init__(self, side: str) -> None:
        self.performs = side == "after"  # type: ignore[misc]  # of this one alone
        self.victim = 0

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        os.kill(self.victim, signal.SIGKILL)
        return wire.cut()


class Run:
    """One scenario on a homeserver of its own."""

    def __init__(self, agent: Agent, folder: Path, homeserver: FakeHomeserver, command: Sequence[str] = HOST) -> None:
        self.hs = homeserver
        self.folder = folder
        self.scenario = Scenario(homeserver, agent.workspace, folder / "state")
        config = write_config(folder, homeserver=homeserver.url, agent=agent.base_url, volume=agent.volume)
        self._command = (*command, "run", "-c", str(config))

    async def killed_at(self, point: Point) -> None:
        """A life that ends there, with work outstanding."""
        env, killer = {}, None
        if point.side:
            killer = Killer(point.side)
            self.hs.faults.script(point.name, [None] * (point.count - 1) + [killer])
        else:
            env = {"SURFACES_KILL_AT": f"{point.name}:{point.count}"}
        async with self._host("killed", env) as host:
            if killer is not None:
                killer.victim = host.pid
            code = await host.ended(timeout_s=20)
        assert code == -signal.SIGKILL, f"exit code {code}\n{host.log()}"
        assert not self.scenario.settled or self.scenario.outstanding(), "nothing was outstanding"

    async def clean(self, env: Mapping[str, str] | None = None) -> str:
        """A life that ends when everything is answered; its log."""
        async with self._host("clean", env or {}) as host:
            await host.ready()
            await self.hs.until(lambda: self.scenario.settled, timeout=30)
            assert await host.stop() == 0, host.log()
        return host.log()

    def _host(self, name: str, env: Mapping[str, str]) -> Program:
        return Program(self._command, log=self.folder / f"{name}.log", env=env)


async def sweep(run: Run, point: Point | None) -> None:
    """The scenario with a kill, or without one; judged."""
    async with asyncio.TaskGroup() as group:
        player = group.create_task(run.scenario.play())
        if point is not None:
            await run.killed_at(point)
        try:
            log = await run.clean()
        finally:
            player.cancel()
    run.scenario.judge()
    assert list(complaints(log)) == []


def complaints(log: str) -> Iterator[str]:
    """What a clean life must not log."""
    for line in log.splitlines():
        if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
            yield line
