"""What an agent is doing, as the status of a draft: the tools it calls and how far it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from surfaces_core._engine import words
from surfaces_core._engine.journal import storable
from surfaces_core.events import Progress, Tool

MOST_LINES = 10
"""Tool calls that a full status shows, the latest ones."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    done: bool = False

    def line(self) -> str:
        name = storable(self.name)
        return words.USED(tool=name) if self.done else words.USING(tool=name)


class Doing:
    """One turn's work so far."""

    def __init__(self, show: Literal["off", "compact", "full"]) -> None:
        self._show = show
        self._calls: list[_Call] = []

    def status(self, event: Tool | Progress) -> str | None:
        """The status now; None when it stays what it is."""
        if self._show == "off":
            return None
        if isinstance(event, Progress):
            percent = f"{event.fraction:.0%}" if event.fraction is not None else ""
            line = storable(" ".join(part for part in (event.text, percent) if part))
            return "\n".join(filter(None, (self.lines(), line)))
        if self._show == "compact":
            return "" if event.done or not event.name else _Call(event.id, event.name).line()
        self._note(event)
        return self.lines()

    def lines(self) -> str:
        """What stays while the answer comes: with `full` the tool calls, one line each."""
        return "\n".join(call.line() for call in self._calls[-MOST_LINES:])

    def _note(self, event: Tool) -> None:
        """A call is told in pieces, and its end by the same id; agents may leave out either."""
        open_ = [call for call in self._calls if not call.done and (call.id or call.name) == (event.id or event.name)]
        if open_:
            open_[-1].done = event.done
        elif event.name and not event.done:
            self._calls.append(_Call(event.id, event.name))
