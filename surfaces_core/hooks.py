"""The hook specifications: plain functions, quick, without I/O.

An `async def` hook and an unknown hook name are refused at start. The order of plugins is the
order of `hooks:` in the config.
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from surfaces_core.contracts import AgentTool, Command, Companion, Shaper
from surfaces_core.events import Inbound, Observed

PROJECT = "surfaces"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as a hook; its name says which."""


class HookSpecs:
    """All hooks of the host."""

    @staticmethod
    @hookspec
    def surfaces_commands() -> Sequence[Command]:  # type: ignore[empty-body]
        """Contribute commands; called once at start. Two commands of one name stop the start."""

    @staticmethod
    @hookspec
    def surfaces_shapers() -> Sequence[Shaper]:  # type: ignore[empty-body]
        """Contribute functions that change a request before the agent gets it; called once at start.

        Each sees what the one before it made. It makes the same of the same request and message, for a
        turn may be asked again, and leaves the turn, the agent and the context as they are. An exception
        ends the turn with the general sentence.
        """

    @staticmethod
    @hookspec
    def surfaces_tools() -> Sequence[AgentTool]:  # type: ignore[empty-body]
        """Contribute tools for agents; called once at start. Two tools of one name stop the start."""

    @staticmethod
    @hookspec
    def surfaces_companions() -> Sequence[Companion]:  # type: ignore[empty-body]
        """Contribute what has a lifetime, like a thread that sends what was observed; called once at start."""

    @staticmethod
    @hookspec(firstresult=True)
    def surfaces_refuse(message: Inbound) -> str | None:
        """Refuse a message by answering the sentence to say; called for each, before anything else.

        The first answer wins; an exception refuses too, with the general sentence.
        """

    @staticmethod
    @hookspec
    def surfaces_observe(event: Observed) -> None:
        """Watch what happens; an exception is logged once per plugin and changes nothing."""
