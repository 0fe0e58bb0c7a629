"""Commands about the memory of this conversation: `!clear` and `!context`."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_commands_context import words
from surfaces_core import Command, CommandCall, hookimpl


async def clear(call: CommandCall) -> str:
    """Give this conversation a new context."""
    await call.desk.clear_context()
    return words.CLEARED()


async def context(call: CommandCall) -> str:
    """Say what this conversation is."""
    return words.context(await call.desk.overview())


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!clear` (also `!reset`) and `!context`."""
    return [
        Command(name="clear", aliases=("reset",), help=words.HELP_CLEAR, handler=clear),
        Command(name="context", help=words.HELP_CONTEXT, handler=context),
    ]
