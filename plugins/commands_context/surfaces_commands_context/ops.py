"""A command for operators: `!status`."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_commands_context import words
from surfaces_core import Command, CommandCall, hookimpl


async def status(call: CommandCall) -> str:
    """Say how the host is."""
    return "\n\n".join(section.markdown() for section in await call.desk.status())


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!status`."""
    return [Command(name="status", help=words.HELP_STATUS, handler=status, who="operator")]
