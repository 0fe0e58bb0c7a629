"""The public door for commands: what a `Command`'s handler can do, for its person and conversation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from surfaces_core._engine import words
from surfaces_core._engine.consults import Consults
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.journal import Entry, turn_id
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.moves import Moves
from surfaces_core._engine.people import People
from surfaces_core._engine.points import Points
from surfaces_core._engine.questions import NO, YES, Open, Questions
from surfaces_core._engine.staging import Staging
from surfaces_core._engine.work import Effect, together
from surfaces_core.contracts import Command, Overview, Question, SavePoint, Section, Staged
from surfaces_core.errors import CommandError
from surfaces_core.events import Agent, Binding, Inbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What desks lead to, the same for all of them."""

    book: Book
    languages: Languages
    people: People
    moves: Moves
    regroup: Callable[[str, str], Awaitable[None]]
    """Has a person's conversations at a surface brought to their agents."""
    settings: Callable[[Inbound, Binding | None], Awaitable[Sequence[Section]]]
    status: Callable[[], Sequence[Section]]
    staging: Staging
    questions: Questions
    commands: Callable[[str], Mapping[str, Command]]
    """Those at a surface, by name and alias."""
    may_use: Callable[[Command, str, Binding | None], bool]
    stop: Callable[[Inbound], bool]
    behind: Callable[[Inbound], int]
    """How many messages wait in a conversation."""
    agent_label: Callable[[str], str]
    now: Callable[[], float]
    """Unix seconds."""
    asking: Callable[[Inbound], bool]
    """Whether a question to the agent waits or runs in a conversation."""
    retry: Callable[[Entry], Awaitable[Entry | None]]
    """The last question of whoever asks for it."""
    consults: Consults
    points: Points
    prefix: str


class DeskAt:
    """The desk for one call."""

    def __init__(self, doors: Doors, entry: Entry, binding: Binding | None, command: str = "") -> None:
        self._doors = doors
        self._entry = entry
        self._message = entry.message
        self._binding = binding
        self._command = command
        self._consulted = 0
        self._deferred: list[Callable[[], Effect]] = []
        """What comes to pass with the end of the call."""
        self.cause = entry.turn
        """Names what is done here, alike when it is done again."""

    def effect(self) -> Effect:
        """What the call comes to beside what it says; ask once, when it has gone well."""
        return together([make() for make in self._deferred])

    def _here(self) -> Binding:
        if self._binding is None:
            raise CommandError(words.NEEDS_CONVERSATION(prefix=self._doors.prefix))
        return self._doors.book.at(self._binding.address) or self._binding

    async def _overview(self, binding: Binding) -> Overview:
        usage = await self._doors.book.usages.of(binding.address)
        here = self._binding is not None and binding.address == self._binding.address
        waiting = self._doors.questions.waiting(self._message)
        return Overview(
            binding=binding,
            agent_label=self._doors.agent_label(binding.agent),
            messages=usage.messages,
            tokens=usage.tokens,
            staged=len(self._doors.staging.listed(binding.address, self._message.sender)),
            waiting=self._doors.behind(self._message) if here else 0,
            last_active=usage.last_active or binding.created_at,
            question=waiting[0].text if here and waiting else "",
        )

    async def overview(self) -> Overview:
        """This conversation."""
        return await self._overview(self._here())

    async def chats(self) -> Sequence[Overview]:
        """The person's live conversations, by number."""
        live = self._doors.book.live(self._message.address.surface, self._message.sender)
        return [await self._overview(binding) for binding in live]

    async def open_chat(self, name: str = "") -> Binding:
        """Make the person's next conversation."""
        message = self._message
        return await self._doors.book.create(
            self.cause, message.address.surface, message.sender, message.sender_name, name
        )

    async def rename_chat(self, name: str) -> Binding:
        """Rename this conversation."""
        return await self._doors.book.change(self._here(), name=name)

    async def archive_chat(self, archived: bool = True) -> Binding:
        """Archive this conversation, or bring it back."""
        binding = await self._doors.book.change(self._here(), archived=archived)
        if archived:
            await self._doors.book.rest(binding)
        return binding

    async def clear_context(self) -> Binding:
        """Give this conversation a new context."""
        binding, questions = await self._doors.book.clear(self._here(), self.cause), self._doors.questions
        self._deferred.append(lambda: questions.closed(questions.idle(binding.address)))
        return binding

    async def staged(self) -> Sequence[Staged]:
        """The person's files that wait here."""
        return self._doors.staging.listed(self._here().address, self._message.sender, self._message.thread)

    async def unstage(self, number: int | None = None) -> Sequence[Staged]:
        """Drop one of them (from 1), or all."""
        message = self._message
        return await self._doors.staging.drop(self._here().address, message.sender, message.thread, number)

    async def stop_turn(self) -> bool:
        """Cancel the running turn."""
        return self._doors.stop(self._message)

    # Questions to the person

    async def ask(self, question: Question) -> str:
        """Ask the person something that this command's `answered` hears of."""
        text, prefix = question.text, self._doors.prefix
        said = words.question(text, prefix) if YES in question.accepts else words.leavable(text, prefix)
        asked = Open(
            key=f"{self.cause}.0",
            seq=self._entry.seq,
            turn=self.cause,
            address=self._here().address,
            thread=self._message.thread,
            person=self._message.sender,
            text=text,
            accepts=question.accepts,
            expires_at=self._doors.now() + question.expires_s,
            command=self._command,
            data=question.data,
        )
        questions = self._doors.questions
        self._deferred.append(lambda: Effect(changes=questions.asked(asked), then=lambda: questions.remember(asked)))
        return said

    async def answer_question(self, approved: bool) -> Question | None:
        """Answer the question that waits."""
        questions = self._doors.questions
        chosen = questions.chosen(self._message, approved)
        if chosen is None:
            return None
        answer = YES if approved else NO
        self._deferred.append(lambda: questions.answered(chosen, answer, self._entry))
        return chosen.question()

    async def cancel_question(self) -> Question | None:
        """Leave the question that waits."""
        questions = self._doors.questions
        waiting = questions.waiting(self._message)
        if not waiting:
            return None
        self._deferred.append(lambda: questions.cancelled(waiting[0], self._entry))
        return waiting[0].question()

    # Questions to the agent

    async def retry_turn(self) -> None:
        """Ask the last question again."""
        if self._doors.asking(self._message):
            raise CommandError(words.STILL_ANSWERING(prefix=self._doors.prefix))
        again = await self._doors.retry(self._entry)
        if again is None:
            raise CommandError(words.NOTHING_TO_RETRY())
        self._deferred.append(lambda: Effect(follow=[again]))

    async def consult(self, prompt: str) -> str:
        """Ask the agent something that nobody sees."""
        self._consulted += 1
        turn = turn_id(self._message.address.surface, f"{self.cause}\0consult{self._consulted}")
        here = self._here()
        answer = await self._doors.consults.ask(turn, self._message, here, prompt)
        changes = await self._doors.book.usages.spent(here.address, answer.tokens)
        self._deferred.append(lambda: Effect(changes=changes))
        return answer.text

    async def save_points(self) -> Sequence[SavePoint]:
        """The save points with this agent, oldest first."""
        return await self._doors.points.all(self._here())

    async def save_point(self, name: str) -> SavePoint:
        """Have the agent write down the context, under a name."""
        here, points = self._here(), self._doors.points
        await points.check(here, name)
        summary = await self.consult(points.save_prompt)
        point, changes = points.made(here, name, summary, self._doors.now())
        self._deferred.append(lambda: Effect(changes=changes))
        return point

    async def load_point(self, point: SavePoint) -> str:
        """Give the agent what was saved."""
        return await self.consult(self._doors.points.loading(point))

    def agents(self) -> Sequence[Agent]:
        """Those that the person may use."""
        return self._doors.people.offered(self._message.sender)

    async def choose_agent(self, agent: str) -> bool:
        """Give this conversation that agent."""
        if agent not in [offered.id for offered in self.agents()]:
            raise CommandError(words.NO_SUCH_AGENT(prefix=self._doors.prefix))
        here = self._here()
        await self._doors.people.choose(here.address, here.owner, agent)
        _, moved = await self._doors.moves.settle(self._entry, here)
        await self._doors.regroup(here.address.surface, here.owner)
        return bool(moved)

    async def settings(self) -> Sequence[Section]:
        """What applies to the person here."""
        return await self._doors.settings(self._message, self._binding)

    async def status(self) -> Sequence[Section]:
        """How the host is."""
        return self._doors.status()

    def language(self) -> str:
        """The person's language."""
        return self._doors.languages.of(self._message.address.surface, self._message.sender)

    async def choose_language(self, code: str) -> None:
        """Speak so to the person from now on."""
        await self._doors.languages.choose(self._message.address.surface, self._message.sender, code)
        self._doors.languages.speak_to(self._message, self._binding)

    def link(self, binding: Binding) -> str:
        """A link to a conversation."""
        return self._doors.book.link(binding)

    def commands(self) -> Sequence[Command]:
        """Those that this person may use here, by name."""
        there = {command.name: command for command in self._doors.commands(self._message.address.surface).values()}
        person = self._message.sender
        return [there[name] for name in sorted(there) if self._doors.may_use(there[name], person, self._binding)]
