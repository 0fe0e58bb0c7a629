"""What the demo prints: one line a step, with a mark and the time it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

GREEN, RED, DIM, BOLD, PLAIN = "\033[32m", "\033[31m", "\033[2m", "\033[1m", "\033[0m"


@dataclass(slots=True)
class Step:
    """A step that runs; what is noted shows under it."""

    title: str
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Add a line on what was seen."""
        self.notes.append(line)


class Report:
    """Prints for people on a terminal, plainly anywhere else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        self.steps = 0

    def line(self, text: str = "") -> None:
        """One line as it is."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def heading(self, text: str) -> None:
        """What the following lines belong to."""
        self.line(f"\n{self._paint(BOLD, text)}")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show that a step runs, then how it ended; an exception marks it as failed and goes on upwards."""
        step, begun = Step(title), time.monotonic()
        if self._terminal:
            self._out.write(f"  {self._mark('…', '.')} {title}")
            self._out.flush()
        try:
            yield step
        except BaseException:
            self._end(step, self._paint(RED, self._mark("✗", "FAILED")), begun)
            raise
        self.steps += 1
        self._end(step, self._paint(GREEN, self._mark("✓", "ok")), begun)

    def _end(self, step: Step, mark: str, begun: float) -> None:
        back = "\r\033[K" if self._terminal else ""
        took = self._paint(DIM, f"{time.monotonic() - begun:.1f} s")
        self.line(f"{back}  {mark} {step.title}  {took}")
        for note in step.notes:
            self.line(self._paint(DIM, f"      {note}"))

    def _mark(self, sign: str, plain: str) -> str:
        return sign if self._unicode else plain

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._terminal else text
