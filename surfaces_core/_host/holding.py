"""A host that is held: its state is open and its operators are served, and nothing is taken in or sent.

No plugin is loaded but the storage: one of them may be why the host cannot live.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from surfaces_core._config.checking import together
from surfaces_core._config.config import survey
from surfaces_core._config.discovery import make
from surfaces_core._config.settings import Config
from surfaces_core._engine import log
from surfaces_core._engine.journal import Backlog, Journal
from surfaces_core._host.ending import LAST_S, Deadline
from surfaces_core._host.host import announce
from surfaces_core._host.notify import beating, tell
from surfaces_core._operating.control import Door
from surfaces_core._operating.gathering import gathered
from surfaces_core._operating.health import Health
from surfaces_core._operating.letters import Letters, Taken
from surfaces_core._operating.ops import Page, serving
from surfaces_core._operating.overview import Standing, overview
from surfaces_core._operating.pages import pages
from surfaces_core._operating.pulse import Pulse
from surfaces_core._operating.queue import Waiting, stored
from surfaces_core._operating.requests import Asked
from surfaces_core._operating.watchdog import watching
from surfaces_core.contracts import Context, Storage

NEEDED = ("storage", "host", "ops")
"""Sections of a config that must be right; what is wrong with another may be the reason."""


def load(path: Path) -> Config:
    """A config, as far as it matters here. Raises `ConfigError`."""
    config, problems = survey(path, needed=NEEDED)
    grave = [problem for problem in problems if not config.storage.use or problem.where.split(".")[0] in NEEDED]
    if grave:
        raise together(grave)
    return config


class HeldHost:
    """What a held host knows and tells."""

    def __init__(self, storage: Storage, journal: Journal, backlog: Backlog, config: Config, reason: str) -> None:
        self._journal = journal
        self._started_at = time.time()
        self._entries, self._parts = list(backlog.entries), list(backlog.parts)
        self._pulse = Pulse()
        self.health = Health(
            journal=journal,
            surfaces={},
            deliveries={},
            agents_down={},
            pulse=self._pulse,
            waiting=lambda: len(self._entries),
            stopping=lambda: False,
            log=log.logger(),
            held=reason,
        )
        self.asked = Asked(
            journal=journal,
            letters=Letters(journal, dict.fromkeys(config.surfaces, lambda: "")),
            lanes=self._lanes,
            reasons=lambda: self.health.report().reasons,
            running=True,
            overview=self.overview,
            taken=self._taken,
            folder=None if storage.control is None else storage.control.parent,
        )

    async def overview(self) -> Standing:
        """The whole of it on one page."""
        await self.health.probe()
        lanes = self._lanes()
        return overview(
            gathered(
                health=self.health,
                inbox=_of("in", lanes),
                outbox=_of("out", lanes),
                folder=self.asked.folder,
                started_at=self._started_at,
                measured=True,
                agents={},
            )
        )

    def _lanes(self) -> list[Waiting]:
        return stored(Backlog(entries=self._entries, parts=self._parts), self._journal.now())

    def _taken(self, taken: Taken) -> None:
        """It waits with the others."""
        if taken.entry is not None:
            self._entries.append(taken.entry)
        if taken.part is not None:
            self._parts.append(taken.part)

    def pages(self) -> Mapping[str, Page]:
        """What is answered over HTTP, by path."""
        from surfaces_core._operating.metrics import Metrics, View  # takes a while, and most never need it

        def view() -> View:
            lanes = self._lanes()
            report = self.health.report()
            return View(report=report, inbox=_of("in", lanes), outbox=_of("out", lanes), pulse=self._pulse)

        return pages(self.health, self.overview, Metrics(view))

    async def run(self, door: Path | None, stop: asyncio.Event) -> None:
        """Serve operators until it is asked to end."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._pulse.run())]
            if door is not None:
                tasks.append(group.create_task(Door(door, self.asked, log.logger()).run()))
            await stop.wait()
            for task in tasks:
                task.cancel()


def _of(box: str, lanes: Sequence[Waiting]) -> list[Waiting]:
    return [lane for lane in lanes if lane.box == box]


async def hold(config: Config, reason: str, deadline: Deadline) -> None:
    """Hold a state until a signal asks to stop. Raises what ended it."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def asked() -> None:
        tell("STOPPING=1")
        deadline.within(LAST_S)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    deadline.loop = loop
    context = Context(name="storage", log=log.logger(instance="storage"))
    storage = make("surfaces.storage", Storage, config.storage, context)
    journal = Journal(storage, lease_s=config.host.lease_s)
    async with AsyncExitStack() as stack:
        stack.enter_context(watching(log.logger()))
        stack.enter_context(beating(loop, lambda: f"Held: {reason}"))
        await stack.enter_async_context(storage)
        backlog = await journal.open()
        await stack.enter_async_context(journal.lease.kept(partial(deadline.within, LAST_S)))
        host = HeldHost(storage, journal, backlog, config, reason)
        if config.ops is not None:
            await stack.enter_async_context(serving(config.ops, host.pages(), log.logger()))
        log.logger().warning("host.held", reason=reason, entries=len(backlog.entries), parts=len(backlog.parts))
        announce({"reason": reason, "pid": os.getpid()}, "HELD")
        await host.run(storage.control, stop)
    log.logger().info("host.closed")
