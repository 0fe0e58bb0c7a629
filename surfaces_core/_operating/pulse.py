"""How late the event loop is: whatever runs on it waits at least so long."""

from __future__ import annotations

import asyncio
from collections import deque

BEAT_S = 0.25
KEPT = 60
"""Beats whose lateness is remembered: a quarter of a minute."""
STALL_S = 0.1
"""A beat that comes later than this counts as stalled."""


class Pulse:
    """Measures the loop that it runs on."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)
        self.stalled_s = 0.0
        """All that was lost in stalls since the start."""

    @property
    def lag_s(self) -> float:
        """The latest beat of the last quarter of a minute, in seconds behind its time."""
        return max(self._late, default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            late = max(0.0, loop.time() - due)
            self._late.append(late)
            if late > STALL_S:
                self.stalled_s += late
