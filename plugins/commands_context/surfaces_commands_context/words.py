"""Every sentence that these commands say to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from surfaces_core import Binding, Catalogue, Overview, SavePoint, Staged

_ = Catalogue("surfaces_commands_context")

SHORT = 200
"""Characters of a question that are shown beside other things."""

HELP_NEW = _("starts another conversation")
HELP_CHATS = _("lists your conversations")
HELP_RENAME = _("renames this conversation")
HELP_ARCHIVE = _("puts this conversation away; `undo` brings it back")
HELP_CLEAR = _("the agent forgets this conversation and starts afresh; nothing else changes")
HELP_CONTEXT = _("what this conversation is and what it has used")
HELP_SAVE = _("keeps what the agent remembers here under a name")
HELP_LOAD = _("gives the agent what was saved; without a name it lists what there is")
HELP_LIST = _("lists the files that wait for your next message")
HELP_REMOVE = _("drops waiting files")
HELP_STATUS = _("how the host is")
USAGE_NEW = _("[name]")
USAGE_SAVE = _("[name]")
USAGE_LOAD = _("[name or number]")
USAGE_RENAME = _("<name>")
USAGE_REMOVE = _("<number>|all")

CLEARED = _("Done: the agent starts afresh here and remembers nothing of what was said before.")
NAME_TOO_LONG = _.plural(
    "That name is too long; {count} character is the most.", "That name is too long; {count} characters are the most."
)
HOW_TO_RENAME = _("Write the new name behind it: `{prefix}rename Holiday plans`.")
HOW_TO_ARCHIVE = _("Write `{prefix}archive`, or `{prefix}archive undo`.")
HOW_TO_REMOVE = _("Write `{prefix}remove 2` to drop the second file, or `{prefix}remove all`.")
NO_SUCH_FILE = _("No file has the number {number}; `{prefix}list` shows them.")
OPENED = _("{link} is ready; I have invited you. It remembers nothing of other conversations.")
NO_CHATS = _("You have no conversation yet; `{prefix}new` starts one.")
CHAT = _("{link} · {agent} · last active {when}")
CHAT_HERE = _("{link} **(this one)** · {agent} · last active {when}")
RENAMED = _("This conversation is now called **{name}**.")
ARCHIVED = _("{label} is archived. `{prefix}archive undo` brings it back.")
UNARCHIVED = _("{label} is back. Just write.")
AGENT = _("agent: {agent}")
CONTEXT = _("context: {context}")
ANSWERED = _("answered: {messages}")
TOKENS = _.plural("{count} token used", "{count} tokens used")
FILES_WAITING = _("files waiting: {staged}")
MESSAGES_WAITING = _("messages waiting: {waiting}")
QUESTION = _("waiting for your answer: {question}")
POINTS = _.plural("{count} save point: {names}", "{count} save points: {names}")
SAVED = _("Saved as **{name}**. `{prefix}load` brings it back.")
REPLACE = _("There is a save point **{name}** of {when} already. Replace it?")
KEPT = _("The save point **{name}** stays as it was.")
HOW_TO_SAVE = _("A name needs a letter in it: `{prefix}save before the trip`.")
NO_POINTS = _("There is no save point yet; `{prefix}save` makes one.")
NO_SUCH_POINT = _("No save point is called so; `{prefix}load` lists them.")
WHICH_POINT = _("Which one? Answer with its number.")
LOADED = _("**{name}** is loaded.")
NO_FILES = _("No file is waiting.")
NOTHING_DROPPED = _("No file was waiting.")
DROPPED = _("Dropped {names}.")


def _title(binding: Binding) -> str:
    return binding.label if binding.name == binding.label else f"{binding.label} {binding.name}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def opened(link: str) -> str:
    """A conversation was made."""
    return OPENED(link=link)


def chats(live: Sequence[tuple[Overview, str, bool]], prefix: str) -> str:
    """The live conversations: each with its link, and whether it is this one."""
    if not live:
        return NO_CHATS(prefix=prefix)
    lines = [
        (CHAT_HERE if here else CHAT)(link=link, agent=chat.agent_label, when=_when(chat.last_active))
        for chat, link, here in live
    ]
    return "\n".join(f"- {line}" for line in lines)


def renamed(binding: Binding) -> str:
    """A conversation has a new name."""
    return RENAMED(name=_escape(binding.name))


def archived(binding: Binding, prefix: str) -> str:
    """A conversation was put away."""
    return ARCHIVED(label=binding.label, prefix=prefix)


def unarchived(binding: Binding) -> str:
    """A conversation was brought back."""
    return UNARCHIVED(label=binding.label)


def context(overview: Overview, points: Sequence[SavePoint]) -> str:
    """What a conversation is."""
    lines = [
        AGENT(agent=overview.agent_label),
        CONTEXT(context=overview.binding.context),
        ANSWERED(messages=overview.messages),
        *([TOKENS(overview.tokens)] if overview.tokens else []),
        FILES_WAITING(staged=overview.staged),
        MESSAGES_WAITING(waiting=overview.waiting),
        *([QUESTION(question=" ".join(overview.question.split())[:SHORT])] if overview.question else []),
        *([POINTS(len(points), names=", ".join(_escape(point.name) for point in points))] if points else []),
    ]
    return "\n".join([f"**{_escape(_title(overview.binding))}**", *(f"- {line}" for line in lines)])


def replace(point: SavePoint) -> str:
    """The name of a new save point is taken."""
    return REPLACE(name=_escape(point.name), when=_when(point.saved_at))


def kept(name: str) -> str:
    """A save point was not replaced."""
    return KEPT(name=_escape(name))


def saved(point: SavePoint, prefix: str) -> str:
    """A save point was made."""
    return SAVED(name=_escape(point.name), prefix=prefix)


def points(saved_points: Sequence[SavePoint]) -> str:
    """The save points, to choose one of them."""
    lines = [f"{n}. {_escape(point.name)} · {_when(point.saved_at)}" for n, point in enumerate(saved_points, 1)]
    return "\n".join([*lines, "", WHICH_POINT()])


def loaded(point: SavePoint, answer: str) -> str:
    """The agent has a save point, and what it says to it."""
    return "\n\n".join(filter(None, [LOADED(name=_escape(point.name)), answer]))


def staged(files: Sequence[Staged]) -> str:
    """The files that wait."""
    if not files:
        return NO_FILES()
    return "\n".join(f"{n}. `{item.file.name}` ({_size(item.file.size)})" for n, item in enumerate(files, 1))


def removed(files: Sequence[Staged]) -> str:
    """What was dropped."""
    if not files:
        return NOTHING_DROPPED()
    return DROPPED(names=", ".join(f"`{item.file.name}`" for item in files))


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>" else char for char in text)
