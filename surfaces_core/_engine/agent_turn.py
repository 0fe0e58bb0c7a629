"""One turn of an agent: the question goes out, what comes back is gathered, shown and judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from surfaces_core._engine import words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.drafts import Drafts
from surfaces_core._engine.journal import Changes, Entry, Journal
from surfaces_core._engine.questions import Questions
from surfaces_core._engine.settings import HostSettings, Registry
from surfaces_core._engine.staging import Staging
from surfaces_core.contracts import Files, Shaper, Surface, Transport
from surfaces_core.errors import DriverError, Rejected, Unavailable
from surfaces_core.events import (
    Address,
    Agent,
    AgentEvent,
    AgentRequest,
    Binding,
    Confirm,
    End,
    File,
    FileRef,
    Observed,
    Outbound,
    Progress,
    Text,
    Tool,
    TurnEvent,
)

QUESTION_PART = 900
"""Part numbers from here on are questions that were asked while the turn ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Something to say; becomes one or more outbox parts."""

    text: str = ""
    file: FileRef | None = None
    notice: bool = True
    address: Address | None = None
    """Elsewhere than where the message came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an entry ended: what to say, what to store with it, and under which name it is counted."""

    says: Sequence[Say] = ()
    kind: Literal["answered", "command", "refused", "failed", "stopped", "dead", "done"] = "done"
    changes: Changes = field(default_factory=dict)
    dead: str = ""
    """A reason keeps the entry as a dead letter."""


@dataclass(slots=True)
class Gathered:
    """What came back so far."""

    pieces: list[str] = field(default_factory=list)
    files: list[Say] = field(default_factory=list)
    tokens: int = 0
    questions: int = 0
    failure: Exception | None = None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.pieces)


@dataclass(slots=True, eq=False)
class Work:
    """An entry while it is worked on."""

    entry: Entry
    """As it is stored right now."""
    task: asyncio.Task[None] | None = None
    """Listens to the agent."""
    stopped: bool = False

    def stop(self) -> None:
        """Cancel it; what came already is kept."""
        self.stopped = self.task is not None and self.task.cancel()


class AgentTurns:
    """Runs agent turns for all conversations."""

    def __init__(
        self,
        *,
        settings: HostSettings,
        journal: Journal,
        book: Book,
        staging: Staging,
        questions: Questions,
        registry: Registry,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        files: Files,
        deliveries: Mapping[str, Delivery],
        shapers: Sequence[Shaper],
        observe: Callable[[Observed], None],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._book = book
        self._staging = staging
        self._questions = questions
        self._registry = registry
        self._surfaces = surfaces
        self._transports = transports
        self._files = files
        self._deliveries = deliveries
        self._shapers = shapers
        self._observe = observe
        self.running: dict[Address, Work] = {}

    async def run(self, work: Work, binding: Binding) -> Outcome:
        """Ask the agent. Raises `Unavailable` while the agent has seen nothing of the question."""
        entry, message = work.entry, work.entry.message
        agent = self._registry.agents.get(binding.agent)
        if agent is None:
            return Outcome(says=[Say(text=words.AGENT_GONE)], kind="failed")
        transport = self._transports[agent.transport]
        if entry.interrupted and not self._ask_again(entry, transport, agent):
            return Outcome(says=[Say(text=words.INTERRUPTED)], kind="failed")
        surface = self._surfaces[message.address.surface]
        stored, lines = await self._staging.take_in(entry, surface, agent, self._settings.prefix)
        waiting = self._staging.waiting(message.address, message.sender)
        refused = [Say(text=line) for line in lines]
        if not message.text.strip():
            got = [Say(text=words.staged(stored, len(waiting)))] if stored else []
            return Outcome(says=[*got, *refused])
        request = AgentRequest(
            turn=entry.turn,
            agent=agent,
            context=binding.context,
            text=message.text,
            attachments=tuple(item.file.path for item in waiting.values()),
        )
        for shape in self._shapers:
            request = shape(request, message)
        gathered = await self._converse(work, request, transport, surface)
        if isinstance(gathered.failure, Unavailable):
            raise gathered.failure
        outcome = self._judge(work, gathered, refused)
        used = await self._book.used(message.address, gathered.tokens) if outcome.kind == "answered" else {}
        consumed = self._staging.consume(message.address, waiting)
        return Outcome(says=outcome.says, kind=outcome.kind, changes={**consumed, **used})

    def _ask_again(self, entry: Entry, transport: Transport, agent: Agent) -> bool:
        """Whether an interrupted question is put to the agent once more (spec: delivery, `on_interrupt`)."""
        policy = self._settings.on_interrupt
        if policy == "auto":
            return not entry.shown and transport.repeatable(agent)
        return policy == "retry"

    # The conversation with the agent

    async def _converse(self, work: Work, request: AgentRequest, transport: Transport, surface: Surface) -> Gathered:
        gathered = Gathered()
        address = work.entry.message.address
        drafts = self._drafts(work, surface)
        self.running[address] = work
        try:
            async with asyncio.TaskGroup() as group:
                if drafts is not None:
                    group.create_task(drafts.run())
                work.task = group.create_task(self._listen(request, transport, address, gathered, drafts))
        except ExceptionGroup as several:
            # the group is ours alone: what happened decides the next step, not how the turn is built
            raise several.exceptions[0] from several.exceptions[0].__cause__
        finally:
            del self.running[address]
        return gathered

    def _drafts(self, work: Work, surface: Surface) -> Drafts | None:
        if surface.pace is None:
            return None
        entry = work.entry

        async def before_first() -> None:
            if not work.entry.shown:
                work.entry = await self._journal.mark_shown(work.entry)

        return Drafts(
            surface=surface,
            pace=surface.pace,
            address=entry.message.address,
            turn=entry.turn,
            attempt=entry.attempts,
            before_first=before_first,
        )

    async def _listen(
        self, request: AgentRequest, transport: Transport, address: Address, gathered: Gathered, drafts: Drafts | None
    ) -> None:
        try:
            async with aclosing(transport.run(request)) as events:
                async for event in events:
                    self._observe(TurnEvent(turn=request.turn, address=address, event=event))
                    await self._take(event, request, transport, address, gathered, drafts)
        except DriverError as error:
            gathered.failure = error
        finally:
            if drafts is not None:
                drafts.close()

    async def _take(
        self,
        event: AgentEvent,
        request: AgentRequest,
        transport: Transport,
        address: Address,
        gathered: Gathered,
        drafts: Drafts | None,
    ) -> None:
        match event:
            case Text(text):
                gathered.pieces.append(text)
                if drafts is not None:
                    drafts.add(text)
            case Tool() | Progress() if drafts is not None:
                drafts.status(_status(event))
            case File():
                gathered.files.append(await self._check_file(event, request.agent))
            case Confirm():
                gathered.questions += 1
                approved = await self._confirm(event, request, address, gathered.questions)
                await transport.answer(request, event.id, approved)
            case End(tokens=tokens):
                gathered.tokens = tokens or 0
            case _:
                pass

    async def _check_file(self, event: File, agent: Agent) -> Say:
        try:
            async with await self._files.open(agent.workspace, event.path) as opened:
                return Say(text=event.caption, file=opened.ref, notice=False)
        except DriverError as error:
            return Say(text=error.public)

    async def _confirm(self, event: Confirm, request: AgentRequest, address: Address, count: int) -> bool:
        question = Outbound(
            key=f"{request.turn}.q{count}",
            turn=request.turn,
            part=QUESTION_PART + count,
            address=address,
            text=words.question(event.text, self._settings.prefix),
        )
        delivery = self._deliveries[address.surface]
        delivery.put(await self._journal.say(question))
        approved = await self._questions.ask(address, event.timeout_s)
        return bool(approved)

    # What it comes to

    def _judge(self, work: Work, gathered: Gathered, refused: Sequence[Say]) -> Outcome:
        text, failure = gathered.text, gathered.failure
        rest = [*gathered.files, *refused]
        if work.stopped:
            return Outcome(says=[_cut(text, words.STOPPED), *rest], kind="stopped")
        if isinstance(failure, Rejected):
            return Outcome(says=[_cut(text, failure.public), *rest], kind="failed")
        if text.strip():
            return Outcome(says=[Say(text=text, notice=False), *rest], kind="answered")
        if gathered.files and not work.entry.shown:
            return Outcome(says=rest, kind="answered")
        return Outcome(says=[Say(text=words.NO_ANSWER), *rest], kind="answered")


def _cut(text: str, line: str) -> Say:
    return Say(text=words.cut_off(text, line.strip("_")), notice=not text)


def _status(event: Tool | Progress) -> str:
    if isinstance(event, Tool):
        return "" if event.done or not event.name else f"using {event.name}"
    percent = f"{event.fraction:.0%}" if event.fraction is not None else ""
    return " ".join(part for part in (event.text, percent) if part)
