"""The public door for commands: what a `Command`'s handler can do, for its person and conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from surfaces_core._engine import words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.questions import Questions
from surfaces_core._engine.staging import Staging
from surfaces_core.contracts import Command, Overview, Staged
from surfaces_core.errors import CommandError
from surfaces_core.events import Binding, Inbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What desks lead to, the same for all of them."""

    book: Book
    languages: Languages
    staging: Staging
    questions: Questions
    commands: Callable[[str], Mapping[str, Command]]
    """Those at a surface, by name and alias."""
    may_use: Callable[[Command, Inbound, Binding | None], bool]
    stop: Callable[[Inbound], bool]
    behind: Callable[[Inbound], int]
    """How many messages wait in a conversation."""
    agent_label: Callable[[str], str]
    prefix: str


class DeskAt:
    """The desk for one call."""

    def __init__(self, doors: Doors, message: Inbound, binding: Binding | None, cause: str) -> None:
        self._doors = doors
        self._message = message
        self._binding = binding
        self._cause = cause

    def _here(self) -> Binding:
        if self._binding is None:
            raise CommandError(words.NEEDS_CONVERSATION(prefix=self._doors.prefix))
        return self._doors.book.at(self._binding.address) or self._binding

    async def _overview(self, binding: Binding) -> Overview:
        usage = await self._doors.book.usage(binding.address)
        here = self._binding is not None and binding.address == self._binding.address
        return Overview(
            binding=binding,
            agent_label=self._doors.agent_label(binding.agent),
            messages=usage.messages,
            tokens=usage.tokens,
            staged=len(self._doors.staging.listed(binding.address, self._message.sender)),
            waiting=self._doors.behind(self._message) if here else 0,
            last_active=usage.last_active or binding.created_at,
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
            self._cause, message.address.surface, message.sender, message.sender_name, name
        )

    async def rename_chat(self, name: str) -> Binding:
        """Rename this conversation."""
        return await self._doors.book.change(self._here(), name=name)

    async def archive_chat(self, archived: bool = True) -> Binding:
        """Archive this conversation, or bring it back."""
        binding = await self._doors.book.change(self._here(), archived=archived)
        if archived:
            await self._doors.book.forget(binding)
        return binding

    async def clear_context(self) -> Binding:
        """Give this conversation a new context."""
        return await self._doors.book.clear(self._here(), self._cause)

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

    async def answer_question(self, approved: bool) -> bool:
        """Answer the agent's question."""
        return self._doors.questions.answer(self._message.address, approved)

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
        return [there[name] for name in sorted(there) if self._doors.may_use(there[name], self._message, self._binding)]
