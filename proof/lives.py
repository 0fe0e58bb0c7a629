"""Lives of the real host over one play: some are killed, the last must make everything good."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from proof.agents import Deed, Watched, watched_agent
from proof.nursery import Nursery
from proof.points import MOMENTS, REQUESTS, WHEN_SLOW, Point
from proof.processes import BOT, HOST, Agent, Program, write_config
from proof.scenario import Scenario
from proof.stage import Stage
from proof.verdict import DRAFT_MARK, Verdict
from surfaces_testing.homeserver import FakeHomeserver, Fault
from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.faults import Wire

PATIENCE_S = 30.0
"""How long nothing may happen at the homeserver until what is still to come counts as lost."""


class Killer(Fault):
    """Kills whoever asks; no answer is seen."""

    victim: Program | None = None

    def kill(self) -> None:
        """Kill it, if it still lives."""
        if self.victim is not None:
            self.victim.signal(signal.SIGKILL)

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        self.kill()
        return wire.cut()


class EarlyKiller(Killer):
    """Kills whoever asks and does not do what was asked."""

    performs = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one run."""

    kills: int
    """How many were ordered."""
    landed: int
    """How many of them killed, with work outstanding."""
    verdict: Verdict
    trouble: str = ""
    """What a host did wrong in itself: a wrong exit code, complaints in its log."""

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return self.verdict.good and not self.trouble

    def __str__(self) -> str:
        return "\n".join(filter(None, (str(self.verdict), self.trouble)))


class Run:
    """One play on a homeserver of its own; the standard scenario where no other is named."""

    def __init__(
        self,
        agent: Agent,
        folder: Path,
        homeserver: FakeHomeserver,
        command: Sequence[str] = HOST,
        *,
        stage: Stage | None = None,
        nursery: Nursery | None = None,
        **config: Any,
    ) -> None:
        self.hs = homeserver
        self.agent = agent
        self.stage = stage or Scenario(homeserver, agent.workspace, folder / "state")
        self._nursery = nursery
        self._folder = folder
        self._config = write_config(folder, homeserver.url, agent, **config)
        self._command = (*command, "run", "-c", str(self._config))
        self._lives = 0

    @property
    def scenario(self) -> Stage:
        """What is played."""
        return self.stage

    async def killed_at(self, point: Point) -> bool:
        """A life that ends there; False when it never came there, or had nothing left to do."""
        killer = Killer() if point.side == "after" else EarlyKiller()
        self._arm(point, killer)
        env = {} if point.side else {"SURFACES_KILL_AT": f"{point.name}:{point.count}"}
        async with self._host("killed", env) as host:
            killer.victim = host
            code = await self._end(host)
        self._disarm(point)
        # one that is asked to end before it listens for that ends by the signal
        assert code in (0, -signal.SIGTERM, -signal.SIGKILL), f"exit code {code}\n{host.log()}"
        return code == -signal.SIGKILL and (not self.stage.settled or bool(self.stage.outstanding()))

    def _arm(self, point: Point, killer: Killer) -> None:
        wait = [None] * (point.count - 1)
        if point.name in MOMENTS:
            assert isinstance(self.agent, Watched), "an agent in another process does no harm"
            deed = Deed(act=lambda _: killer.kill(), before=point.side == "before")
            if point.text:
                when = self._draft_shows if point.draft else None
                self.agent.moments.texts[point.text] = replace(deed, frames=point.count, when=when)
            else:
                self.agent.moments.script(point.name, [*wait, deed])
        elif point.side:
            self.hs.faults.script(point.name, [*wait, killer])

    async def _draft_shows(self) -> None:
        def shows() -> bool:
            return any(text.endswith(DRAFT_MARK) for texts in self.stage.progress().values() for text in texts)

        await self.hs.until(shows, PATIENCE_S)

    def _disarm(self, point: Point) -> None:
        if isinstance(self.agent, Watched):
            self.agent.moments.clear()
        self.hs.faults.clear(point.name)

    async def _end(self, host: Program) -> int:
        """The exit code of a host that is killed, or is stopped when there is nothing left to do."""
        async with asyncio.TaskGroup() as group:
            settling = group.create_task(self._stopped_when_settled(host))
            code = await host.ended(6 * PATIENCE_S)
            settling.cancel()
        return code

    async def _stopped_when_settled(self, host: Program) -> None:
        await self.settle(PATIENCE_S)
        host.signal(signal.SIGTERM)

    async def clean(self, patience_s: float = PATIENCE_S) -> None:
        """A life in which nothing goes wrong any more, until everything is answered.

        What is not answered in time is for the judge. Raises `AssertionError` when it has something to complain of.
        """
        self.hs.faults.clear()
        if isinstance(self.agent, Watched):
            self.agent.moments.calm()
        async with self._host("clean", {}) as host:
            await host.ready()
            async with asyncio.TaskGroup() as group:
                alive = group.create_task(host.must_live())
                await self.settle(patience_s)
                alive.cancel()
            assert await host.stop() == 0, host.log()
        wrong = list(complaints(host.log()))
        assert not wrong, "\n".join(wrong)

    def host(self, name: str) -> Program:
        """Another life, for whoever wants to lead it by hand."""
        return self._host(name, {})

    async def settle(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything is answered, or nothing happens any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(4 * PATIENCE_S):
                while not self.stage.settled:
                    async with asyncio.timeout(patience_s):
                        await self.hs.world.changes.wait()

    def _host(self, name: str, env: Mapping[str, str]) -> Program:
        self._lives += 1
        log = self._folder / f"{self._lives}-{name}.log"
        return Program(self._command, log=log, env=env, nursery=self._nursery)

    async def counts(self) -> Counter[str]:
        """How often a life without a kill comes to each point; the run is over then."""
        file = self._folder / "points"
        self._command = (HOST[0], "-m", "proof.counted", str(file), "run", "-c", str(self._config))
        self._nursery = None  # there the points are imported already
        outcome = await live(self, [])
        assert outcome.good, str(outcome)
        asked = Counter(request.route for request in self.hs.requests if request.user_id in (BOT, ""))
        strange = asked.keys() - {*REQUESTS, *WHEN_SLOW}
        assert not strange, f"requests that the sweep does not know: {strange}"
        counts = Counter(file.read_text().split()) + asked
        return counts + self.agent.moments.counts if isinstance(self.agent, Watched) else counts


async def live(run: Run, points: Sequence[Point], patience_s: float = PATIENCE_S) -> Outcome:
    """The play with lives that end at these points, one after the other, then a clean one; judged."""
    landed, trouble = 0, ""
    async with asyncio.TaskGroup() as group:
        player = group.create_task(run.stage.act())
        try:
            for point in points:
                landed += await run.killed_at(point)
            await run.clean(patience_s)
        except (AssertionError, TimeoutError, ExceptionGroup) as error:
            trouble = "\n".join(_reasons(error))
        player.cancel()
    return Outcome(kills=len(points), landed=landed, verdict=run.stage.verdict(), trouble=trouble)


def _reasons(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _reasons(inner)
    else:
        yield f"{type(error).__name__}: {error}"


async def sweep(run: Run, point: Point | None, patience_s: float = PATIENCE_S) -> None:
    """The play with a kill, or without one; raises `AssertionError` unless all is well and the kill landed."""
    outcome = await live(run, [] if point is None else [point], patience_s)
    assert outcome.good, f"{outcome}\n{run.stage.progress()}"
    assert outcome.landed == outcome.kills, f"{point} never came, or nothing was outstanding"


@asynccontextmanager
async def world(
    nursery: Nursery | None,
    command: Sequence[str] = HOST,
    *,
    spoiled: str = "",
    on_interrupt: str = "retry",
    calm: bool = False,
    **config: Any,
) -> AsyncIterator[Run]:
    """A run of the standard scenario with everything that it needs, for as long as the block.

    `spoiled` names the message that kills will leave without an answer: put aside, or with another
    policy than `retry` interrupted. Further sections of the config differ as said.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with FakeHomeserver() as homeserver, watched_agent(folder / "agents") as agent:
            notice = "poison" if on_interrupt == "retry" else "interrupted"
            stage = Scenario(
                homeserver,
                agent.workspace,
                folder / "state",
                spoiled=spoiled,
                notice=notice,
                calm=calm or on_interrupt != "retry",
            )
            host = {"on_interrupt": on_interrupt}
            yield Run(agent, folder, homeserver, command, stage=stage, nursery=nursery, host=host, **config)


def complaints(log: str) -> Iterator[str]:
    """The lines of a log that a clean life must not write."""
    for line in log.splitlines():
        if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
            yield line
