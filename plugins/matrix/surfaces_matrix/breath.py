"""Lets others run in the middle of long work on the event loop."""

from __future__ import annotations

import asyncio
import time

LONGEST_S = 0.01


class Breath:
    """Called again and again in the course of some work, it now and then lets the loop do other things."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    @property
    def due(self) -> bool:
        """The work has gone on for long enough."""
        return time.perf_counter() - self._since > LONGEST_S

    async def __call__(self) -> None:
        """Let others run if it is time."""
        if self.due:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
