"""Tells where a character as people see it ends, which may be several of Unicode's (UAX 29, "Grapheme clusters")."""

from __future__ import annotations

import unicodedata

_LONGEST = 64
"""No character that means something has so many parts."""
_JOINER = "\u200d"
_FLAGS = range(0x1F1E6, 0x1F200)
_SKINS_AND_TAGS = (range(0x1F3FB, 0x1F400), range(0xE0020, 0xE0080))
_SYLLABLES = range(0x1100, 0x1200)
_LATER_JAMO = range(0x1160, 0x1200)


def between_characters(text: str, at: int) -> int:
    """The last place at or before `at` where one character ends and the next begins."""
    for place in range(at, max(0, at - _LONGEST), -1):
        if place >= len(text) or not _belong_together(text, place):
            return place
    return at


def _belong_together(text: str, at: int) -> bool:
    """Whether what is before a place and what is behind it are one."""
    before, behind = text[at - 1], text[at]
    code = ord(behind)
    if code < 0x300 and before != _JOINER:
        return behind == "\n" and before == "\r"
    if unicodedata.category(behind) in ("Mn", "Me", "Mc") or _JOINER in (before, behind):
        return True
    if any(code in each for each in _SKINS_AND_TAGS):
        return True
    if code in _LATER_JAMO:
        return ord(before) in _SYLLABLES or 0xAC00 <= ord(before) <= 0xD7A3
    return code in _FLAGS and _flags_before(text, at) % 2 == 1


def _flags_before(text: str, at: int) -> int:
    """How many halves of flags stand right before a place."""
    start = at
    while start > 0 and at - start <= 4 * _LONGEST and ord(text[start - 1]) in _FLAGS:
        start -= 1
    return at - start
