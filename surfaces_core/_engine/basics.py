"""The commands that are always there: a hooks plugin like any other, which the host loads first."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core._engine import words
from surfaces_core._engine.languages import known
from surfaces_core.contracts import Command, CommandCall, Question
from surfaces_core.errors import CommandError
from surfaces_core.hooks import hookimpl
from surfaces_core.i18n import LANGUAGES


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
            usage, aliases = _usage(command, call.prefix), [f"`{call.prefix}{alias}`" for alias in command.aliases]
            if not aliases:
                return words.COMMAND(usage=usage, help=command.help)
            return words.COMMAND_ALSO(usage=usage, help=command.help, aliases=", ".join(aliases))
    raise CommandError(words.unknown_command(name, None, call.prefix))


async def _stop(call: CommandCall) -> str:
    return "" if await call.desk.stop_turn() else words.NOTHING_TO_STOP()


async def _yes(call: CommandCall) -> str:
    return _passed_on(await call.desk.answer_question(True), words.AGREED())


async def _no(call: CommandCall) -> str:
    return _passed_on(await call.desk.answer_question(False), words.DECLINED())


def _passed_on(question: Question | None, line: str) -> str:
    if question is None:
        return words.NO_QUESTION()
    return "" if question.command else line  # the command that asked speaks for itself


async def _cancel(call: CommandCall) -> str:
    question = await call.desk.cancel_question()
    if question is None:
        return words.NO_QUESTION()
    return words.LEFT() if question.command else words.DECLINED()


async def _retry(call: CommandCall) -> str:
    await call.desk.retry_turn()
    return ""


async def _settings(call: CommandCall) -> str:
    return "\n\n".join(section.markdown() for section in await call.desk.settings())


async def _language(call: CommandCall) -> str:
    choices = ", ".join(f"`{code}` {name}" for code, name in LANGUAGES.items())
    if not call.rest:
        return words.LANGUAGE(language=LANGUAGES[call.desk.language()], choices=choices, prefix=call.prefix)
    code = known(call.rest)
    if code is None:
        raise CommandError(words.NO_SUCH_LANGUAGE(choices=choices))
    await call.desk.choose_language(code)
    return words.LANGUAGE_CHOSEN(language=LANGUAGES[code])


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """Help, language, stop, and the answers to an agent's question."""
    return [
        Command(name="help", usage=words.USAGE_HELP, help=words.HELP_HELP, handler=_help, who="anyone"),
        Command(name="settings", help=words.HELP_SETTINGS, handler=_settings, who="anyone"),
        Command(name="language", usage=words.USAGE_LANGUAGE, help=words.HELP_LANGUAGE, handler=_language, who="anyone"),
        Command(name="stop", help=words.HELP_STOP, handler=_stop, urgent=True),
        # whoever may not answer finds no question of their own
        Command(name="yes", help=words.HELP_YES, handler=_yes, urgent=True, who="anyone"),
        Command(name="no", help=words.HELP_NO, handler=_no, urgent=True, who="anyone"),
        Command(name="cancel", help=words.HELP_CANCEL, handler=_cancel, urgent=True, who="anyone"),
        Command(name="retry", help=words.HELP_RETRY, handler=_retry, urgent=True, who="anyone"),
    ]
