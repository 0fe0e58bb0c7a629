"""Every sentence that these commands say to people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from surfaces_core import Binding, Overview, Staged

CLEARED = "Done: the agent starts afresh here and remembers nothing of what was said before."
NAME_TOO_LONG = "That name is too long; {most} characters are the most."
USAGE_RENAME = "Write the new name behind it: `{prefix}rename Holiday plans`."
USAGE_ARCHIVE = "Write `{prefix}archive`, or `{prefix}archive undo`."
USAGE_REMOVE = "Write `{prefix}remove 2` to drop the second file, or `{prefix}remove all`."
NO_SUCH_FILE = "No file has the number {number}; `{prefix}list` shows them."


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
    return f"{link} is ready; I have invited you. It remembers nothing of other conversations."


def chats(live: Sequence[tuple[Overview, str, bool]], prefix: str) -> str:
    """The live conversations: each with its link, and whether it is this one."""
    if not live:
        return f"You have no conversation yet; `{prefix}new` starts one."
    return "\n".join(
        f"- {link}{' **(this one)**' if here else ''} · {chat.agent_label} · last active {_when(chat.last_active)}"
        for chat, link, here in live
    )


def renamed(binding: Binding) -> str:
    """A conversation has a new name."""
    return f"This conversation is now called **{_escape(binding.name)}**."


def archived(binding: Binding, prefix: str) -> str:
    """A conversation was put away."""
    return f"{binding.label} is archived. `{prefix}archive undo` brings it back."


def unarchived(binding: Binding) -> str:
    """A conversation was brought back."""
    return f"{binding.label} is back. Just write."


def context(overview: Overview) -> str:
    """What a conversation is."""
    lines = [
        f"**{_escape(_title(overview.binding))}**",
        f"- agent: {overview.agent_label}",
        f"- context: {overview.binding.context}",
        f"- answered: {overview.messages}" + (f", {overview.tokens} tokens" if overview.tokens else ""),
        f"- files waiting: {overview.staged}",
        f"- messages waiting: {overview.waiting}",
    ]
    return "\n".join(lines)


def staged(files: Sequence[Staged]) -> str:
    """The files that wait."""
    if not files:
        return "No file is waiting."
    return "\n".join(f"{n}. `{item.file.name}` ({_size(item.file.size)})" for n, item in enumerate(files, 1))


def removed(files: Sequence[Staged]) -> str:
    """What was dropped."""
    if not files:
        return "No file was waiting."
    return f"Dropped {', '.join(f'`{item.file.name}`' for item in files)}."


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>" else char for char in text)
