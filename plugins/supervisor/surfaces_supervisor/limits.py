"""What follows the end of a host: nothing, another try after a while, or a person has to look. No I/O, no clock."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

USELESS = {
    os.EX_USAGE: "wrong usage",
    os.EX_DATAERR: "the state cannot be read by this version",
    os.EX_NOPERM: "file rights",
    os.EX_CONFIG: "configuration or revoked credentials",
}
"""Ends that another start does not mend."""
AWAY = {
    os.EX_UNAVAILABLE: "a needed service is gone",
    os.EX_IOERR: "input/output",
    os.EX_TEMPFAIL: "another process holds the state",
}
"""Ends that have their reason outside of the host, and pass with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient a supervisor is."""

    crashes: int = 3
    """So many unclean ends …"""
    within_s: float = 300.0
    """… in so short a time are a loop."""
    wait_s: float = 1.0
    """The wait after the first unclean end; it doubles …"""
    longest_wait_s: float = 60.0
    """… up to this."""
    settle_s: float = 30.0
    """A host that was ready for so long runs well."""
    watchdog_s: float = 60.0
    """A host that says nothing for so long hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The host ended because it was to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Start it again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Let a person look."""

    reason: str
    mendable: bool
    """A change of the config may mend it."""


Next = Done | Wait | Hold


class Course:
    """The ends of one host so far."""

    def __init__(self, limits: Limits, chance: Callable[[], float]) -> None:
        self._limits = limits
        self._chance = chance
        self._tries = 0
        self._crashes: deque[float] = deque(maxlen=limits.crashes)
        self.unclean = 0
        """Unclean ends since the supervisor began."""

    def ended(self, code: int, now: float, *, why: str = "") -> Next:
        """A host ended by itself, with this exit code (negative: by a signal) at a time of a monotonic clock."""
        if code == os.EX_OK:
            return Done()
        said = f"{said_of(code)}: {why}" if why else said_of(code)
        if code in USELESS:
            return Hold(reason=said, mendable=True)
        if code not in AWAY:
            self.unclean += 1
            self._crashes.append(now)
            if len(self._crashes) == self._limits.crashes and now - self._crashes[0] <= self._limits.within_s:
                spent = f"{self._limits.crashes} unclean ends in {now - self._crashes[0]:.0f} s"
                return Hold(reason=f"{spent}, the last: {said}", mendable=False)
        return Wait(seconds=self._wait())

    def _wait(self) -> float:
        longest = min(self._limits.longest_wait_s, self._limits.wait_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return longest * (0.5 + self._chance() / 2)  # hosts that fell together must not rise together

    def settled(self) -> None:
        """It has run well for a while: the next wait is the first one again."""
        self._tries = 0

    def forgiven(self) -> None:
        """A person has looked: what was before does not count."""
        self._tries = 0
        self._crashes.clear()


def said_of(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    known = (USELESS | AWAY).get(code)
    return f"exit code {code} ({known})" if known else f"exit code {code}"
