"""What an entry of the inbox asks for: refuse? → open question? → command? → agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from surfaces_core._config.discovery import Hooks
from surfaces_core._engine import words
from surfaces_core._engine.agent_turn import AgentTurns
from surfaces_core._engine.calls import Calls
from surfaces_core._engine.coming import Comings
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.moves import Moves
from surfaces_core._engine.pushes import Pushes
from surfaces_core._engine.questions import Questions
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.work import Effect, Outcome, Say, Work
from surfaces_core.contracts import Surface
from surfaces_core.errors import Rejected
from surfaces_core.events import Binding, Inbound, Kind
from surfaces_core.i18n import translated

LOST = "LOST_CONVERSATION"
"""The code of a surface that can't say whose a conversation is."""


class Handling:
    """Hands each entry to whoever does what it asks for."""

    def __init__(
        self,
        *,
        prefix: str,
        book: Book,
        moves: Moves,
        comings: Comings,
        agents: AgentTurns,
        calls: Calls,
        questions: Questions,
        pushes: Pushes,
        hooks: Hooks,
        surfaces: Mapping[str, Surface],
    ) -> None:
        self._prefix = prefix
        self._book = book
        self._moves = moves
        self._comings = comings
        self._agents = agents
        self._calls = calls
        self._questions = questions
        self._pushes = pushes
        self._hooks = hooks
        self._surfaces = surfaces
        self._told: set[tuple[Spot, str]] = set()
        """What is said once a conversation while the process lives."""

    async def handle(self, work: Work) -> Outcome:
        """What an entry comes to. Raises `SurfacesError`: `Unavailable` and `StateError` are worth another try."""
        entry, message = work.entry, work.entry.message
        if entry.withdrawn:
            return await self._agents.withdraw(entry)
        if entry.answers:
            return await self._calls.answered(entry, self._book.at(message.address))
        if message.kind is Kind.MESSAGE:
            return await self._message(work)
        return await self._event(entry)

    async def _event(self, entry: Entry) -> Outcome:
        """What comes of something that is no message."""
        message = entry.message
        match message.kind:
            case Kind.START:
                return await self._comings.start(entry)
            case Kind.LEFT:
                await self._comings.leave(message)
                return Outcome()
            case Kind.RENAMED:
                await self._book.renamed(message.address, message.text)
                return Outcome()
            case Kind.MOVED:
                return await self._moves.run(entry)
            case Kind.GAP:
                line = translated(type(self._surfaces[message.address.surface]).__module__, message.text)
                return Outcome(says=[Say(text=line)], kind="dead", dead=message.cause or "PASSED_OVER")
            case Kind.PUSH:
                return self._pushes.handle(entry)
            case Kind.REACTION:
                return Outcome(effect=self._questions.reacted(entry) or Effect())
            case _:
                return Outcome()

    async def _message(self, work: Work) -> Outcome:
        entry, message = work.entry, work.entry.message
        refusal = self._refusal(message)
        if refusal is not None:
            return Outcome(says=[Say(text=refusal)], kind="refused")
        lost = ""
        try:
            binding = await self._book.adopt(message)
        except Rejected as error:
            if error.code != LOST:
                raise
            binding, lost = None, error.public
        command, rest = self._calls.parse(message)
        if rest is not None:
            outcome = await self._calls.run(entry, binding, command, rest)
            files = await self._agents.stage(entry, binding) if binding and message.attachments else []
            return replace(outcome, says=[*outcome.says, *files])
        meant = self._questions.meant(entry)
        if meant is not None:
            return await self._calls.answered(replace(entry, answers=meant[0].key, answer=meant[1]), binding)
        if lost:
            return Outcome(says=self._once(message, lost), kind="failed")
        if binding is None:
            return await self._comings.welcome(entry)
        return await self._question(work, binding)

    async def _question(self, work: Work, binding: Binding) -> Outcome:
        """What is said to the agent of a conversation."""
        entry, message = work.entry, work.entry.message
        if message.sender != binding.owner and not binding.shared:
            return Outcome(says=self._once(message, words.NOT_YOURS()), kind="refused")
        if binding.archived:
            return Outcome(says=[Say(text=words.ARCHIVED(prefix=self._prefix))], kind="refused")
        binding, moved = await self._moves.settle(entry, binding)
        outcome = await self._agents.run(work, binding)
        told, changes = self._moves.introduction(entry, binding)
        return replace(outcome, says=[*outcome.says, *moved, *told], changes={**outcome.changes, **changes})

    def _refusal(self, message: Inbound) -> str | None:
        """What a plugin says against a message; a bug in one refuses too."""
        answer: object = self._hooks.manager.hook.surfaces_refuse(message=message)
        if not isinstance(answer, str | None):
            raise TypeError(f"a plugin refused with a {type(answer).__name__}")
        return answer

    def _once(self, message: Inbound, line: str) -> list[Say]:
        told = (Spot.of(message), line)
        if told in self._told:
            return []
        self._told.add(told)
        return [Say(text=line)]
