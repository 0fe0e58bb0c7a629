"""Owns how much of an agent is taken in a second, so that those who flood leave the loop to others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

RATE = 4 << 20
"""Units a second, once `BURST` is spent: a few percent of what a processor can do, and more than any model writes."""
BURST = 8 << 20
FRAME = 1500
"""What a frame costs beside one unit a byte: as much work as so many bytes."""
AT_ONCE = 4
"""How many may flood at that rate; more of them share what these have."""
_DEBT = RATE // 20
_UNBROKEN = 50
"""Frames after which others have their turn in any case."""


class Crowd:
    """Those who have spent more than they have."""

    def __init__(self) -> None:
        self.size = 0

    async def wait(self, seconds: float, left: asyncio.Event) -> None:
        """Wait so long, and longer the more others do; no longer than until `left` is set."""
        self.size += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds * max(1.0, self.size / AT_ONCE)):
                    await left.wait()
        finally:
            self.size -= 1


class Pace:
    """A purse that fills up with time; who has spent more than is in it waits until that is made good."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._purse = float(BURST)
        self._at = 0.0
        self._unbroken = 0

    async def spend(self, size: int, left: asyncio.Event) -> None:
        """Pay for a frame of so many bytes; waits, but no longer than until `left` is set."""
        loop = asyncio.get_running_loop()
        self._purse = min(BURST, self._purse + (loop.time() - self._at) * RATE) - size - FRAME
        self._at = loop.time()
        self._unbroken += 1
        if self._unbroken % _UNBROKEN == 0:
            await asyncio.sleep(0)
        if self._purse < -_DEBT:
            await self._crowd.wait(-self._purse / RATE, left)
            self._purse, self._at = 0.0, loop.time()
