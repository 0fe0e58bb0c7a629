"""The lines that say which files wait: files that come behind each other have one, which grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from surfaces_core._engine import words
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.staging import Taken
from surfaces_core._engine.work import Say

GROWS_S = 60.0
"""So long a line goes on growing; later it has scrolled away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What was said last."""

    key: str
    person: str
    names: tuple[str, ...]
    waiting: int
    at: float


class StagedLines:
    """The last lines of each conversation; a process that starts anew begins new ones."""

    def __init__(self, now: Callable[[], float], prefix: str) -> None:
        self._now = now
        self._prefix = prefix
        self._lines: dict[tuple[Spot, str], _Line] = {}

    def say(self, entry: Entry, taken: Taken, *, here: int, in_all: int) -> list[Say]:
        """What to say of files that came with an entry, when so many wait by now in its thread, and in all threads."""
        now = self._now()
        self._lines = {there: line for there, line in self._lines.items() if 0 <= now - line.at < GROWS_S}
        says: list[Say] = []
        if taken.stored:
            line, earlier = self._grown(entry, "stored", taken.stored, here, len(taken.stored), len(says))
            says.append(Say(text=words.staged(line.names, here), replaces=earlier))
        if taken.surplus:
            line, earlier = self._grown(entry, "surplus", taken.surplus, in_all, 0, len(says))
            says.append(Say(text=words.too_many_staged(line.names, in_all, self._prefix), replaces=earlier))
        return [*says, *(Say(text=line) for line in taken.lines)]

    def _grown(
        self, entry: Entry, kind: str, names: Sequence[str], waiting: int, more: int, part: int
    ) -> tuple[_Line, str]:
        """A line with further names, and the key of the one in whose place it shows.

        It begins anew where files were taken or dropped since, or where another message shows already.
        """
        spot, person, now = Spot.of(entry.message), entry.message.sender, self._now()
        before = self._lines.get((spot, kind))
        goes_on = before is not None and before.person == person and before.waiting + more == waiting
        if before is None or not goes_on or entry.shown:
            line, earlier = _Line(key=f"{entry.turn}.{part}", person=person, names=(), waiting=0, at=now), ""
        else:
            line, earlier = before, before.key
        grown = _Line(key=line.key, person=person, names=(*line.names, *names), waiting=waiting, at=now)
        self._lines[spot, kind] = grown
        return grown, earlier
