"""A simulated world: people, messengers, agents and a disk, and one life of the host after the other."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

from proof.simulation import host
from proof.simulation.agents import TRANSPORT, Agents, SimulatedTransport
from proof.simulation.disk import Disk, SimulatedStorage
from proof.simulation.files import SimulatedFiles
from proof.simulation.host import ENDLESS, Fate
from proof.simulation.judge import Judge
from proof.simulation.life import Life
from proof.simulation.messenger import Messenger, SimulatedSurface
from proof.simulation.people import Habits, People, Policy
from proof.simulation.result import Result
from proof.simulation.story import Chat, Said
from proof.simulation.trace import HOST, Trace
from proof.simulation.verdicts import MAX_TRIES
from proof.simulation.weather import CALM, ROUGH, Weather, stream
from surfaces_core._engine import journal as journal_module
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.lifecycle import PRUNE_EVERY_S, Drivers, Engine
from surfaces_core._engine.settings import HostSettings, Registry, Source
from surfaces_core._engine.store import InstanceStore
from surfaces_core.contracts import Pace, SurfaceContext
from surfaces_core.events import Agent
from surfaces_core.testing import virtual_time
from surfaces_core.testing.memory_files import MemoryFiles

AGENTS = tuple(f"agent-{number}" for number in range(8))
REPEATABLE = frozenset(AGENTS[::2])
FLAKY = AGENTS[5:]
UNSEEN = frozenset(AGENTS[7:])
ALPHA_PEOPLE = 80
BETA_PEOPLE = 110
PACE = Pace(typing_after_s=0.3, first_s=0.5, first_chars=10, interval_s=1.0, budget=5)
POLICIES: tuple[Policy, ...] = ("auto", "auto", "auto", "retry", "notify")
"""Of the worlds, by their seeds."""
LANE_DEPTH = 12
SIDE_BY_SIDE = 32
KEPT_S = 600.0
EPOCH = 1_700_000_000.0
REMEMBERED = 2000
"""Events that the host remembers whatever the clock says: fewer than elsewhere, so that it forgets in time."""
MOST_JUMP_S = 900.0
STOPPED_AFTER_S = 120.0
"""A host that is asked to stop has stopped then, whatever hangs."""
LONG_LIFE = 0.2
"""In the last life before calm comes this share of everything is said: what hangs, hangs for good."""
OVER_AFTER_S = 4 * 3600.0
"""In calm weather everything is answered by then."""


class World:
    """Everything that there is in one simulation."""

    def __init__(
        self,
        seed: int,
        turns: int,
        *,
        weather: Weather = ROUGH,
        habits: Habits | None = None,
        away: Sequence[str] = (),
        copy: TextIO | None = None,
    ) -> None:
        self.seed = seed
        self.policy = POLICIES[seed % len(POLICIES)]
        self.turns = turns
        self.weather = weather
        self._fair = replace(weather, commit_fails=0.0)
        self.habits = habits or Habits()
        self.trace = Trace(self._time, copy)
        self.judge = Judge(trace=self.trace, now=self._time)
        self.disk = Disk(self.judge)
        self.files = MemoryFiles()
        self.agents = Agents(
            trace=self.trace,
            judge=self.judge,
            now=self._time,
            contents=self.files.contents,
            repeatable=REPEATABLE,
            unseen=UNSEEN,
        )
        self.messengers = {
            name: Messenger(name=name, trace=self.trace, judge=self.judge, now=self._time, chats={})
            for name in ("alpha", "beta")
        }
        self.agents.away_until.update(dict.fromkeys(away, float("inf")))
        self.deaths: Counter[str] = Counter()
        self.lives = 0
        self.people: People
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offset = EPOCH
        self._closing = False
        self._long = False
        """The host dies no more, but for the last time."""
        self._life: Life | None = None
        self._engine: Engine
        self._hooks = host.hooks()
        self._registry = _registry()
        self._chance = stream(seed, "host")
        self._objects: list[int] = []

    def _time(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    def clock(self) -> float:
        """The wall clock, which jumps."""
        return self._offset + self._time()

    # The whole

    async def main(self) -> None:
        """Live through all of it."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            self._gather(group)
            storms = [group.create_task(storm) for storm in self._storms()] if self.weather is not CALM else []
            living = group.create_task(self._live_on())
            await self._until(lambda: self.people.left <= LONG_LIFE * self.turns)
            self._count_objects()
            self._long = True
            await self._until(lambda: self.people.left <= 0)
            for storm in storms:
                storm.cancel()
            if not self.judge.failures:
                await self._end()
            if self._life is not None:
                self._life.kill("the world ends")
            self._closing = True
            living.cancel()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:  # only people are left, and they wait
                task.cancel()
        self._count_objects()

    def _gather(self, group: asyncio.TaskGroup) -> None:
        self.people = People(
            seed=self.seed,
            judge=self.judge,
            trace=self.trace,
            now=self._time,
            clock=self.clock,
            messengers=self.messengers,
            habits=self.habits,
            policy=self.policy,
            left=self.turns,
            group=group,
            agent_of=_agent_of,
        )
        self.judge.on_question = self.people.answer
        self.judge.on_over = self._over
        self.judge.on_used = self._used
        self.messengers["alpha"].on_room = self.people.roomed
        for number in range(ALPHA_PEOPLE):
            self.people.meet("alpha", f"door-{number:03}", f"@a{number:03}", entry=True)
        for number in range(BETA_PEOPLE):
            self.people.meet("beta", f"b{number:03}", f"@b{number:03}")

    def _over(self, said: Said) -> None:
        """Nobody needs to remember it."""
        self.messengers[said.chat.surface].over(said)
        self._clean_up(said)

    def _clean_up(self, said: Said) -> None:
        """The agent throws away what it has used, and nothing is there twice."""
        workspace = f"/{said.chat.agent}"
        folder = self.files.contents[workspace]
        for index, name in enumerate(said.files):
            self.files._uploads.pop((workspace, f"{said.turn}.{index}"), None)
            if f"{name.removesuffix('.txt')} (1).txt" in folder:
                self.judge.fail("doubled", said.chat.name, f"#{said.number}: {name} is in the workspace twice")
        if said.plan is not None:
            folder.pop(said.plan.file_name, None)

    def _used(self, chat: Chat, files: Sequence[str]) -> None:
        """The agent throws away what it was given."""
        for name in files:
            self.files.contents[f"/{chat.agent}"].pop(name, None)

    async def _until(self, condition: Callable[[], bool], longest_s: float = float("inf")) -> bool:
        """Wait until something is so, or something has failed."""
        end = self._time() + longest_s
        while not condition() and not self.judge.failures and self._time() < end:
            await asyncio.sleep(1.0)
            self.judge.sweep()
        return condition()

    async def _end(self) -> None:
        """The weather is calm, everybody has a last question, and everything comes to its end."""
        self.weather = CALM
        self.agents.away_until.clear()
        for messenger in self.messengers.values():
            messenger.away_until = 0.0
        self._closing = True
        if self._life is not None:
            self._life.kill("the storm is over")
        await self._until(lambda: not self.judge.open, OVER_AFTER_S)
        self.people.finish()
        if not await self._until(lambda: not self.judge.open, OVER_AFTER_S) and not self.judge.failures:
            self.judge.lost()
        await asyncio.sleep(KEPT_S + PRUNE_EVERY_S + MOST_JUMP_S)
        self._engine.stop()
        await self._until(lambda: self._life is None, STOPPED_AFTER_S)
        self._check_rest()

    def left_rows(self) -> int:
        """Rows that should not be there when everything is over."""
        events = max(0, self.disk.count(b"seen") - REMEMBERED)
        return events + self.disk.count(b"in", b"out", b"dead", b"opening", b"staged")

    def _check_rest(self) -> None:
        if self.judge.failures:
            return
        if self.left_rows():
            kinds = Counter(row.partition(b"\0")[0].decode() for row in self.disk.rows)
            self.judge.fail("grown", HOST, f"rows are left: {dict(kinds)}")
        for messenger in self.messengers.values():
            for chat in messenger.chats.values():
                if any(certain for _, certain in chat.files.values()):
                    self.judge.fail("lost", chat.name, f"files never came to the agent: {chat.files}")
        left = [name for folder in self.files.contents.values() for name in folder]
        if left:
            self.judge.fail("grown", HOST, f"files are left that nobody needs: {left[:5]}")
        self._check_rooms()

    def _check_rooms(self) -> None:
        """Every conversation that somebody asked for is there once."""
        rooms = Counter(binding.owner for binding in self.messengers["alpha"].rooms.values())
        numbers = {(binding.owner, binding.number) for binding in self.messengers["alpha"].rooms.values()}
        for person, count in rooms.items():
            made, unsure = self.judge.made[person], self.judge.unsure[person]
            if not made <= count <= made + unsure:
                self.judge.fail("doubled", person, f"{count} rooms, of which they know {made} ({unsure} uncertain)")
        if len(numbers) != rooms.total():
            self.judge.fail("doubled", HOST, "two conversations of one person have the same number")

    # Lives of the host

    async def _live_on(self) -> None:
        while not self._closing:
            await self._live(ENDLESS if self.weather is CALM or self._long else host.fate(self._chance))
            await asyncio.sleep(self._chance.choice([0.1, 1.0, 5.0]))
        await self._live(ENDLESS)

    async def _live(self, fate: Fate) -> None:
        self.lives += 1
        life = self._life = Life(self.lives, steps=fate.steps, only=fate.only, died=self._died)
        self.trace.line(HOST, f"life {life.number} begins")
        engine = self._engine = self._build(life, fate)
        async with asyncio.TaskGroup() as group:
            life.task = group.create_task(self._run(life, engine))
            ender = group.create_task(self._be_fate(life, engine, fate))
            await asyncio.wait({life.task})
            ender.cancel()
        self._life = None
        self._check_tasks()
        if self.lives % 16 == 0:
            gc.collect()

    def _died(self, where: str) -> None:
        self.trace.line(HOST, f"dies: {where}")

    async def _run(self, life: Life, engine: Engine) -> None:
        how = "stopped"
        try:
            await engine.run()
            if not engine.stopping:
                self.judge.fail("bug", HOST, "the host ended without being asked to")
        except asyncio.CancelledError:
            how = "killed" if life.dead else "cancelled"
        except BaseException as error:  # noqa: BLE001 - whatever ends a host is looked at here
            how = "killed" if life.dead else "failed"
            if not life.dead and not host.expected(error, life):
                self.judge.fail("bug", HOST, f"the host died: {host.described(error)}")
        life.dead = True
        self.deaths[how] += 1
        self.judge.ended(self.disk.entries(b'"state":"running"'), self.disk.entries(b'"cut":true'))
        self.trace.line(HOST, f"life {life.number} is over: {how}")

    async def _be_fate(self, life: Life, engine: Engine, fate: Fate) -> None:
        if fate.after_s is None:
            return
        await asyncio.sleep(fate.after_s)
        if not fate.stop:
            life.kill("at some moment")
            return
        self.trace.line(HOST, "is asked to stop")
        engine.stop()
        if fate.then_s is not None:
            await asyncio.sleep(fate.then_s)
            if not fate.twice:
                life.kill("while it stops")
            elif life.task is not None:
                self.trace.line(HOST, "is asked again")
                life.task.cancel()
        await asyncio.sleep(STOPPED_AFTER_S)
        self.judge.fail("stuck", HOST, f"{STOPPED_AFTER_S} s after it was asked to stop the host still runs")

    def _check_tasks(self) -> None:
        """Nothing of a life that is over still runs."""
        for task in asyncio.all_tasks():
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and "surfaces_core/_engine" in code.co_filename:
                self.judge.fail("grown", HOST, f"a task is left: {code.co_qualname}")

    def _build(self, life: Life, fate: Fate) -> Engine:
        storage = SimulatedStorage(self.disk, life, self._weather_now, self._stream("disk"), self.trace)
        files = SimulatedFiles(self.files, life, self.judge, self._weather_now, self._stream("files"))
        journal = Journal(storage, self.clock)
        log = host.logger(self.judge, self.trace, life)
        surfaces = {}
        for name, messenger in self.messengers.items():
            context = SurfaceContext(name=name, log=log, store=InstanceStore(journal, name), files=files)
            surfaces[name] = SimulatedSurface(
                messenger,
                context,
                life,
                self._weather_now,
                self._stream(name),
                rooms=name == "alpha",
                pace=PACE if name == "alpha" else None,
            )
        transport = SimulatedTransport(self.agents, life, self._weather_now, self._stream("agents"))
        return Engine(
            drivers=Drivers(storage=storage, files=files, transports={TRANSPORT: transport}, surfaces=surfaces),
            journal=journal,
            settings=HostSettings(
                max_concurrent_turns=SIDE_BY_SIDE,
                max_lane_depth=LANE_DEPTH,
                on_interrupt=self.policy,
                max_tries=MAX_TRIES,
                keep_done_s=KEPT_S,
                keep_dead_s=KEPT_S,
                shutdown_grace_s=fate.grace_s,
            ),
            registry=self._registry,
            hooks=self._hooks,
            log=log,
        )

    def _weather_now(self) -> Weather:
        return self._fair if self._long and self.weather is not CALM else self.weather

    def _stream(self, name: str) -> random.Random:
        return stream(self.seed, f"life {self.lives}/{name}")

    # Weather

    def _storms(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._agents_come_and_go()
        yield self._messengers_come_and_go()
        yield self._clocks_jump()

    async def _agents_come_and_go(self) -> None:
        chance = stream(self.seed, "agents")
        while True:
            await asyncio.sleep(chance.expovariate(1 / 120))
            agent = chance.choice(FLAKY)
            self.agents.away_until[agent] = self._time() + chance.expovariate(1 / 120)
            self.trace.line(HOST, f"{agent} is away until {self.agents.away_until[agent]:.1f}")

    async def _messengers_come_and_go(self) -> None:
        chance = stream(self.seed, "messengers")
        while True:
            await asyncio.sleep(chance.expovariate(1 / 300))
            name = chance.choice(list(self.messengers))
            self.messengers[name].away_until = self._time() + chance.uniform(0.5, 60.0)
            self.trace.line(HOST, f"{name} is away until {self.messengers[name].away_until:.1f}")

    async def _clocks_jump(self) -> None:
        chance = stream(self.seed, "clocks")
        while True:
            await asyncio.sleep(chance.expovariate(1 / 300))
            self._offset = EPOCH + chance.uniform(-MOST_JUMP_S / 2, MOST_JUMP_S / 2)
            self.trace.line(HOST, f"the clock jumps to {self._offset - EPOCH:+.1f}")

    # The end

    def _count_objects(self) -> None:
        gc.collect()
        self._objects.append(len(gc.get_objects()))

    def result(self, real_s: float, cpu_s: float) -> Result:
        """What came of it."""
        return Result(
            seed=self.seed,
            turns=self.people.said,
            digest=self.trace.digest(),
            lines=self.trace.lines,
            virtual_s=round(self._time(), 3),
            real_s=round(real_s, 3),
            cpu_s=round(cpu_s, 3),
            lives=self.lives,
            deaths=dict(sorted(self.deaths.items())),
            endings=dict(sorted(self.judge.endings.items())),
            commits=self.disk.commits,
            most_rows=self.disk.most_rows,
            left_rows=self.left_rows(),
            objects=(self._objects[0], self._objects[-1]),
            latency_s={
                name: _quantile(self.judge.latencies, share)
                for name, share in (("median", 0.5), ("p95", 0.95), ("longest", 1.0))
            },
            failures=tuple(self.judge.failures),
        )


def _agent_of(person: str) -> tuple[str, bool, bool]:
    agent = AGENTS[int(person[2:]) % len(AGENTS)]
    return agent, agent in REPEATABLE, agent not in FLAKY


def _quantile(counts: Mapping[float, int], share: float) -> float:
    """The value below which a share of what was counted lies."""
    left = share * sum(counts.values())
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return value
    return 0.0


def _registry() -> Registry:
    agents = {name: Agent(id=name, label=name, transport=TRANSPORT, workspace=f"/{name}") for name in AGENTS}
    people = {f"@a{number:03}": _agent_of(f"@a{number:03}")[0] for number in range(ALPHA_PEOPLE)}
    people |= {f"@b{number:03}": _agent_of(f"@b{number:03}")[0] for number in range(BETA_PEOPLE)}
    return Registry(agents=agents, people=people, default=AGENTS[0], source=Source(file="simulation"), places={})


def simulate(
    seed: int,
    turns: int,
    *,
    weather: Weather = ROUGH,
    habits: Habits | None = None,
    away: Sequence[str] = (),
    copy: TextIO | None = None,
) -> Result:
    """Live through one world and say what came of it.

    `away` are agents that nobody reaches until the end; `copy` gets every line of the trace.
    """
    least, before, began, spent = journal_module.SEEN_LEAST, random.getstate(), time.perf_counter(), time.process_time()
    gc.collect()
    gc.freeze()
    gc.disable()  # what is collected, and when, must not depend on what the process did before
    random.seed(seed)
    journal_module.SEEN_LEAST = REMEMBERED
    try:
        world = World(seed, turns, weather=weather, habits=habits, away=away, copy=copy)
        virtual_time.run(world.main())
        return world.result(time.perf_counter() - began, time.process_time() - spent)
    finally:
        gc.enable()
        gc.unfreeze()
        random.setstate(before)
        journal_module.SEEN_LEAST = least
