"""Tables for people on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from surfaces_core._config.plain import printable

WIDTH = 100
"""Columns that a table may have."""
_GAP = "  "


def say(line: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{line}\n")


def table(rows: Sequence[Sequence[str]], elastic: int | None = None) -> Iterator[str]:
    """Lines of a table whose first row is its head; the `elastic` column, if any, gives way where it grows too wide."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(rows[0]))]
    if elastic is not None:
        beyond = sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
        widths[elastic] = max(len(rows[0][elastic]), widths[elastic] - max(0, beyond))
    for row in cells:
        fitted = (cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield _GAP.join(fitted).rstrip()


def cut(text: str, width: int) -> str:
    """Text of at most so many characters: what is left out is left out of its middle."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
