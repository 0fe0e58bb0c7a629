"""Commands about a person's conversations: `!new`, `!chats`, `!rename` and `!archive`."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_commands_context import words
from surfaces_core import Command, CommandCall, CommandError, hookimpl

MAX_NAME = 100
"""Characters of a conversation's name."""


def clean_name(text: str) -> str:
    """A conversation's name: one line of printable text. Raises `CommandError` when it is too long."""
    name = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(name) > MAX_NAME:
        raise CommandError(words.NAME_TOO_LONG(MAX_NAME))
    return name


async def new(call: CommandCall) -> str:
    """Make the next conversation."""
    binding = await call.desk.open_chat(clean_name(call.rest))
    return words.opened(call.desk.link(binding))


async def chats(call: CommandCall) -> str:
    """List the live conversations."""
    live = await call.desk.chats()
    here = call.message.address
    return words.chats(
        [(chat, call.desk.link(chat.binding), chat.binding.address == here) for chat in live], call.prefix
    )


async def rename(call: CommandCall) -> str:
    """Rename this conversation."""
    name = clean_name(call.rest)
    if not name:
        raise CommandError(words.HOW_TO_RENAME(prefix=call.prefix))
    binding = await call.desk.rename_chat(name)
    return words.renamed(binding)


async def archive(call: CommandCall) -> str:
    """Archive this conversation, or bring it back."""
    if call.args not in ((), ("undo",)):
        raise CommandError(words.HOW_TO_ARCHIVE(prefix=call.prefix))
    archived = not call.args
    binding = await call.desk.archive_chat(archived)
    return words.archived(binding, call.prefix) if archived else words.unarchived(binding)


@hookimpl
def surfaces_commands() -> Sequence[Command]:
    """`!new`, `!chats`, `!rename` and `!archive`."""
    return [
        Command(name="new", usage=words.USAGE_NEW, help=words.HELP_NEW, handler=new),
        Command(name="chats", help=words.HELP_CHATS, handler=chats),
        Command(name="rename", usage=words.USAGE_RENAME, help=words.HELP_RENAME, handler=rename),
        Command(name="archive", usage="[undo]", help=words.HELP_ARCHIVE, handler=archive),
    ]
