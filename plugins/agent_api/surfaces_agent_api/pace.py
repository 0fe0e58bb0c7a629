"""Owns how much of one agent is taken in a second, so that one that floods leaves the loop to others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

RATE = 4 << 20
"""Units a second, once `BURST` is spent: a few percent of what a processor can do, and more than any model writes."""
BURST = 32 << 20
FRAME = 1500
"""What a frame costs beside one unit a byte: as much work as so many bytes."""
_DEBT = RATE // 20
_UNBROKEN = 100
"""Frames after which others have their turn in any case."""


class Pace:
    """A purse that fills up with time; who has spent more than is in it waits."""

    def __init__(self) -> None:
        self._purse = float(BURST)
        self._at = 0.0
        self._unbroken = 0

    async def spend(self, size: int, left: asyncio.Event) -> None:
        """Pay for a frame of so many bytes; waits, but no longer than until `left` is set."""
        now = asyncio.get_running_loop().time()
        self._purse = min(BURST, self._purse + (now - self._at) * RATE) - size - FRAME
        self._at = now
        self._unbroken += 1
        if self._unbroken % _UNBROKEN == 0:
            await asyncio.sleep(0)
        if self._purse < -_DEBT:
            with suppress(TimeoutError):
                async with asyncio.timeout(-self._purse / RATE):
                    await left.wait()
