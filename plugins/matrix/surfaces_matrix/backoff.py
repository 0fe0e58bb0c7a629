"""How long to wait before the next try of something that keeps failing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Doubling waits with jitter; never below `least_s`, so that a failing peer gets two tries a second at most."""

    base_s: float = 1.0
    cap_s: float = 4.0
    """Low, so that the bot is back within seconds of its homeserver; a longer wait is up to `retry_after`."""
    least_s: float = 0.5
    chance: Callable[[], float] = field(default=random.random, repr=False)
    failures: int = 0

    def next(self, retry_after: float | None = None) -> float:
        """Seconds to wait after one more failure."""
        top = min(self.cap_s, math.ldexp(self.base_s, min(self.failures, 30)))
        self.failures += 1
        return max(self.least_s + (top - self.least_s) * self.chance(), retry_after or 0.0)

    def reset(self) -> None:
        """It went well."""
        self.failures = 0
