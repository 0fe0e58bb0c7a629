"""Spares a homeserver that fails: while it does, calls are let through one by one, some time apart."""

from __future__ import annotations

import asyncio
import time

from surfaces_core import Unavailable

SPACING_S = 0.5
"""Two requests a second are the most that a failing homeserver gets."""
PATIENCE = 3
"""Failures in a row, of any calls, until it counts as failing."""


class Gate:
    """Counts failures in a row; from `PATIENCE` on, `enter` waits for a slot or for the end of the trouble."""

    def __init__(self, spacing_s: float = SPACING_S) -> None:
        self._spacing_s = spacing_s
        self._failures = 0
        self._next_slot = 0.0
        self._recovered = asyncio.Event()

    @property
    def closed(self) -> bool:
        """The far side counts as failing."""
        return self._failures >= PATIENCE

    async def enter(self, patience_s: float) -> None:
        """Wait for a slot. `Unavailable` at once when none comes within `patience_s`."""
        if not self.closed:
            return
        now = time.monotonic()
        slot = max(now, self._next_slot)
        if slot - now > patience_s:
            raise Unavailable("the homeserver fails and others already wait for it", retry_after=slot - now)
        self._next_slot = slot + self._spacing_s
        try:
            async with asyncio.timeout(slot - now):
                await self._recovered.wait()
        except TimeoutError:
            return

    def succeeded(self) -> None:
        """The far side answered as it should: everybody may go."""
        if self._failures:
            self._failures = 0
            self._recovered.set()

    def failed(self) -> None:
        """The far side did not answer, or answered that it can't."""
        self._failures += 1
        self._recovered.clear()
