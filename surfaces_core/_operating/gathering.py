"""Gathers what an overview is made of: finds out what may have changed, and asks the parts for the rest."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.conversations import Book
from surfaces_core._engine.peers import Peers, Record
from surfaces_core._engine.people import People
from surfaces_core._operating.health import Health
from surfaces_core._operating.looks import Looks
from surfaces_core._operating.overview import AgentFacts, Facts, Standing, overview
from surfaces_core._operating.queue import Waiting
from surfaces_core.contracts import Transport
from surfaces_core.events import Address


def gathered(
    *,
    health: Health,
    inbox: Sequence[Waiting],
    outbox: Sequence[Waiting],
    folder: Path | None,
    started_at: float,
    measured: bool,
    agents: Mapping[str, AgentFacts],
) -> Facts:
    """All that a verdict is made of, at this moment; `folder` is where the state is."""
    return Facts(
        now=time.time(),
        started_at=started_at,
        version=version("surfaces-core"),
        report=health.report(),
        inbox=inbox,
        outbox=outbox,
        agents=agents,
        free_mib=None if folder is None else _free_mib(folder),
        resident_mib=_resident_mib(),
        measured=measured,
    )


class Gathering:
    """What is behind the page of one host."""

    def __init__(
        self,
        *,
        health: Health,
        people: People,
        book: Book,
        peers: Peers,
        transports: Mapping[str, Transport],
        inbox: Callable[[], Sequence[Waiting]],
        outbox: Callable[[], Sequence[Waiting]],
        folder: Path | None,
        measured: bool,
        log: FilteringBoundLogger,
    ) -> None:
        self._health = health
        self._people = people
        self._book = book
        self._peers = peers
        self._inbox = inbox
        self._outbox = outbox
        self._folder = folder
        self._measured = measured
        self._started_at = time.time()
        self.looks = Looks(people, transports, peers, log)

    async def overview(self) -> Standing:
        """How the host is at this moment."""
        used = self._used()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._health.probe())
            group.create_task(self.looks.freshen(used))
        inbox = self._inbox()
        facts = gathered(
            health=self._health,
            inbox=inbox,
            outbox=self._outbox(),
            folder=self._folder,
            started_at=self._started_at,
            measured=self._measured,
            agents=self._agents(used, inbox),
        )
        return overview(facts)

    def _used(self) -> set[str]:
        """Agents that people have."""
        registry = self._people.registry
        named = {binding.agent for binding in self._book.all_live()} | set(registry.people.values())
        return (named | ({registry.default} if registry.default else set())) & set(registry.agents)

    def _agents(self, used: set[str], inbox: Sequence[Waiting]) -> Mapping[str, AgentFacts]:
        lanes: dict[str, list[Waiting]] = {agent: [] for agent in used}
        for lane in inbox:
            binding = self._book.at(Address(surface=lane.surface, conversation=lane.conversation))
            if binding is not None and binding.agent in lanes:
                lanes[binding.agent].append(lane)
        return {
            agent: AgentFacts(
                record=self._peers.records.get(agent, Record()),
                down=self._peers.down.get(agent),
                look=self.looks.found.get(agent),
                lanes=of_it,
            )
            for agent, of_it in lanes.items()
        }


def _free_mib(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free >> 20
    except OSError:
        return None


def _resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20
