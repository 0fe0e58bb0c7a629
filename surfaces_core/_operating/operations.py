"""What a running host shows of itself and lets its operators do: health, metrics and the door for their commands."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.settings import OpsSettings
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.journal import Entry, Journal
from surfaces_core._engine.peers import Peers
from surfaces_core._engine.people import People
from surfaces_core._engine.turns import Turns
from surfaces_core._operating import queue
from surfaces_core._operating.control import Door
from surfaces_core._operating.gathering import Gathering
from surfaces_core._operating.health import Health
from surfaces_core._operating.letters import Letters, Taken
from surfaces_core._operating.ops import Page, serving
from surfaces_core._operating.pages import pages
from surfaces_core._operating.pulse import Pulse
from surfaces_core._operating.queue import Waiting
from surfaces_core._operating.requests import Asked
from surfaces_core.contracts import Reconciled, Storage, Surface, Transport
from surfaces_core.events import Observed

if TYPE_CHECKING:
    from surfaces_core._operating.metrics import Metrics


class Operations:
    """The operators' side of one host."""

    def __init__(
        self,
        *,
        settings: OpsSettings | None,
        storage: Storage,
        journal: Journal,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        people: People,
        book: Book,
        deliveries: Mapping[str, Delivery],
        turns: Turns,
        held: Mapping[str, Sequence[Entry]],
        peers: Peers,
        taken: Callable[[Taken], None],
        stopping: Callable[[], bool],
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._control = storage.control
        self._journal = journal
        self._deliveries = deliveries
        self._turns = turns
        self._held = held
        self._log = log
        self._pulse = Pulse()
        self.letters = Letters(
            journal, {name: partial(getattr, surface, "device") for name, surface in surfaces.items()}
        )
        self.health = Health(
            journal=journal,
            surfaces=surfaces,
            deliveries=deliveries,
            agents_down=peers.down,
            pulse=self._pulse,
            waiting=lambda: sum(lane.depth for lane in self.inbox()),
            stopping=stopping,
            log=log,
        )
        self._gathering = Gathering(
            health=self.health,
            people=people,
            book=book,
            peers=peers,
            transports=transports,
            inbox=self.inbox,
            outbox=self.outbox,
            folder=None if self._control is None else self._control.parent,
            measured=settings is not None,
            log=log,
        )
        self.asked = self._answering(surfaces, taken)
        self._metrics = None if settings is None else self._counted()

    def _answering(self, surfaces: Mapping[str, Surface], taken: Callable[[Taken], None]) -> Asked:
        return Asked(
            journal=self._journal,
            letters=self.letters,
            lanes=lambda: [*self.inbox(), *self.outbox()],
            reasons=lambda: self.health.report().reasons,
            overview=self._gathering.overview,
            running=True,
            taken=taken,
            surfaces=surfaces,
            folder=None if self._control is None else self._control.parent,
        )

    def _counted(self) -> Metrics:
        from surfaces_core._operating.metrics import Metrics, View  # takes a while, and most never need it

        return Metrics(
            lambda: View(report=self.health.report(), inbox=self.inbox(), outbox=self.outbox(), pulse=self._pulse)
        )

    def inbox(self) -> list[Waiting]:
        """The lanes of the inbox."""
        return queue.inbox((self._turns.lanes, self._turns.urgent), self._held, self._journal.now())

    def outbox(self) -> list[Waiting]:
        """The lanes of the outbox."""
        return queue.outbox(self._deliveries.values(), self._journal.now())

    def observe(self, event: Observed) -> None:
        """Count what happened."""
        if self._metrics is not None:
            self._metrics.observe(event)

    def reconciled(self, surface: str, result: Reconciled, rooms_seen: int, skipped: Mapping[str, int]) -> None:
        """Say what came of bringing the book in step with what a messenger shows."""
        conflicts = Counter(result.conflicts.values())
        self._log.info(
            "surface.reconciled",
            surface=surface,
            rooms_seen=rooms_seen,
            restored=result.restored,
            repaired=result.repaired,
            unchanged=result.unchanged,
            skipped=dict(skipped),
            conflicts=dict(conflicts),
        )
        if self._metrics is not None:
            self._metrics.reconciled(surface, result, rooms_seen, skipped, conflicts)

    async def run(self) -> None:
        """Look at agents, measure the loop and keep the door, as far as the config wants, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gathering.looks.run())
            if self._settings is not None:
                group.create_task(self._pulse.run())
            if self._control is not None:
                group.create_task(Door(self._control, self.asked, self._log).run())

    def listening(self) -> AbstractAsyncContextManager[int | None]:
        """Answer supervisors for as long as the block lasts."""
        if self._settings is None:
            return nullcontext()
        return serving(self._settings, self.pages(), self._log)

    def pages(self) -> Mapping[str, Page]:
        """What is answered over HTTP, by path."""
        return pages(self.health, self._gathering.overview, self._metrics)
