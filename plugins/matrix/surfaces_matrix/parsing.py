"""Parses the JSON of homeservers, whatever its size, and whatever is broken in some part of it.

One event that the strict and fast parser refuses (half of a surrogate pair, nesting without end, a bare control
character) must not hide all others: anybody who can send an event that some homeserver lets pass would make the bot
deaf for good. What is refused as a whole, or too big to be parsed at once, is therefore taken apart down to `DEPTH`
and parsed piece by piece; pieces that are no JSON are left out. What is broken in its outer parts is none at all.
What is small and sound, most rooms say, is a piece as it is: taking it apart would cost twenty times as much.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from surfaces_matrix.breath import Breath

WHOLE_BYTES = 2 * 1024 * 1024
"""So much is parsed at once, in a few hundredths of a second."""
DEPTH = 6
"""Of an event in a sync response: rooms, join, room, timeline, events, event."""
SMALL_PIECE = 32 * 1024
"""What ends within so many bytes is only taken apart where it is broken."""
LARGEST_PIECE = 1024 * 1024
"""No event is bigger than 64 KiB; a bigger piece is left out."""

_LEFT_OUT = object()
_SPACE = re.compile(rb"[ \t\r\n]*")
_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+){0,4096}+', re.DOTALL)
"""Passes over strings and scalars, as far as the next bracket."""
_SCALAR = re.compile(rb"[^\s,\]}\"{\[]+")
_OPENS, _CLOSES, _QUOTE, _BACKSLASH = b"{[", b"}]", b'"', 0x5C
_BREATHE_EVERY = 512
"""Brackets that are passed over between two looks at the clock."""


class _Broken(Exception):
    """It is no JSON, or its outer parts are not."""


async def parse(raw: bytes | bytearray) -> Any:
    """The value of some JSON, without the pieces that are broken; None where it is none. Lets others run meanwhile."""
    if len(raw) <= WHOLE_BYTES:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    breath, pieces = Breath(), _Pieces(raw)
    try:
        for _ in pieces.read():
            await breath()
    except _Broken:
        return None
    return pieces.value


class _Pieces:
    """One text, from its beginning to its end; `read` yields where others may run."""

    def __init__(self, raw: bytes | bytearray) -> None:
        self._raw = raw
        self._at = 0
        self.value: Any = None

    def read(self) -> Iterator[None]:
        """Parse all of it into `value`. Raises `_Broken`."""
        yield from self._value(DEPTH)
        self._space()
        if self._at != len(self._raw) or self.value is _LEFT_OUT:
            raise _Broken

    def _value(self, depth: int) -> Iterator[None]:
        """The value that begins here."""
        self._space()
        opening = self._raw[self._at : self._at + 1]
        if not depth or opening not in (b"{", b"["):
            yield from self._piece(opening)
        elif self._at_once():
            yield
        elif opening == b"{":
            yield from self._object(depth - 1)
        else:
            yield from self._array(depth - 1)

    def _at_once(self) -> bool:
        """Parse the object or array that begins here; False where it is big or broken."""
        try:
            end = self._near_end()
            self.value = orjson.loads(self._raw[self._at : end])  # what has no end is no JSON
        except orjson.JSONDecodeError:
            return False
        self._at = end
        return True

    def _near_end(self) -> int:
        """The place behind the object or array that begins here; its own where that is too far away or not there."""
        raw, at, depth, most = self._raw, self._at, 0, self._at + SMALL_PIECE
        while True:
            passed = _TO_BRACKET.match(raw, at, most)
            assert passed is not None  # it matches nothing, too
            at = passed.end()
            mark = raw[at : at + 1]
            if at >= most or mark == _QUOTE or not mark:
                return self._at
            at += 1
            depth += 1 if mark in _OPENS else -1
            if not depth:
                return at

    def _object(self, depth: int) -> Iterator[None]:
        found: dict[str, Any] = {}
        self._at += 1
        more = not self._ends(b"}")
        while more:
            self._space()
            if self._raw[self._at : self._at + 1] != _QUOTE:
                raise _Broken
            yield from self._piece(_QUOTE)
            name = self.value
            self._pass(b":")
            yield from self._value(depth)
            if self.value is not _LEFT_OUT and isinstance(name, str):
                found[name] = self.value
            more = self._goes_on(b"}")
        self.value = found

    def _array(self, depth: int) -> Iterator[None]:
        found: list[Any] = []
        self._at += 1
        more = not self._ends(b"]")
        while more:
            yield from self._value(depth)
            if self.value is not _LEFT_OUT:
                found.append(self.value)
            more = self._goes_on(b"]")
        self.value = found

    def _piece(self, opening: bytes | bytearray) -> Iterator[None]:
        """A value that is not taken apart."""
        start = self._at
        if opening == _QUOTE:
            self._at = self._behind_string(start)
        elif opening and opening in _OPENS:
            yield from self._skip()
        else:
            scalar = _SCALAR.match(self._raw, start)
            if scalar is None:
                raise _Broken
            self._at = scalar.end()
        self.value = _load(self._raw[start : self._at]) if self._at - start <= LARGEST_PIECE else _LEFT_OUT
        yield

    def _skip(self) -> Iterator[None]:
        """Pass over an object or array."""
        raw, at, depth, marks = self._raw, self._at, 0, 0
        while True:
            passed = _TO_BRACKET.match(raw, at)
            assert passed is not None  # it matches nothing, too
            at = passed.end()
            mark = raw[at : at + 1]
            if mark == _QUOTE:
                if passed.end() == passed.start():
                    raise _Broken  # a string without an end
            elif not mark:
                raise _Broken
            else:
                at += 1
                depth += 1 if mark in _OPENS else -1
                if not depth:
                    break
            marks += 1
            if not marks % _BREATHE_EVERY:
                yield
        self._at = at

    def _behind_string(self, start: int) -> int:
        """The place behind the string that begins at `start`."""
        raw, at = self._raw, start + 1
        while (at := raw.find(_QUOTE, at)) >= 0:
            backslashes = at
            while raw[backslashes - 1] == _BACKSLASH:
                backslashes -= 1
            at += 1
            if not (at - 1 - backslashes) % 2:
                return at
        raise _Broken

    def _goes_on(self, closing: bytes) -> bool:
        """Pass the comma behind a value, or the end of what it is in."""
        if self._ends(closing):
            return False
        self._pass(b",")
        return True

    def _ends(self, closing: bytes) -> bool:
        self._space()
        if self._raw[self._at : self._at + 1] != closing:
            return False
        self._at += 1
        return True

    def _pass(self, mark: bytes) -> None:
        if not self._ends(mark):
            raise _Broken

    def _space(self) -> None:
        space = _SPACE.match(self._raw, self._at)
        assert space is not None  # it matches nothing, too
        self._at = space.end()


def _load(piece: bytes | bytearray) -> Any:
    try:
        return orjson.loads(piece)
    except orjson.JSONDecodeError:
        pass
    try:
        # It takes half characters and bare controls as they are.
        return _whole(json.loads(piece.decode("utf-8", "replace"), strict=False))
    except (ValueError, RecursionError):
        return _LEFT_OUT


def _whole(value: Any) -> Any:
    """The value with a sign in the place of each half character: nobody else could store or send it."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(inner) for name, inner in value.items()}
    return value
