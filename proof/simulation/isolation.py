"""Whether agents that are away delay those who talk to others: the same calm world with and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proof.simulation.judge import Failure
from proof.simulation.people import Habits
from proof.simulation.running import simulate
from proof.simulation.stage import FLAKY
from proof.simulation.weather import CALM

TOLERANCE = 1.1
"""Others may wait a tenth longer."""
SLACK_S = 0.2
JUDGED = ("median", "p95")
"""The longest says more about the one who asked most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """Seconds from a question to its answer in conversations whose agent is there."""

    seed: int
    calm_s: Mapping[str, float]
    """While all agents are there."""
    away_s: Mapping[str, float]
    """While three of eight are away."""
    failures: tuple[Failure, ...]

    @property
    def delayed(self) -> tuple[str, ...]:
        """Which of the figures are worse than they may be."""
        return tuple(name for name in JUDGED if self.away_s[name] > TOLERANCE * self.calm_s[name] + SLACK_S)


def isolation(seed: int, turns: int = 2000) -> Isolation:
    """Live through both."""
    calm = simulate(seed, turns, weather=CALM, habits=Habits(plain=True))
    away = simulate(seed, turns, weather=CALM, habits=Habits(plain=True), away=FLAKY)
    failures = (*calm.failures, *away.failures)
    return Isolation(seed=seed, calm_s=calm.latency_s, away_s=away.latency_s, failures=failures)
