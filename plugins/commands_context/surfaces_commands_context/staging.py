"""Commands about files that wait for the next message: `!list` and `!remove`."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_commands_context import words
from surfaces_core import Command, CommandCall, CommandError, hookimpl


async def list_(call: CommandCall) -> str:
    """List the files that wait here."""
    return words.staged(await call.desk.staged())


async def remove(call: CommandCall) -> str:
    """Drop one of them, or all."""
    if len(call.args) != 1 or not (call.args[0] == "all" or call.args[0].isdecimal()):
        raise CommandError(words.HOW_TO_REMOVE(prefix=call.prefix))
    number = None if call.args[0] == "all" else int(call.args[0])
    dropped = await call.desk.unstage(number)
    if number is not None and not dropped:
        raise CommandError(words.NO_SUCH_FILE(number=number, prefix=call.prefix))
    return words.removed(dropped)


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!list` and `!remove`."""
    return [
        Command(name="list", help=words.HELP_LIST, handler=list_),
        Command(name="remove", usage=words.USAGE_REMOVE, help=words.HELP_REMOVE, handler=remove),
    ]
