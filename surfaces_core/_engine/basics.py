"""The commands that are always there: a hooks plugin like any other, which the host loads first."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core._engine import words
from surfaces_core.contracts import Command, CommandCall
from surfaces_core.errors import CommandError
from surfaces_core.hooks import hookimpl


def listing(commands: Sequence[Command], prefix: str) -> str:
    """Commands as a Markdown list."""
    return "\n".join(f"- `{_usage(command, prefix)}` – {command.help}" for command in commands)


def _usage(command: Command, prefix: str) -> str:
    return f"{prefix}{command.name} {command.usage}".rstrip()


async def _help(call: CommandCall) -> str:
    commands = call.desk.commands()
    if not call.args:
        return listing(commands, call.prefix)
    name = call.args[0].removeprefix(call.prefix).lower()
    for command in commands:
        if name in (command.name, *command.aliases):
            also = (
                f" Also: {', '.join(f'`{call.prefix}{alias}`' for alias in command.aliases)}."
                if command.aliases
                else ""
            )
            return f"`{_usage(command, call.prefix)}` – {command.help}.{also}"
    raise CommandError(words.unknown_command(name, None, call.prefix))


async def _stop(call: CommandCall) -> str:
    return "" if await call.desk.stop_turn() else words.NOTHING_TO_STOP()


async def _yes(call: CommandCall) -> str:
    return words.AGREED() if await call.desk.answer_question(True) else words.NO_QUESTION()


async def _no(call: CommandCall) -> str:
    return words.DECLINED() if await call.desk.answer_question(False) else words.NO_QUESTION()


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """Help, stop, and the answers to an agent's question."""
    return [
        Command(name="help", usage="[command]", help="the commands that work here", handler=_help, who="anyone"),
        Command(name="stop", help="stops the answer that is being written", handler=_stop, urgent=True),
        Command(name="yes", help="agrees to what the agent asks", handler=_yes, urgent=True),
        Command(name="no", help="declines what the agent asks", handler=_no, urgent=True),
    ]
