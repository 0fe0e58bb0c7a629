"""One turn of an agent: the question goes out, what comes back is gathered, shown and judged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import lasts, words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.doing import Doing
from surfaces_core._engine.drafts import Drafts, draft_of
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gathered import Gathered, judge
from surfaces_core._engine.history import History
from surfaces_core._engine.journal import Changes, Entry, Journal, storable
from surfaces_core._engine.peers import Peers
from surfaces_core._engine.people import People
from surfaces_core._engine.prompt import is_question, prompt
from surfaces_core._engine.questions import LONGEST_S, YES, Open, Questions
from surfaces_core._engine.staged_line import StagedLines
from surfaces_core._engine.staging import Staging, Taken, Waiting
from surfaces_core._engine.steps import stepping
from surfaces_core._engine.work import Effect, Outcome, Say, Work
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
    Said,
    Text,
    Tool,
    TurnEvent,
)

QUESTION_PARTS = 1000
"""Part numbers from here on, this many a try, are questions that were asked while the turn ran."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Talk:
    """One conversation with the agent."""

    work: Work
    request: AgentRequest
    transport: Transport
    gathered: Gathered
    drafts: Drafts | None
    doing: Doing
    group: asyncio.TaskGroup
    """Its tasks; they end with the turn."""

    @property
    def entry(self) -> Entry:
        """As it is stored right now."""
        return self.work.entry

    @property
    def address(self) -> Address:
        """Where the question came from."""
        return self.work.entry.message.address


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
        peers: Peers,
        people: People,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        files: Files,
        deliveries: Mapping[str, Delivery],
        shapers: Sequence[Shaper],
        observe: Callable[[Observed], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._book = book
        self._staging = staging
        self._staged_lines = StagedLines(journal.now, settings.prefix)
        self._questions = questions
        self._peers = peers
        self._people = people
        self._surfaces = surfaces
        self._transports = transports
        self._files = files
        self._deliveries = deliveries
        self._shapers = shapers
        self._observe = observe
        self._log = log
        self._history = History(book, surfaces, transports)
        self._showing: Counter[Address] = Counter()
        """How many turns run in a conversation, as some do in threads."""

    async def withdraw(self, entry: Entry) -> Outcome:
        """What a message comes to that its person took back: as little as possible."""
        says = [Say(text=words.STOPPED())] if entry.shown else []  # a draft that shows must become something
        return Outcome(says=says, kind="stopped", changes=await self._staging.withdraw(entry))

    async def take_back(self, redaction: Entry) -> Changes:
        """Drop the files that wait of a message that was taken back after it was done; the rows to forget."""
        message = redaction.message
        files = self._staging.brought(message.address, message.target)
        changes = self._staging.consume(message.address, files)  # whatever follows, nobody gets them
        try:
            with contained():
                await self._staging.remove(files.values())
        except Exception:  # noqa: BLE001 - what a plugin raises ends nothing here
            self._log.exception("turn.bug", turn_id=redaction.turn, kind=message.kind.value)
        return changes

    def at(self, address: Address) -> Agent | None:
        """The agent of a conversation."""
        binding = self._book.at(address)
        return None if binding is None else self._people.agents.get(binding.agent)

    def away(self, address: Address) -> bool:
        """Whether the agent of a conversation is known to be away."""
        binding = self._book.at(address)
        return binding is not None and self._peers.away(binding.agent)

    def ask(self, address: Address) -> float:
        """Seconds until a conversation's question may be put to its agent."""
        binding = self._book.at(address)
        return 0.0 if binding is None else self._peers.ask(binding.agent)

    async def stage(self, entry: Entry, binding: Binding) -> list[Say]:
        """Take in the files of a message that asks nothing of the agent; what to say about them."""
        agent = self._people.agents.get(binding.agent)
        if agent is None:
            return [Say(text=words.AGENT_GONE())]
        message = entry.message
        taken = await self._fetch(entry, agent)
        in_all = self._staging.waiting(message.address, message.sender).values()
        here = sum(file.thread == message.thread for file in in_all)
        return self._staged_lines.say(entry, taken, here=here, in_all=len(in_all))

    async def _fetch(self, entry: Entry, agent: Agent) -> Taken:
        address, files = entry.message.address, len(entry.message.attachments)
        with stepping(self._observe, "files_in", entry.turn, address, attempt=entry.attempts, files=files):
            return await self._staging.take_in(entry, self._surfaces[address.surface], agent)

    async def _take_in(self, entry: Entry, agent: Agent) -> tuple[Sequence[str], list[Say]]:
        """The names of what was stored for a question, and what to say of the rest."""
        message, taken = entry.message, await self._fetch(entry, agent)
        says = [Say(text=line) for line in taken.lines]
        if taken.surplus:
            waiting = len(self._staging.waiting(message.address, message.sender))
            says.append(Say(text=words.too_many_staged(taken.surplus, waiting, self._settings.prefix)))
        return taken.stored, says

    async def run(self, work: Work, binding: Binding) -> Outcome:
        """Ask the agent. Raises `Unavailable` while the agent has seen nothing of the question."""
        message = work.entry.message
        if not is_question(message):
            return Outcome(says=await self.stage(work.entry, binding))
        agent = self._people.agents.get(binding.agent)
        if agent is None:
            return Outcome(says=[Say(text=words.AGENT_GONE())], kind="failed")
        transport = self._transports[agent.transport]
        cut = await self._cut_short(work, transport, agent)
        if cut is not None:
            return cut
        stored: Sequence[str] = []
        refused: list[Say] = []
        if message.attachments:
            stored, refused = await self._take_in(work.entry, agent)
            if not (stored or message.text.strip()):  # a voice that could not be taken in asks nothing
                return Outcome(says=refused, kind="failed")
            work.entry = await self._journal.keep(replace(work.entry, asked=True))
        if work.stopped:
            return Outcome(says=[Say(text=words.STOPPED()), *refused], kind="stopped")
        waiting = self._staging.waiting(message.address, message.sender, message.thread)
        history = await self._history.before(message, agent)
        if not work.amendments:
            request = self._request(work.entry, binding, agent, stored, waiting, history)
            gathered = await self._ask(work, request, transport)
        if work.amendments:  # it begins anew, with the same files
            return Outcome()
        failure = gathered.failure
        if isinstance(failure, Rejected) and self._is_worth_a_repeat(work, gathered, failure, transport, agent):
            raise Unavailable(str(failure), code=failure.code, public=failure.public) from failure
        work.closed = True
        outcome = judge(work, gathered, refused, self._log)
        changes = {**lasts.row(message, _files(work.entry, waiting))}
        if outcome.kind == "answered":
            changes |= await self._book.usages.used(message.address, gathered.tokens)
        changes |= self._used(work.entry, waiting, failed=outcome.kind == "failed")
        return replace(outcome, changes=changes)

    def _used(self, entry: Entry, waiting: Mapping[bytes, Waiting], *, failed: bool) -> Changes:
        """What becomes of the files of a turn: after one that failed the person asks again, with the same files."""
        if not failed:
            return self._staging.consume(entry.message.address, waiting)
        return self._staging.put_back(entry) if entry.request else {}

    def _request(
        self,
        entry: Entry,
        binding: Binding,
        agent: Agent,
        stored: Sequence[str],
        waiting: Mapping[bytes, Waiting],
        history: tuple[Said, ...],
    ) -> AgentRequest:
        request = AgentRequest(
            turn=entry.asked_as,
            agent=agent,
            context=binding.context,
            text=prompt(entry.message, stored),
            attachments=tuple(file.path for file in _files(entry, waiting)),
            history=history,
            sender=entry.message.sender,
            conversation=entry.message.address.conversation,
        )
        for shape in self._shapers:
            request = shape(request, entry.message)
            if not isinstance(request, AgentRequest):
                raise TypeError(f"a shaper made a {type(request).__name__} of the request")
        return request

    async def _cut_short(self, work: Work, transport: Transport, agent: Agent) -> Outcome | None:
        """What a turn comes to that ended in the middle, with the host; None when the agent is asked again."""
        entry = work.entry
        if not entry.cut:
            return None
        question = self._questions.left(entry.asked_as)
        if question is None or question.passed or (question.answer and entry.request):
            again = self._ask_again(entry, transport, agent)
            return None if again else Outcome(says=[Say(text=words.INTERRUPTED())], kind="failed")
        if question.answer == YES:
            # used up before the agent hears of it, as it is good for one asking: the next cut is an interruption
            asked = not entry.message.attachments
            work.entry = await self._journal.keep(replace(entry, request=entry.asked_as, cut=False, asked=asked))
            return None
        if not question.answer and question.expires_at <= self._journal.now():
            return Outcome(says=[Say(text=words.QUESTION_LAPSED())], kind="failed")
        message = entry.message
        waiting = self._staging.waiting(message.address, message.sender, message.thread)
        effect = Effect() if question.answer else self._questions.park(question, entry, _files(entry, waiting))
        # a draft that shows must become something
        line = words.DECLINED() if question.answer else words.STILL_OPEN()
        says = [Say(text=line)] if entry.shown else []
        return Outcome(says=says, changes=self._staging.consume(message.address, waiting), effect=effect)

    def _ask_again(self, entry: Entry, transport: Transport, agent: Agent) -> bool:
        """Whether an interrupted question is put to the agent once more (spec: delivery, `on_interrupt`)."""
        policy = self._settings.on_interrupt
        if policy == "auto":
            return not entry.partly and transport.repeatable(agent)
        return policy == "retry"

    def _is_worth_a_repeat(
        self, work: Work, gathered: Gathered, failure: Rejected, transport: Transport, agent: Agent
    ) -> bool:
        """Whether a question whose connection was cut before anything came is put to the agent once more."""
        if work.stopped or not failure.interrupted or gathered.came:
            return False
        return self._ask_again(work.entry, transport, agent)

    # The conversation with the agent

    async def _ask(self, work: Work, request: AgentRequest, transport: Transport) -> Gathered:
        """Have the conversation, and tell observers how long it took. Raises like `_converse`."""
        entry = work.entry
        with stepping(
            self._observe, "ask", entry.turn, entry.message.address, attempt=entry.attempts, agent=request.agent
        ) as step:
            gathered = await self._converse(work, request, transport)
            if work.amendments or work.stopped:
                step.error = "CHANGED" if work.amendments else "STOPPED"
            elif gathered.failure is not None:
                step.error = gathered.failure.code
            if gathered.pieces:
                step.first_s = gathered.first_at - step.began
        return gathered

    async def _converse(self, work: Work, request: AgentRequest, transport: Transport) -> Gathered:
        """Gather what comes. Raises `Unavailable` while the agent has seen nothing."""
        gathered, drafts = Gathered(), self._drafts(work)
        began, address = asyncio.get_running_loop().time(), work.entry.message.address
        self._showing[address] += 1
        try:
            async with asyncio.TaskGroup() as group:
                talk = Talk(
                    work=work,
                    request=request,
                    transport=transport,
                    gathered=gathered,
                    drafts=drafts,
                    doing=Doing(self._settings.show_tools),
                    group=group,
                )
                if drafts is not None:
                    group.create_task(drafts.run())
                work.task = group.create_task(self._listen(talk))
                if drafts is not None:  # whatever ends it, be it before it has begun
                    work.task.add_done_callback(lambda _: drafts.close())
        except ExceptionGroup as several:
            # the group is ours alone: what happened decides the next step, not how the turn is built
            self._peers.ended(request.agent.id, several.exceptions[0])
            raise several.exceptions[0] from several.exceptions[0].__cause__
        finally:
            self._showing[address] -= 1
            if not self._showing[address]:
                del self._showing[address]
        if not (work.stopped or work.amendments):  # what was cut says nothing of the agent
            self._peers.ended(request.agent.id, gathered.failure)
        if isinstance(gathered.failure, Unavailable) and not gathered.heard:
            self._peers.failed(request.agent.id, work.entry.message.address, began, gathered.failure)
            raise gathered.failure
        if gathered.heard or not work.stopped:
            self._peers.reached(request.agent.id)
        return gathered

    def _drafts(self, work: Work) -> Drafts | None:
        entry, address = work.entry, work.entry.message.address
        surface = self._surfaces[address.surface]
        if surface.pace is None:
            return None

        async def before_first() -> Entry:
            if not work.entry.partly:
                work.entry = await self._journal.mark_shown(work.entry, partly=True, device=surface.device)
            return work.entry

        return Drafts(
            surface=surface,
            pace=surface.pace,
            base=draft_of(entry, self._book.asker(entry.message)),
            before_first=before_first,
            behind=lambda: self._deliveries[address.surface].behind(address),
            alone=lambda: self._showing[address] <= 1,
            log=self._log,
        )

    async def _listen(self, talk: Talk) -> None:
        try:
            with contained():
                await self._hear(talk)
            if not talk.gathered.ended:
                raise Rejected("the transport ended without saying that it is the end", public=words.CUT_OFF())
        except DriverError as error:
            talk.gathered.failure = error

    async def _hear(self, talk: Talk) -> None:
        async with aclosing(talk.transport.run(talk.request)) as events:
            async for event in events:
                if not talk.gathered.heard:
                    talk.gathered.heard = True
                    self._peers.reached(talk.request.agent.id)
                self._observe(TurnEvent(turn=talk.work.entry.turn, address=talk.address, event=event))
                await self._take(event, talk)

    async def _take(self, event: AgentEvent, talk: Talk) -> None:
        gathered, drafts = talk.gathered, talk.drafts
        match event:
            case Text(text):
                gathered.first_at = gathered.first_at or time.perf_counter()
                gathered.pieces.append(storable(text))
                if drafts is not None:
                    drafts.add(gathered.pieces[-1], talk.doing.lines())
            case Tool() | Progress() if drafts is not None:
                status = talk.doing.status(event)
                if status is not None:
                    drafts.status(status)
            case File():
                gathered.files.append(await self._check_file(event, talk))
            case Confirm():
                await self._confirm(event, talk)
            case End(tokens=tokens):
                gathered.ended, gathered.tokens = True, tokens or 0
            case _:
                pass

    async def _check_file(self, event: File, talk: Talk) -> Say:
        turn, attempt, workspace = talk.entry.turn, talk.entry.attempts, talk.request.agent.workspace
        try:
            with stepping(self._observe, "file_out", turn, talk.address, attempt=attempt, files=1):
                async with await self._files.open(workspace, event.path) as opened:
                    return Say(text=storable(event.caption), file=opened.ref, notice=False)
        except DriverError as error:
            return Say(text=error.public)

    async def _confirm(self, event: Confirm, talk: Talk) -> None:
        """Ask the person and pass the answer on. A try of its own asks anew, unless it asks what they have answered."""
        gathered, text = talk.gathered, storable(event.text)
        gathered.questions += 1
        known = self._questions.known(talk.entry.asked_as, text, gathered.asked)
        if known is None:
            approved = await self._asked(event, text, talk)
        else:
            gathered.asked.add(known.key)
            approved = known.answer == YES
        if approved is None and not gathered.notes:
            gathered.notes.append(Say(text=words.QUESTION_EXPIRED()))
        try:
            await talk.transport.answer(talk.request, event.id, bool(approved))
        except Unavailable as error:  # the agent has the question, so this is no longer a matter of later
            raise Rejected(str(error), code=error.code, public=words.CUT_OFF()) from error

    async def _asked(self, event: Confirm, text: str, talk: Talk) -> bool | None:
        """The person's answer to a question; None when they gave none in time."""
        entry, number = talk.entry, talk.gathered.questions
        surface, asker = self._surfaces[talk.address.surface], self._book.asker(entry.message)
        said = Outbound(
            key=f"{entry.turn}.q{entry.attempts}-{number}",
            turn=entry.turn,
            part=QUESTION_PARTS * entry.attempts + number,
            address=talk.address,
            text=words.question(text, self._settings.prefix),
            notice=True,
            device=surface.device,
            frozen_at=self._journal.now(),
            thread=entry.message.thread,
            reply_to=entry.message.event_id if asker else "",
            asker=asker,
        )
        question = Open(
            key=said.key,
            part=said.part,
            seq=entry.seq,
            turn=entry.turn,
            address=talk.address,
            thread=said.thread,
            person=entry.message.sender,
            text=text,
            expires_at=self._journal.now() + min(event.timeout_s or LONGEST_S, LONGEST_S),
            request=entry.asked_as,
        )
        talk.gathered.asked.add(question.key)
        with self._questions.living(question) as answer:
            # a stop must not come between storing and queueing
            await asyncio.shield(talk.group.create_task(self._say(said, question)))
            return await self._questions.wait(question, answer)

    async def _say(self, said: Outbound, question: Open) -> None:
        part = await self._journal.say(said, self._questions.asked(question))
        self._questions.remember(question)
        self._deliveries[said.address.surface].put(part)


def _files(entry: Entry, waiting: Mapping[bytes, Waiting]) -> tuple[FileRef, ...]:
    """The files of a turn: those that it had before, then those that wait."""
    files = (*entry.files, *(item.file for item in waiting.values()))
    return tuple({file.path: file for file in files}.values())
