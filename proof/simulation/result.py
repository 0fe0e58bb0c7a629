"""What a simulation found, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proof.simulation.judge import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One simulated world, from its beginning to its end."""

    seed: int
    turns: int
    """Things that people said or did."""
    digest: str
    """Of the whole trace: the same for the same seed."""
    lines: int
    """Of the trace."""
    virtual_s: float
    real_s: float
    cpu_s: float
    """These are not the same for the same seed, nor are `objects`; everything else is."""
    lives: int
    deaths: Mapping[str, int]
    """How lives ended."""
    endings: Mapping[str, int]
    """How turns ended."""
    commits: int
    most_rows: int
    """The most rows that the disk ever had."""
    left_rows: int
    """Rows of the inbox, the outbox, events, openings or staged files at the end."""
    objects: tuple[int, int]
    """Live Python objects after a fifth of the turns, and behind them all."""
    latency_s: Mapping[str, float]
    """From a question to its whole answer: the median, the 95th percentile and the longest."""
    failures: tuple[Failure, ...]

    def summary(self) -> str:
        """One line."""
        found = f"{len(self.failures)} FAILURES" if self.failures else "no failure"
        return (
            f"seed {self.seed}: {self.turns} turns in {self.lives} lives, {self.virtual_s / 3600:.1f} virtual hours, "
            f"{self.real_s:.1f} s ({self.cpu_s:.1f} s of work), {found}, {self.lines} lines, digest {self.digest}"
        )

    def report(self) -> str:
        """What a developer needs to see why it failed."""
        return "\n".join(
            f"\n{failure.kind} in {failure.conversation} at {failure.at_s:.3f} s, seed {self.seed}: {failure.what}\n  "
            + "\n  ".join(failure.trace)
            for failure in self.failures
        )
