"""Owns how often one account shows drafts, over all its rooms: a homeserver limits an account, not a room."""

from __future__ import annotations

import time
from collections.abc import Callable

from surfaces_core import Unavailable

SLOWEST = 16.0
"""A homeserver that limits the bot makes drafts rarer, but never by more than this."""
SLOWER, FASTER = 2.0, 0.9
LONGEST_PAUSE_S = 60.0


class Tempo:
    """A bucket of as many drafts as may be shown in a second, which fills slower while the homeserver complains."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._size = max(1.0, per_s)
        self._full = self._size
        self._at = clock()
        self._stretch = 1.0
        self._paused_until = 0.0

    def take(self, *, yields: bool = False) -> None:
        """Count one draft. Raises `Unavailable`, with the time to wait, where it is one too many.

        One that `yields` leaves half of the bucket to those that do not, and so takes what they leave of the rest.
        """
        now, rate = self._clock(), self._per_s / self._stretch
        self._full = min(self._size, self._full + (now - self._at) * rate)
        self._at = now
        # A bucket of less than two could never be so full.
        needed = 1.0 + (self._size / 2 if yields and self._size >= 2.0 else 0.0)
        wait_s = max(self._paused_until - now, (needed - self._full) / rate)
        if wait_s > 0:
            raise Unavailable("enough is being shown", code="TEMPO", retry_after=wait_s)
        self._full -= 1.0

    def succeeded(self) -> None:
        """The homeserver took one."""
        self._stretch = max(1.0, self._stretch * FASTER)

    def failed(self, error: Unavailable) -> None:
        """The homeserver took none: they come rarer from now on, and if it named a wait, all wait."""
        self._stretch = min(SLOWEST, self._stretch * SLOWER)
        wait_s = min(error.retry_after or 0.0, LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, self._clock() + wait_s)
