"""Kills while recovering from kills: two lives end before the clean one, or three end at the same message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from proof.points import Counts, Point, catalogue
from proof.scenario import FIRST_COUNT

SECOND_TIMES = (1, 3, 2, 5)
"""The how many-th time in the second life, in turn."""


def pairs(counts: Counts, share: int) -> Iterator[tuple[Point, Point]]:
    """One in so many of all pairs of places to die at, each place about as often as any other."""
    firsts = list(catalogue(counts, 1))
    seconds = list(catalogue(dict.fromkeys(counts, 1), 1))
    for row, first in enumerate(firsts):
        for column, second in enumerate(seconds):
            if (row + column) % share == 0:
                times = SECOND_TIMES[(row + column) // share % len(SECOND_TIMES)]
                yield first, replace(second, count=times)


def _thrice(name: str, first: int = 1, side: str = "", text: str = "") -> Sequence[Point]:
    """Three lives end at the same message, which comes again first in each life after the first."""
    again = Point(name=name, count=first if text else 1, side=side, text=text)
    return replace(again, count=first), again, again


POISON: Sequence[tuple[str, Sequence[Point]]] = (
    ("start", _thrice("open.before")),
    ("start", _thrice("open.after")),
    ("new", _thrice("open.before", 2)),
    ("new", _thrice("open.after", 2)),
    ("file", _thrice("download", side="before")),
    ("file", _thrice("download", side="after")),
    ("count", _thrice("agent.ask", 1, "after", FIRST_COUNT)),
    ("count", [Point(name="agent.ask", count=30, side="after", text=FIRST_COUNT, draft=True)] * 3),
    ("make", _thrice("agent.ask", 5, "after", "make a file")),
)
"""Which message of the scenario kills the host each time that it is worked on, and where."""
