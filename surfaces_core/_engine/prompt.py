"""What an agent is asked: the person's words, behind what they reply to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from surfaces_core._engine import words
from surfaces_core.events import Inbound

LONGEST_QUOTE = 2000
"""Characters of what is replied to that the agent gets."""


def is_question(message: Inbound) -> bool:
    """Whether a message asks by itself, instead of waiting for words."""
    return bool(message.text.strip()) or any(file.voice for file in message.attachments)


def prompt(message: Inbound, stored: Sequence[str]) -> str:
    """The text for the agent; `stored` are the names that the files of the message got."""
    text = message.text if message.text.strip() else words.VOICE_MESSAGE(name=", ".join(stored))
    return f"{_quotation(message.quote)}\n\n{text}" if message.quote.strip() else text


def kept(message: Inbound, paths: Sequence[str]) -> Inbound:
    """A message that can be asked again when its files are in the workspace already."""
    if message.text.strip() and not message.attachments:
        return message
    names = [path.rpartition("/")[2] for path in paths]
    text = message.text if message.text.strip() else words.VOICE_MESSAGE(name=", ".join(names))
    return replace(message, text=text, attachments=())


def _quotation(quote: str) -> str:
    quote = quote.strip()
    shown = quote if len(quote) <= LONGEST_QUOTE else f"{quote[:LONGEST_QUOTE].rstrip()}…"
    return "\n".join(f"> {line}".rstrip() for line in shown.splitlines())
