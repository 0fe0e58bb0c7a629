"""Two lives of the real host over one scenario: the first is killed, the second must make everything good."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from proof.processes import HOST, Agent, Program, write_config
from proof.scenario import Scenario
from surfaces_testing.homeserver import FakeHomeserver, Fault
from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.faults import Wire


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
    """Kills whoever asks; no answer is seen."""

    victim = 0

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        os.kill(self.victim, signal.SIGKILL)
        return wire.cut()


class EarlyKiller(Killer):
    """Kills whoever asks and does not do what was asked."""

    performs = False


class Run:
    """One scenario on a homeserver of its own."""

    def __init__(self, agent: Agent, folder: Path, homeserver: FakeHomeserver, command: Sequence[str] = HOST) -> None:
        self.hs = homeserver
        self.scenario = Scenario(homeserver, agent.workspace, folder / "state")
        self._folder = folder
        config = write_config(folder, homeserver.url, agent)
        self._command = (*command, "run", "-c", str(config))

    async def killed_at(self, point: Point) -> None:
        """A life that ends there, with work outstanding."""
        killer = Killer() if point.side == "after" else EarlyKiller()
        if point.side:
            self.hs.faults.script(point.name, [None] * (point.count - 1) + [killer])
        env = {} if point.side else {"SURFACES_KILL_AT": f"{point.name}:{point.count}"}
        async with self._host("killed", env) as host:
            killer.victim = host.pid
            code = await host.ended()
        assert code == -signal.SIGKILL, f"exit code {code}\n{host.log()}"
        assert not self.scenario.settled or self.scenario.outstanding(), "nothing was outstanding"

    async def clean(self, patience_s: float) -> None:
        """A life that ends when everything is answered, and has nothing to complain of."""
        async with self._host("clean", {}) as host:
            await host.ready()
            async with asyncio.TaskGroup() as group:
                alive = group.create_task(host.must_live())
                try:
                    await self.hs.until(lambda: self.scenario.settled, patience_s)
                except TimeoutError:
                    raise AssertionError(f"lost: {self.scenario.progress()}\n{host.log()}") from None
                alive.cancel()
            assert await host.stop() == 0, host.log()
        assert list(complaints(host.log())) == []

    def _host(self, name: str, env: Mapping[str, str]) -> Program:
        return Program(self._command, log=self._folder / f"{name}.log", env=env)


async def sweep(run: Run, point: Point | None, patience_s: float = 30.0) -> None:
    """The scenario with a kill, or without one; judged."""
    async with asyncio.TaskGroup() as group:
        player = group.create_task(run.scenario.play())
        if point is not None:
            await run.killed_at(point)
        try:
            await run.clean(patience_s)
        finally:
            player.cancel()
    run.scenario.judge()


def complaints(log: str) -> Iterator[str]:
    """The lines of a log that a clean life must not write."""
    for line in log.splitlines():
        if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
            yield line
