"""The line that says which files wait: files that come behind each other have one, which grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from surfaces_core._engine import words
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.spots import Spot
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
    """The last line of each conversation; a process that starts anew begins new ones."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lines: dict[Spot, _Line] = {}

    def say(self, entry: Entry, stored: Sequence[str], waiting: int) -> Say:
        """What to say of files that came with an entry, when so many wait by now."""
        now, spot, names = self._now(), Spot.of(entry.message), tuple(stored)
        self._lines = {there: line for there, line in self._lines.items() if 0 <= now - line.at < GROWS_S}
        line = self._lines.get(spot)
        # else some of the files were taken or dropped since, or what shows already is another message
        goes_on = line is not None and line.person == entry.message.sender and not entry.shown
        if line is None or not goes_on or line.waiting + len(names) != waiting:
            line = _Line(key=f"{entry.turn}.0", person=entry.message.sender, names=(), waiting=0, at=now)
        told = self._lines[spot] = _Line(
            key=line.key, person=line.person, names=(*line.names, *names), waiting=waiting, at=now
        )
        return Say(text=words.staged(told.names, waiting), replaces=told.key if line.names else "")
