"""Cuts an answer into parts that each fit one Matrix event.

An event may have 65,536 bytes in all (client-server API, "Size limits"). A part is sent in both of
its forms, and an edit carries both twice; so a part is measured as it will be rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from surfaces_matrix.characters import between_characters
from surfaces_matrix.markdown import to_html

MAX_PART_BYTES = 29_000
"""Both forms of a part as JSON. Twice that leaves 7,500 bytes for the rest of an edit and its envelope."""

MAX_SEALED_BYTES = 21_500
"""The same where a room may be encrypted: the whole edit grows by a third, and has a second envelope."""

_LONGEST_FENCE = 200
_LONGEST_HEAD = 1000
"""A longer head of a table is not repeated."""
_LONGEST_LINK = 2000
_LINK = re.compile(
    r"!?\[[^\[\]\n]{0,500}\]\([^()\s]{0,1400}(?:\([^()\s]{0,99}\))?[^()\s]{0,99}\)|https?://[^\s<>\[\]]{1,1900}"
)
_DELIMITERS = re.compile(r" {0,3}\|?(?:[ \t]*:?-+:?[ \t]*\|)*[ \t]*:?-+:?[ \t]*\|?[ \t]*")
_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}(?=[^`]*$)|~{3,}).*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def split(text: str, *, max_bytes: int = MAX_PART_BYTES) -> list[str]:
    """The parts of a text, in order; the same text is always cut alike.

    Cut between paragraphs, else between lines, else between words, else between characters as people
    see them, and never within a link that can stay whole. A code block that is cut is closed and opened
    again, and a table that is cut begins again with its head. Halves of surrogate pairs, which no event
    can carry, become �.
    """
    text = _SURROGATE.sub("\ufffd", text)
    if size(text) <= max_bytes:
        return [text]
    parts = []
    rest = _Rest(text=text)
    while rest.text:
        part, rest = _cut(rest, max_bytes)
        if part.strip():
            parts.append(part)
    return parts or [""]


def size(text: str) -> int:
    """The bytes of a text and its HTML in JSON."""
    html = to_html(text)
    return len(orjson.dumps(text)) + (len(orjson.dumps(html)) if html is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fence:
    """An open code block: the line that opened it, and the marks that close it."""

    opening: str
    indent: str
    marks: str

    def closed_by(self, line: str) -> bool:
        line = line.strip(" \t")
        return len(line) >= len(self.marks) and not line.strip(self.marks[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """What is not cut yet, and the code block that it is in."""

    text: str
    fence: _Fence | None = None
    table: str = ""
    """The first two lines of the table that it is in."""
    guess: float = 1.0
    """Of the first guess, how much fitted last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Break:
    """A place to cut at: `at` is the first character behind it."""

    at: int
    fence: _Fence | None = None
    table: str = ""
    rank: int = 0
    """Higher is better."""


def _cut(rest: _Rest, max_bytes: int) -> tuple[str, _Rest]:
    """A part that fits, nearly the longest, and what remains."""
    # Text and HTML are about as long as each other.
    first = _chars(rest.text, max_bytes * 9 // 20)
    limit = max(1, int(first * rest.guess))
    while True:
        place = _best_break(rest, limit)
        part = _part(rest, place)
        bytes_ = size(part)
        if bytes_ <= max_bytes or limit == 1:
            guess = min(1.0, limit / first * 1.5)
            return part, _Rest(text=_behind(rest.text, place), fence=place.fence, table=place.table, guess=guess)
        limit = max(1, min(limit - limit // 8 - 1, limit * max_bytes // bytes_))


def _chars(text: str, max_bytes: int) -> int:
    """About how many characters at the beginning of a text have so many bytes."""
    window = text[:max_bytes]
    return max(1, len(window) * max_bytes // max(max_bytes, len(window.encode())))


def _part(rest: _Rest, place: _Break) -> str:
    head = rest.text[: place.at]
    if place.fence is None:
        head = head.rstrip("\n")
    else:
        head = f"{head.removesuffix(chr(10))}\n{place.fence.indent}{place.fence.marks}"
    opening = rest.table if rest.fence is None else rest.fence.opening
    return f"{opening}\n{head}" if opening else head


def _behind(text: str, place: _Break) -> str:
    if place.fence is not None:
        return text[place.at :]
    return text[place.at :].lstrip("\n")


def _best_break(rest: _Rest, limit: int) -> _Break:
    """The last place of the best rank at or before `limit`; parts under a quarter of it are not worth it."""
    if len(rest.text) <= limit:
        return _Break(at=len(rest.text))
    breaks = list(_line_breaks(rest, limit))
    good = [place for place in breaks if place.at >= limit / 4 and place.rank]
    if good:
        return max(good, key=lambda place: (place.rank, place.at))
    fence = breaks[-1].fence
    space = rest.text.rfind(" ", limit // 4, limit)
    at = limit if space < 0 else space + 1
    return _Break(at=_whole(rest.text, at, limit // 4, links=fence is None), fence=fence)


def _whole(text: str, at: int, least: int, *, links: bool) -> int:
    """A place at or before `at` that is neither within a link nor within a character as people see it."""
    start = max(least, at - _LONGEST_LINK)
    for link in _LINK.finditer(text, start, at + _LONGEST_LINK) if links else ():
        if link.start() < at < link.end():
            at = link.start() if link.start() > start else at
            break
    return between_characters(text, at)


def _line_breaks(rest: _Rest, limit: int) -> Iterator[_Break]:
    """The beginnings of lines, each with the code block that it is in; the first one has no rank."""
    at, fence, rank = 0, rest.fence, 0
    table, before, line = rest.table, "", ""
    while at <= limit:
        end = rest.text.find("\n", at)
        before, line = line, rest.text[at : end if end >= 0 else len(rest.text)]
        table = "" if fence else _table(table, before, line)
        # A table's head stays together with its first row.
        in_head = not fence and (_is_head(before, line) or before == table.rpartition("\n")[2] != "")
        yield _Break(at=at, fence=fence, table=table if "|" in before else "", rank=0 if in_head else rank)
        if end < 0:
            return
        fence = _after(line, fence)
        at = end + 1
        rank = _rank(line, rest.text[at : at + 1], fence)


def _table(table: str, before: str, line: str) -> str:
    """The head of the table that a line is in, if it is in one."""
    if table:
        return table if "|" in line else ""
    return f"{before}\n{line}" if _is_head(before, line) else ""


def _is_head(before: str, line: str) -> bool:
    """Whether two lines are the head of a table."""
    if "|" not in before or "-" not in line or len(before) + len(line) > _LONGEST_HEAD:
        return False
    return _DELIMITERS.fullmatch(line) is not None


def _rank(before: str, following: str, fence: _Fence | None) -> int:
    """How good it is to cut between two lines."""
    if fence is not None:
        return 1
    # An indented line belongs to a list or a quote above it.
    if following in (" ", "\t", ">"):
        return 1
    return 2 if before.strip() else 3


def _after(line: str, fence: _Fence | None) -> _Fence | None:
    """The code block that is open behind a line."""
    if fence is not None:
        return None if fence.closed_by(line) else fence
    found = _FENCE.fullmatch(line)
    if found is None or len(line) > _LONGEST_FENCE:
        return None
    indent = found["indent"]
    # Four spaces at the beginning of a part would make the fence itself code.
    opening = line if len(indent) < 4 else line[len(indent) :]
    return _Fence(opening=opening, indent=indent, marks=found["marks"])
