"""Who lives how long: drivers in one exit stack, tasks in nested groups, and the order of shutdown.

    storage ⊃ files ⊃ transports ⊃ surfaces          opened in this order, closed in the other
      delivery ⊃ turns ⊃ sources                     sources end first, delivery last

Leaving the blocks is the order of shutdown: nothing new comes in, running turns get their grace,
what they said is sent if it can be, everything else is in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.discovery import HOOKS, Hooks, Offer
from surfaces_core._config.settings import HostSettings, OpsSettings, PushSettings, PushToken, Registry
from surfaces_core._engine import choosing, forgetting, lasts
from surfaces_core._engine.agent_turn import AgentTurns
from surfaces_core._engine.calls import Calls
from surfaces_core._engine.coming import Comings
from surfaces_core._engine.consults import Consults
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.desk import Doors
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gate import Gate, backoff
from surfaces_core._engine.handling import Handling
from surfaces_core._engine.history import History
from surfaces_core._engine.inlet import Push, Refused, taking
from surfaces_core._engine.journal import Changes, Entry, Journal
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.moves import Moves
from surfaces_core._engine.peers import Peers
from surfaces_core._engine.people import People
from surfaces_core._engine.points import Points
from surfaces_core._engine.pushes import Pushes
from surfaces_core._engine.questions import Questions
from surfaces_core._engine.redaction import Content
from surfaces_core._engine.snapshots import Snapshots
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.staging import Staging
from surfaces_core._engine.turns import Turns
from surfaces_core._host.intake import SurfaceIntake
from surfaces_core._host.reloading import Reloading
from surfaces_core._operating.letters import Taken
from surfaces_core._operating.operations import Operations
from surfaces_core._operating.status import status
from surfaces_core.contracts import Files, Section, Storage, Surface, Transport
from surfaces_core.errors import Unavailable
from surfaces_core.events import Accepted, Address, Inbound, Observed, Outbound
from surfaces_core.i18n import language

CHOOSING = Offer(group=HOOKS, name="choosing", value=choosing.__name__, distribution="surfaces-core", version="")
DEAF_S = 1.0
"""How long what is cut short may take to end."""
DRAIN_S = 5.0
"""How long a stopping host tries to send what is said already."""
PRUNE_EVERY_S = 3600.0
JUMP_S = 300.0
LONGEST_WAIT_S = 300.0
"""A messenger that asks a surface to stay away for longer is tried again all the same."""
STEADY_S = 60.0
"""A surface that ran this long starts again without a growing wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """The drivers that the host runs, not opened yet."""

    storage: Storage
    files: Files
    transports: Mapping[str, Transport]
    surfaces: Mapping[str, Surface]


@dataclass(kw_only=True)
class Engine:
    """One host, from opening its drivers to closing them."""

    drivers: Drivers
    journal: Journal
    settings: HostSettings
    registry: Registry
    hooks: Hooks
    languages: Languages
    log: FilteringBoundLogger
    ops: OpsSettings | None = None
    reloading: Reloading | None = None
    """Looks after changes of the registry."""
    push: PushSettings | None = None
    on_ready: Callable[[], None] = lambda: None
    on_failure: Callable[[BaseException], None] = lambda error: None
    """Told what ends the host before everything else has ended, which plugins may keep it from."""
    on_registry: Callable[[Registry], None] = lambda registry: None
    """Told what was taken up while the host runs."""
    book: Book = field(init=False)
    people: People = field(init=False)
    moves: Moves = field(init=False)
    staging: Staging = field(init=False)
    questions: Questions = field(init=False)
    pushes: Pushes = field(init=False)
    peers: Peers = field(init=False)
    calls: Calls = field(init=False)
    turns: Turns = field(init=False)
    deliveries: dict[str, Delivery] = field(init=False)
    operations: Operations = field(init=False)

    def __post_init__(self) -> None:
        self._stop = asyncio.Event()
        self._broken_observers: set[str] = set()
        self._held: dict[str, list[Entry]] = {}
        """Entries of an earlier life that wait until their surface has said what its rooms show."""
        self._released: set[str] = set()
        """Surfaces that have said it."""
        self._accepting = {name: asyncio.Lock() for name in self.drivers.surfaces}
        self.opened = False
        self.push_port = 0
        """Where pushes are taken."""
        self._assemble()

    def _assemble(self) -> None:
        """Make the parts, those that others are handed first."""
        self._know()
        self.deliveries = {name: self._delivery(name, surface) for name, surface in self.drivers.surfaces.items()}
        self.calls = calls = Calls(self.settings, self.book, self.hooks)
        self.turns = self._working(calls)
        self.turns.lanes.on_failure = self.turns.urgent.on_failure = self._fail
        for delivery in self.deliveries.values():
            delivery.lanes.on_failure = self._fail
        self.peers.waiting, self.peers.wake = self.turns.waiting_for, self.turns.lanes.wake
        calls.doors = self._doors(calls)
        self.operations = Operations(
            settings=self.ops,
            storage=self.drivers.storage,
            journal=self.journal,
            surfaces=self.drivers.surfaces,
            transports=self.drivers.transports,
            people=self.people,
            book=self.book,
            deliveries=self.deliveries,
            turns=self.turns,
            held=self._held,
            peers=self.peers,
            taken=self._taken,
            stopping=lambda: self.stopping,
            log=self.log,
        )

    def _know(self) -> None:
        """What is known of people, conversations and questions, and the commands there are."""
        surfaces, transports, journal = self.drivers.surfaces, self.drivers.transports, self.journal
        if self.settings.agent_choice != "fixed":
            self.hooks.add(CHOOSING, choosing)
        for name, surface in surfaces.items():
            self.hooks.add_own(name, surface.commands())
        self.questions = Questions(journal)
        self.questions.say = self._say
        self.questions.speak = self._speak
        self.staging = Staging(journal, self.drivers.files)
        self.people = People(journal, self.registry, self.settings.agent_choice)
        self.book = Book(journal, surfaces, transports, self.people, self.settings.contact)
        self.pushes = Pushes(journal, self.book)
        self.pushes.say = self._say
        self.moves = Moves(journal, self.people, self.book, self.settings.contact)
        self.peers = Peers(self.people, transports, self.log)

    def _delivery(self, name: str, surface: Surface) -> Delivery:
        return Delivery(
            name=name,
            surface=surface,
            journal=self.journal,
            observe=self.observe,
            speak=self._speak,
            gate=Gate(),
            log=self.log,
            shown=self.questions.shown,
        )

    def _working(self, calls: Calls) -> Turns:
        """What works on the inbox."""
        agents = AgentTurns(
            settings=self.settings,
            journal=self.journal,
            book=self.book,
            staging=self.staging,
            questions=self.questions,
            peers=self.peers,
            people=self.people,
            surfaces=self.drivers.surfaces,
            transports=self.drivers.transports,
            files=self.drivers.files,
            deliveries=self.deliveries,
            shapers=self.hooks.shapers,
            observe=self.observe,
            log=self.log,
        )
        prefix, surfaces = self.settings.prefix, self.drivers.surfaces
        handling = Handling(
            prefix=prefix,
            book=self.book,
            moves=self.moves,
            comings=Comings(
                prefix=prefix, book=self.book, calls=calls, moves=self.moves, surfaces=surfaces, log=self.log
            ),
            agents=agents,
            calls=calls,
            questions=self.questions,
            pushes=self.pushes,
            hooks=self.hooks,
            surfaces=surfaces,
        )
        return Turns(
            settings=self.settings,
            journal=self.journal,
            book=self.book,
            languages=self.languages,
            agents=agents,
            calls=calls,
            questions=self.questions,
            handling=handling,
            surfaces=surfaces,
            deliveries=self.deliveries,
            observe=self.observe,
            log=self.log,
        )

    def _doors(self, calls: Calls) -> Doors:
        """What commands can do."""
        snapshots = Snapshots(
            settings=self.settings,
            people=self.people,
            surfaces=self.drivers.surfaces,
            transports=self.drivers.transports,
            staging=self.staging,
            max_staged=self.drivers.files.max_staged,
            log=self.log,
        )
        consults = Consults(
            agents=lambda agent: self.people.agents.get(agent),
            surfaces=self.drivers.surfaces,
            transports=self.drivers.transports,
            shapers=self.hooks.shapers,
            history=History(self.book, self.drivers.surfaces, self.drivers.transports),
            log=self.log,
        )
        return Doors(
            book=self.book,
            languages=self.languages,
            people=self.people,
            moves=self.moves,
            regroup=self.settle,
            settings=snapshots.of,
            status=self._status,
            staging=self.staging,
            questions=self.questions,
            commands=self.hooks.at,
            may_use=calls.may_use,
            stop=self.turns.stop,
            behind=self.turns.behind,
            agent_label=self._agent_label,
            now=self.journal.now,
            asking=self.turns.asking,
            retry=partial(lasts.again, self.journal),
            consults=consults,
            points=Points(self.journal, self.settings.save_prompt, self.settings.load_prompt),
            prefix=self.settings.prefix,
        )

    def _speak(self, address: Address) -> None:
        self.languages.speak_at(address, self.book.at(address))

    async def _say(self, message: Outbound, changes: Changes) -> None:
        """Store something to say together with rows, and send it."""
        surface = self.drivers.surfaces.get(message.address.surface)
        if surface is None:
            await self.journal.write(changes)
            return
        frozen = replace(message, device=surface.device, frozen_at=self.journal.now())
        self.deliveries[message.address.surface].put(await self.journal.say(frozen, changes))

    def _status(self) -> Sequence[Section]:
        told = self.operations
        return status(told.health.report(), told.inbox(), told.outbox(), self.journal.dead)

    def _fail(self, error: BaseException) -> None:
        self.on_failure(error)

    def _agent_label(self, agent: str) -> str:
        known = self.people.agents.get(agent)
        return known.label if known else agent

    def observe(self, event: Observed) -> None:
        """Show an event to every observer; a bug in one is logged once and changes nothing."""
        self.operations.observe(event)
        for impl in self.hooks.manager.hook.surfaces_observe.get_hookimpls():
            try:
                with contained():
                    impl.function(event)
            except Exception:
                if impl.plugin_name not in self._broken_observers:
                    self._broken_observers.add(impl.plugin_name)
                    self.log.exception("observer.bug", plugin=impl.plugin_name)

    def stop(self) -> None:
        """Ask the host to end; `run` returns when it has."""
        self._stop.set()

    @property
    def longest_stop_s(self) -> float:
        """How long a host that was asked to end may take."""
        grace_s = self.settings.shutdown_grace_s
        return grace_s + DEAF_S + min(DRAIN_S, grace_s)

    @property
    def stopping(self) -> bool:
        """It was asked to end."""
        return self._stop.is_set()

    async def run(self) -> None:
        """Open everything, work until `stop`, close everything. Raises what ended it."""
        language.set(self.settings.locale)
        async with AsyncExitStack() as stack:
            for companion in self.hooks.companions:
                with contained():
                    await stack.enter_async_context(companion())
            await stack.enter_async_context(self.drivers.storage)
            backlog = await self.journal.open()
            await stack.enter_async_context(self.journal.lease.kept(self.on_failure))
            await self.book.open({entry.turn for entry in backlog.entries})
            await self.staging.open()
            await self.languages.open()
            await self.pushes.open()
            await self.questions.open({entry.turn for entry in backlog.entries})
            await self.people.open()
            for driver in (self.drivers.files, *self.drivers.transports.values(), *self.drivers.surfaces.values()):
                await stack.enter_async_context(driver)
            for part in backlog.parts:
                if part.outbound.address.surface in self.deliveries:
                    self.deliveries[part.outbound.address.surface].put(part)
            for entry in backlog.entries:
                self._held.setdefault(entry.message.address.surface, []).append(entry)
            for name, surface in self.drivers.surfaces.items():
                if surface.conversations is None:  # the others first say what their rooms show
                    await self.settle(name)
                    self.release(name)
            self.opened = True
            await stack.enter_async_context(self.operations.listening())
            if self.push is not None:
                self.push_port = await stack.enter_async_context(taking(self.push, self.take_push, self.log))
            self.log.info("host.open", entries=len(backlog.entries), parts=len(backlog.parts))
            await self._deliver()
            self.log.info("host.closed")

    async def _deliver(self) -> None:
        deliveries = self.deliveries.values()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(delivery.lanes.run()) for delivery in deliveries]
            tasks.append(group.create_task(self.operations.run()))
            await self._turn()
            try:
                async with asyncio.timeout(min(DRAIN_S, self.settings.shutdown_grace_s)):
                    for delivery in deliveries:
                        await delivery.lanes.drained()
            except TimeoutError:
                self.log.warning("host.unsent", parts=sum(len(delivery.lanes) for delivery in deliveries))
            for task in tasks:
                task.cancel()

    async def _turn(self) -> None:
        async with asyncio.TaskGroup() as group:
            turning = group.create_task(self.turns.run())
            aside = [
                group.create_task(self.peers.run()),
                group.create_task(self.questions.run()),
                group.create_task(self.pushes.run()),
            ]
            try:
                await self._receive()
            except BaseException as error:
                if not isinstance(error, asyncio.CancelledError):  # then somebody else knows the reason
                    self.on_failure(error)
                raise
            self.turns.end()
            await asyncio.wait({turning}, timeout=self.settings.shutdown_grace_s)
            self.turns.abandon()
            for task in aside:
                task.cancel()
            await asyncio.wait({turning}, timeout=DEAF_S)
            await self.turns.leave()

    async def _receive(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._source(name)) for name in self.drivers.surfaces]
            tasks.append(group.create_task(self._housekeep()))
            if self.reloading is not None:
                tasks.append(group.create_task(self.reloading.run(self.reload, self.operations.health.registry)))
            await self._stop.wait()
            self.log.info("host.stopping")
            for accepting in self._accepting.values():
                await accepting.acquire()  # what is being stored is also taken up
            for task in tasks:
                task.cancel()

    async def _source(self, name: str) -> None:
        surface = self.drivers.surfaces[name]
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            begun = loop.time()
            try:
                with contained():
                    await surface.run(SurfaceIntake(self, name))
            except Unavailable as error:
                tries = 1 if loop.time() - begun > STEADY_S else tries + 1
                self.operations.health.lost(name, error)
                wait = 0.5 + backoff(tries, base_s=1.0, cap_s=8.0)
                await asyncio.sleep(max(wait, min(error.retry_after or 0.0, LONGEST_WAIT_S)))
            else:
                raise RuntimeError(f"surface {name} stopped receiving without a reason")

    async def _housekeep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wall, began = self.journal.now(), loop.time()
            await asyncio.sleep(PRUNE_EVERY_S)
            jumped_s = self.journal.now() - wall - (loop.time() - began)
            if abs(jumped_s) > JUMP_S:  # what is old by such a clock may be from today
                self.log.warning("clock.jumped", seconds=round(jumped_s))
                continue
            pruned = await forgetting.prune(self.journal, self.settings.keep_done_s)
            self.log.debug("journal.pruned", events=pruned)
            dropped = await self.operations.letters.prune(self.settings.keep_dead_s)
            if dropped:
                self.log.info("letters.pruned", letters=dropped)

    async def take_in(self, name: str, batch: Sequence[Inbound], cursor: str | None) -> int:
        """Store a batch, then queue it; how much of it was new."""
        async with self._accepting[name]:
            entries = await self.journal.accept(name, batch, cursor, self.turns.admission())
            for entry in entries:
                self.turns.put(entry)
                self._log_accepted(entry)
                self.observe(Accepted(message=entry.message, turn=entry.turn))
        return len(entries)

    def _log_accepted(self, entry: Entry) -> None:
        message = entry.message
        files = Content([file.name for file in message.attachments])
        where, kind = message.address, message.kind.value
        self.log.info(
            "turn.accepted",
            turn_id=entry.turn,
            surface=where.surface,
            conversation=where.conversation,
            kind=kind,
            text=Content(message.text),
            files=files,
        )

    async def take_push(self, name: str, token: PushToken, push: Push) -> bool:
        """Store what an agent says by itself, then queue it; False where it is known. Raises `Refused`."""
        message = await self.pushes.inbound(name, token.agents, push)
        surface = message.address.surface
        if self.stopping or surface not in self._released:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "not now", Retry_After="5")
        if self.turns.lanes.depth(Spot.of(message)) >= self.settings.max_lane_depth:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too much waits in that conversation", Retry_After="5")
        new = await self.take_in(surface, [message], None)
        self.log.info("push.taken", token=name, kind=push.kind, new=bool(new))
        return bool(new)

    async def settle(self, name: str, owner: str | None = None) -> None:
        """Have the conversations of a surface that are not with their agents moved."""
        for entry in await self.moves.due(name, owner):
            self._queue(entry)

    async def reload(self, registry: Registry) -> None:
        """Take another registry, and bring people's conversations to the agents that they have now."""
        self.people.replace(registry)
        self.on_registry(registry)
        for name in list(self._released):
            await self.settle(name)

    def release(self, name: str) -> None:
        """Begin with what a surface left over from an earlier life; once."""
        self._released.add(name)
        for entry in self._held.pop(name, ()):
            self.turns.put(entry)

    def surface_ready(self, name: str) -> None:
        """A surface has had an exchange with its messenger."""
        if self.operations.health.exchanged(name):
            self.on_ready()

    def _taken(self, taken: Taken) -> None:
        """Queue what came back from the dead letters."""
        if taken.part is not None:
            self.deliveries[taken.part.outbound.address.surface].put(taken.part)
        if taken.entry is not None:
            self._queue(taken.entry)

    def _queue(self, entry: Entry) -> None:
        surface = entry.message.address.surface
        if surface in self._released:
            self.turns.put(entry)
        else:
            self._held.setdefault(surface, []).append(entry)
