"""Calls of commands: what looks like one, who may use it, and what it answers."""

from __future__ import annotations

import asyncio
import difflib
import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from surfaces_core._config.discovery import Hooks
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.desk import DeskAt, Doors
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.work import Effect, Outcome, Say, together
from surfaces_core.contracts import Command, CommandCall
from surfaces_core.errors import CommandError, Rejected
from surfaces_core.events import Address, Binding, Inbound, Kind

LONGEST_COMMAND_S = 300.0
"""A command that takes longer is given up: its conversation would wait for it in every life."""


class Calls:
    """Runs commands."""

    def __init__(self, settings: HostSettings, book: Book, hooks: Hooks) -> None:
        self._settings = settings
        self._book = book
        self._hooks = hooks
        self._looks = re.compile(rf"{re.escape(settings.prefix)}([^\W\d_][\w-]*)(?:\s+(.*))?", re.DOTALL)
        self.doors: Doors

    def parse(self, message: Inbound) -> tuple[Command | None, tuple[str, str] | None]:
        """The command that a message calls, if it exists, and the name and rest as typed, if it looks like one."""
        if message.kind is not Kind.MESSAGE or not message.text.startswith(self._settings.prefix):
            return None, None
        match = self._looks.fullmatch(message.text.strip())
        if match is None:
            return None, None
        known = self._hooks.at(message.address.surface)
        return known.get(match[1].lower()), (match[1].lower(), (match[2] or "").strip())

    def may_use(self, command: Command, person: str, binding: Binding | None) -> bool:
        """Decided by the person's native id alone."""
        match command.who:
            case "anyone":
                return True
            case "operator":
                return person in self._settings.operators
            case _:
                return binding is None or binding.owner == person or self._manages(person, binding)

    def usable(self, address: Address, person: str) -> Sequence[Command]:
        """Those that a person may use in a conversation, by name."""
        binding = self._book.at(address)
        there = {command.name: command for command in self._hooks.at(address.surface).values()}
        return [there[name] for name in sorted(there) if self.may_use(there[name], person, binding)]

    def _manages(self, person: str, binding: Binding) -> bool:
        """Whether a person may change a conversation that several share."""
        door = self._book.door(binding.address.surface)
        return binding.shared and door is not None and door.manages(binding.address, person)

    async def run(
        self, entry: Entry, binding: Binding | None, command: Command | None, typed: tuple[str, str]
    ) -> Outcome:
        name, rest = typed
        message, prefix = entry.message, self._settings.prefix
        if command is None:
            near = difflib.get_close_matches(name, self._hooks.at(message.address.surface), n=1)
            line = words.unknown_command(name, near[0] if near else None, prefix)
            return Outcome(says=[Say(text=line)], kind="command")
        if not self.may_use(command, message.sender, binding):
            return Outcome(says=[Say(text=words.NOT_ALLOWED(prefix=prefix, name=name))], kind="refused")
        desk = DeskAt(self.doors, entry, binding, command.name)
        call = CommandCall(name=name, args=_arguments(rest), rest=rest, prefix=prefix, message=message, desk=desk)
        return await self._called(command, desk, partial(command.handler, call))

    async def answered(self, entry: Entry, binding: Binding | None) -> Outcome:
        """Go on with a command whose question an entry answers."""
        message, prefix, question = entry.message, self._settings.prefix, self.doors.questions.at(entry.answers)
        if question is None:
            return Outcome(says=[Say(text=words.NO_QUESTION())], kind="command")
        command = self._hooks.at(message.address.surface).get(question.command)
        if command is None or command.answered is None or not self.may_use(command, message.sender, binding):
            return Outcome(kind="refused", effect=self.doors.questions.closed([question]))
        desk = DeskAt(self.doors, entry, binding, command.name)
        answer = entry.answer
        call = CommandCall(name=command.name, args=(answer,), rest=answer, prefix=prefix, message=message, desk=desk)
        outcome = await self._called(command, desk, partial(command.answered, call, question.question()))
        effect = together([self.doors.questions.closed([question]), outcome.effect])
        return replace(outcome, effect=effect)

    async def _called(self, command: Command, desk: DeskAt, handler: Callable[[], Awaitable[str]]) -> Outcome:
        said, went_well = await self._handled(command, handler)
        says = [Say(text=said)] if said else []
        changes = self._book.finished(desk.cause)
        return Outcome(says=says, kind="command", changes=changes, effect=desk.effect() if went_well else Effect())

    async def _handled(self, command: Command, handler: Callable[[], Awaitable[str]]) -> tuple[str, bool]:
        """What a handler says, and whether it came to its end."""
        try:
            async with asyncio.timeout(LONGEST_COMMAND_S) as limit:
                said = await handler()
        except (CommandError, Rejected) as error:
            return error.public, False
        except TimeoutError:
            if limit.expired():
                raise Rejected(f"the command {command.name} went on for ever", public=words.TOO_LONG()) from None
            raise
        if not isinstance(said, str | None):
            raise TypeError(f"the command {command.name} answered with a {type(said).__name__}")
        return said or "", True


def _arguments(rest: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(rest))
    except ValueError:  # a quote that does not close is just a quote
        return tuple(rest.split())
