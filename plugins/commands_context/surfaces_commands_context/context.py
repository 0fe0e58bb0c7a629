"""Commands about the memory of this conversation: `!clear`, `!context`, `!save` and `!load`."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_commands_context import points, words
from surfaces_core import Command, CommandCall, hookimpl


async def clear(call: CommandCall) -> str:
    """Give this conversation a new context."""
    await call.desk.clear_context()
    return words.CLEARED()


async def context(call: CommandCall) -> str:
    """Say what this conversation is."""
    overview = await call.desk.overview()
    return words.context(overview, await call.desk.save_points())


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!clear` (also `!reset`), `!context`, `!save` and `!load`."""
    return [
        Command(name="clear", aliases=("reset",), help=words.HELP_CLEAR, handler=clear),
        Command(name="context", help=words.HELP_CONTEXT, handler=context, urgent=True),
        Command(
            name="save", usage=words.USAGE_SAVE, help=words.HELP_SAVE, handler=points.save, answered=points.replaced
        ),
        Command(
            name="load", usage=words.USAGE_LOAD, help=words.HELP_LOAD, handler=points.load, answered=points.numbered
        ),
    ]
