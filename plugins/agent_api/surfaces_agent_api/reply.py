"""Owns the text of one answer while it arrives: joins halves of characters, and cuts what is too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from surfaces_agent_api import words
from surfaces_core import Text

Item = TypeVar("Item")


class Reply:
    """Passes on at most `limit` characters of text, then a note, then nothing."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._cut = False
        self._half = ""

    def take(self, text: str) -> str:
        """What may be shown of the next piece; may be empty."""
        text = self._half + text
        # An agent that counts in UTF-16 may cut an emoji in two; the first half waits for the second.
        self._half = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        text = text[: len(text) - len(self._half)]
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        kept, rest = text[: self._left], text[self._left :]
        self._left -= len(kept)
        if not rest or self._cut:
            return kept
        self._cut = True
        return kept + words.note(words.TOO_LONG)


def joined(items: Iterable[Item | Text]) -> Iterator[Item | Text]:
    """The same, with neighbouring texts as one and empty ones left out."""
    pieces: list[str] = []
    for item in items:
        if isinstance(item, Text):
            pieces.append(item.text)
            continue
        yield from _text(pieces)
        pieces.clear()
        yield item
    yield from _text(pieces)


def _text(pieces: list[str]) -> Iterator[Text]:
    text = "".join(pieces)
    if text:
        yield Text(text)
