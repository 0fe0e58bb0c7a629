"""The lives of the simulated host, one after the other: how each is made, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from typing import Literal

from proof.simulation import host
from proof.simulation.agents import TRANSPORT, SimulatedTransport
from proof.simulation.disk import SimulatedStorage
from proof.simulation.files import SimulatedFiles
from proof.simulation.host import ENDLESS, Fate
from proof.simulation.life import Life
from proof.simulation.stage import Stage, registry
from proof.simulation.surface import SimulatedSurface
from proof.simulation.trace import HOST
from proof.simulation.verdicts import MAX_TRIES
from proof.simulation.weather import CALM, stream
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.store import InstanceStore
from surfaces_core._host.lifecycle import Drivers, Engine
from surfaces_core.contracts import Pace, Surface, SurfaceContext
from surfaces_core.errors import StateError

Policy = Literal["auto", "retry", "notify"]
"""What the host does about questions that were interrupted."""
PACE = Pace(typing_after_s=0.3, first_s=0.5, first_chars=10, interval_s=1.0, budget=5)
LANE_DEPTH = 12
SIDE_BY_SIDE = 32
KEPT_S = 600.0
"""How long the host remembers events, and keeps dead letters."""
STOPPED_AFTER_S = 120.0
"""A host that is asked to stop has stopped then, whatever hangs."""
TIDY_EVERY = 16
"""Lives whose rests are collected together."""


class Lives:
    """All lives on one stage."""

    def __init__(self, stage: Stage, policy: Policy) -> None:
        self.count = 0
        self.deaths: Counter[str] = Counter()
        """How lives ended."""
        self.spared = stage.weather is CALM
        """The next life ends only when somebody ends it."""
        self.closing = False
        """The next life is the last."""
        self.life: Life | None = None
        """The present one."""
        self._stage = stage
        self._policy = policy
        self._engine: Engine | None = None
        self._hooks = host.hooks()
        self._registry = registry()
        self._chance = stream(stage.seed, "host")

    async def run(self) -> None:
        """Live on and on, until the last life is over."""
        while not self.closing:
            await self._live(self._fate())
            await asyncio.sleep(self._chance.choice([0.1, 1.0, 5.0]))
        await self._live(ENDLESS)

    def _fate(self) -> Fate:
        return ENDLESS if self.spared else host.fate(self._chance, self._stage.weather.mortality)

    def kill(self, why: str) -> None:
        """End the present life."""
        if self.life is not None:
            self.life.kill(why)

    def stop(self) -> None:
        """Ask the present life to end."""
        if self._engine is not None:
            self._engine.stop()

    async def _live(self, fate: Fate) -> None:
        self.count += 1
        life = self.life = Life(self.count, steps=fate.steps, only=fate.only, died=self._died)
        self._stage.trace.line(HOST, f"life {life.number} begins")
        engine = self._engine = self._build(life, fate)
        async with asyncio.TaskGroup() as group:
            life.task = group.create_task(self._run(life, engine))
            ender = group.create_task(self._meet(fate, life, engine))
            await asyncio.wait({life.task})
            ender.cancel()
        self.life = None
        self._check_tasks()
        if self.count % TIDY_EVERY == 0:
            gc.collect()

    def _died(self, where: str) -> None:
        self._stage.trace.line(HOST, f"dies: {where}")

    async def _run(self, life: Life, engine: Engine) -> None:
        how, judge, disk = "stopped", self._stage.judge, self._stage.disk
        try:
            await engine.run()
            if not engine.stopping:
                judge.fail("bug", HOST, "the host ended without being asked to")
        except asyncio.CancelledError:
            how = "killed" if life.dead else "cancelled"
        except BaseException as error:  # noqa: BLE001 - whatever ends a host is looked at here
            how = "killed" if life.dead else "failed"
            if not life.dead and not (life.failed and host.is_only(error, StateError)):
                judge.fail("bug", HOST, f"the host died: {host.described(error)}")
        life.dead = True
        self.deaths[how] += 1
        judge.ended(disk.entries(b'"state":"running"'), disk.entries(b'"cut":true'))
        self._stage.trace.line(HOST, f"life {life.number} is over: {how}")

    async def _meet(self, fate: Fate, life: Life, engine: Engine) -> None:
        """Do to a life what its fate has for it, unless it ends before."""
        if fate.after_s is None:
            return
        await asyncio.sleep(fate.after_s)
        if not fate.stop:
            life.kill("at some moment")
            return
        self._stage.trace.line(HOST, "is asked to stop")
        engine.stop()
        if fate.then_s is not None:
            await asyncio.sleep(fate.then_s)
            self._insist(fate, life)
        await asyncio.sleep(STOPPED_AFTER_S)
        self._stage.judge.fail("stuck", HOST, f"the host still runs {STOPPED_AFTER_S} s after it was asked to stop")

    def _insist(self, fate: Fate, life: Life) -> None:
        """It takes too long to stop."""
        if not fate.twice:
            life.kill("while it stops")
        elif life.task is not None:
            self._stage.trace.line(HOST, "is asked again")
            life.task.cancel()

    def _check_tasks(self) -> None:
        """Nothing of a life that is over still runs."""
        for task in asyncio.all_tasks():
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and "surfaces_core/_" in code.co_filename:
                self._stage.judge.fail("grown", HOST, f"a task is left: {code.co_qualname}")

    # One life

    def _build(self, life: Life, fate: Fate) -> Engine:
        stage = self._stage
        storage = SimulatedStorage(stage.disk, life, stage.weather_now, self._stream("disk"), stage.trace)
        files = SimulatedFiles(stage.files, life, stage.judge, stage.weather_now, self._stream("files"))
        transport = SimulatedTransport(stage.agents, life, stage.weather_now, self._stream("agents"))
        journal = Journal(storage, stage.clock)
        log = host.logger(stage.judge, stage.trace, life)
        surfaces: dict[str, Surface] = {}
        for name in stage.messengers:
            context = SurfaceContext(name=name, log=log, store=InstanceStore(journal, name), files=files)
            surfaces[name] = self._surface(context, life)
        return Engine(
            drivers=Drivers(storage=storage, files=files, transports={TRANSPORT: transport}, surfaces=surfaces),
            journal=journal,
            settings=self._settings(fate),
            registry=self._registry,
            hooks=self._hooks,
            languages=Languages(journal, "en"),
            log=log,
        )

    def _surface(self, context: SurfaceContext, life: Life) -> SimulatedSurface:
        """One surface has rooms and drafts, the other has neither."""
        rich = context.name == "alpha"
        return SimulatedSurface(
            self._stage.messengers[context.name],
            context,
            life,
            self._stage.weather_now,
            self._stream(context.name),
            rooms=rich,
            pace=PACE if rich else None,
        )

    def _settings(self, fate: Fate) -> HostSettings:
        return HostSettings(
            max_concurrent_turns=SIDE_BY_SIDE,
            max_lane_depth=LANE_DEPTH,
            on_interrupt=self._policy,
            max_tries=MAX_TRIES,
            keep_done_s=KEPT_S,
            keep_dead_s=KEPT_S,
            shutdown_grace_s=fate.grace_s,
        )

    def _stream(self, name: str) -> random.Random:
        return stream(self._stage.seed, f"life {self.count}/{name}")
