"""Runs of one part of the proof: what each is called, a few side by side, and what they come to together."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from proof.lives import Outcome
from proof.verdict import KINDS


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    name: str
    run: Callable[[], Awaitable[Outcome]]


@dataclass(kw_only=True)
class Tally:
    """What the runs of a part come to."""

    runs: int = 0
    kills: int = 0
    landed: int = 0
    """Kills that came with work outstanding; the others prove nothing."""
    wrong: Counter[str] = field(default_factory=Counter)
    notices: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    """What was wrong, by the run's name."""
    seconds: float = 0.0

    def add(self, name: str, outcome: Outcome) -> None:
        """One more run."""
        self.runs += 1
        self.kills += outcome.kills
        self.landed += outcome.landed
        self.wrong.update(outcome.verdict.counts())
        self.wrong["trouble"] += bool(outcome.trouble)
        self.notices.update(outcome.verdict.notices)
        if not outcome.good:
            self.failures[name] = str(outcome)

    @property
    def good(self) -> bool:
        """Something ran, and nothing was wrong."""
        return self.runs > 0 and not self.failures

    def figures(self) -> dict[str, object]:
        """For the report."""
        wrong = {kind: self.wrong[kind] for kind in (*KINDS, "trouble")}
        notices = {cause: count for cause, count in sorted(self.notices.items()) if count}
        numbers = {"runs": self.runs, "kills": self.kills, "landed": self.landed, **wrong}
        return {**numbers, "notices": notices, "seconds": round(self.seconds, 1), "failed": sorted(self.failures)}


Progress = Callable[[Tally, int], None]
"""Told after every run; and how many there are in all."""


async def run_all(cases: Sequence[Case], width: int, progress: Progress = lambda tally, count: None) -> Tally:
    """All runs, so many side by side."""
    tally, began = Tally(), time.monotonic()
    waiting = iter(cases)

    async def some(mine: Iterable[Case]) -> None:
        for case in mine:  # shared: whoever is free takes the next
            tally.add(case.name, await case.run())
            tally.seconds = time.monotonic() - began
            progress(tally, len(cases))

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(some(waiting))
    return tally
