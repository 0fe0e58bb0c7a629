"""Kills while recovering from kills: two lives end before the clean one, or all that may end at the same message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """Lives that end at one message, which then has no answer, and that is said once."""

    message: str
    """Of the scenario."""
    at: Sequence[Point]
    on_interrupt: str = "retry"
    """The host's policy."""

    def __str__(self) -> str:
        return f"{self.message}:{'+'.join(map(str, self.at))}"


def _thrice(message: str, point: Point, again: int | None = None) -> Spoiled:
    """Three lives end at the same message, which in the later ones comes first."""
    later = point if again is None else replace(point, count=again)
    return Spoiled(message=message, at=[point, later, later])


_DRAFT = Point(name="agent.ask", count=30, side="after", text=FIRST_COUNT, draft=True)

SPOILED: Sequence[Spoiled] = (
    _thrice("start", Point(name="open.before", count=1)),
    _thrice("start", Point(name="open.after", count=1)),
    _thrice("new", Point(name="open.before", count=2), 1),
    _thrice("new", Point(name="open.after", count=2), 1),
    _thrice("file", Point(name="download", count=1, side="before")),
    _thrice("file", Point(name="download", count=1, side="after")),
    _thrice("count", Point(name="agent.ask", count=1, side="after", text=FIRST_COUNT)),
    _thrice("count", _DRAFT),
    _thrice("make", Point(name="agent.ask", count=5, side="after", text="make a file")),
    Spoiled(message="count", at=[_DRAFT], on_interrupt="auto"),
    Spoiled(
        message="make", at=[Point(name="agent.ask", count=1, side="after", text="make a file")], on_interrupt="notify"
    ),
)
