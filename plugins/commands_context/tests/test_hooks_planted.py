"""The contract checks see faults that are planted into a set of commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from surfaces_commands_context import context
from surfaces_core import AgentRequest, Command, Inbound, hookimpl
from surfaces_core.testing import contract, planted
from surfaces_core.testing.checks.hooks import check_import

COMMANDS = context.surfaces_commands


def hook(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Put a hook into the plugin, or another one in its place."""
    monkeypatch.setattr(context, name, hookimpl(function), raising=False)


def first(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change the first command."""

    def surfaces_commands() -> Sequence[Command]:
        command, *others = COMMANDS()
        return [replace(command, **changes), *others]

    hook(monkeypatch, "surfaces_commands", surfaces_commands)


def shaper(monkeypatch: pytest.MonkeyPatch, shape: Callable[[AgentRequest, Inbound], Any]) -> None:
    """Have the plugin shape."""

    def surfaces_shapers() -> Sequence[Any]:
        return [shape]

    hook(monkeypatch, "surfaces_shapers", surfaces_shapers)


def misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook of a name that there is not."""
    hook(monkeypatch, "surfaces_comands", lambda: COMMANDS())


def not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that pluggy would pass over."""
    monkeypatch.setattr(context, "surfaces_commands", lambda: COMMANDS())


def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that is async."""

    async def surfaces_observe(event: object) -> None:
        """Nothing."""

    hook(monkeypatch, "surfaces_observe", surfaces_observe)


def names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of commands instead of commands."""

    def surfaces_commands() -> Sequence[Any]:
        return ["clear"]

    hook(monkeypatch, "surfaces_commands", surfaces_commands)


def capital_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody can type."""
    first(monkeypatch, name="Clear")


def same_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias that is another command."""
    first(monkeypatch, aliases=("context",))


def full_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help that ends like a sentence."""
    first(monkeypatch, help="clears the context.")


def two_lines_of_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help that breaks the list."""
    first(monkeypatch, help="clears\nthe context")


def plain_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that is not async."""
    first(monkeypatch, handler=lambda call: "done")


def handler_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that wants more than the call."""

    async def handler(call: object, more: object) -> str:
        return ""

    first(monkeypatch, handler=handler)


def for_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of person that there is not."""
    first(monkeypatch, who="admin")


def takes_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the host's own name."""
    first(monkeypatch, aliases=("help",))


def other_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that depend on the moment."""
    numbers = iter(range(100))

    def surfaces_commands() -> Sequence[Command]:
        return [replace(COMMANDS()[0], name=f"clear{next(numbers)}")]

    hook(monkeypatch, "surfaces_commands", surfaces_commands)


def shapes_to_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaper that gives the text alone."""
    shaper(monkeypatch, lambda request, message: request.text)


def shapes_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaper that adds the time."""
    shaper(monkeypatch, lambda request, message: replace(request, text=f"{request.text} {time.perf_counter_ns()}"))


def shapes_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaper that changes the agent's options in their place."""

    def shape(request: AgentRequest, message: Inbound) -> AgentRequest:
        request.agent.options["tags"] = []  # type: ignore[index]
        return request

    shaper(monkeypatch, shape)


def shapes_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaper that gives the turn another name."""
    shaper(monkeypatch, lambda request, message: replace(request, turn="mine"))


def refuses_with_a_bool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal without words."""

    def surfaces_refuse(message: Inbound) -> Any:
        return len(message.text) > 1000

    hook(monkeypatch, "surfaces_refuse", surfaces_refuse)


def answers_when_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watching that says something."""

    def surfaces_observe(event: object) -> Any:
        return "seen"

    hook(monkeypatch, "surfaces_observe", surfaces_observe)


def keeps_a_diary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watching that writes a file."""

    def surfaces_observe(event: object) -> None:
        with Path("/dev/shm/surfaces-diary").open("a"):
            """Nothing is written, but it might be slow."""

    hook(monkeypatch, "surfaces_observe", surfaces_observe)


def leaves_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A companion that begins something and does not end it."""

    @asynccontextmanager
    async def beside() -> AsyncIterator[None]:
        asyncio.get_running_loop().create_task(asyncio.sleep(0.05))
        yield

    hook(monkeypatch, "surfaces_companions", lambda: [beside])


test_planted = planted.are_caught(
    contract.hooks(context),
    {
        misspelt: "marked",
        not_marked: "marked",
        waits: "marked",
        names_alone: "contributions",
        capital_letter: "command_names",
        same_alias: "command_names",
        full_stop: "command_help",
        two_lines_of_help: "command_help",
        plain_handler: "command_handlers",
        handler_of_two: "command_handlers",
        for_admins: "command_rights",
        takes_help: "beside_the_host",
        other_each_time: "made_again",
        shapes_to_text: "shapers_pure",
        shapes_by_the_clock: "shapers_pure",
        shapes_what_it_was_given: "shapers_pure",
        shapes_the_turn: "shapers_keep_the_turn",
        refuses_with_a_bool: "refusals",
        answers_when_watching: "observing",
        keeps_a_diary: "quick",
        leaves_a_task: "companions",
    },
)


async def test_an_import_that_does_something_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that writes a file as it is imported breaks the promise that is about it."""
    source = "from surfaces_commands_context.context import surfaces_commands\nopen('diary', 'a').close()\n"
    (tmp_path / "surfaces_diary.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=f"writes to {tmp_path}/diary"):
        await check_import(import_module("surfaces_diary"))
