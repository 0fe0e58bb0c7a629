"""Who fails is not stormed: how long to wait between tries, and how many may try at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from surfaces_core.errors import SurfacesError, Unavailable

LEAST_WAIT_S = 0.5
PATIENCE_S = 5.0
"""The longest wait between two tries at a peer that fails, unless it asks for more."""


def backoff(tries: int, *, base_s: float, cap_s: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the n-th failure (from 1): exponential, with full jitter."""
    return float(min(cap_s, base_s * 2 ** min(tries - 1, 30)) * chance())


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Since when something does not work, and why."""

    since: float
    """Unix seconds."""
    code: str

    @classmethod
    def of(cls, error: BaseException) -> Trouble:
        """It begins now."""
        return cls(since=time.time(), code=error.code if isinstance(error, SurfacesError) else "BUG")


class Gate:
    """Lets everybody pass while a peer answers, and one at a time, ever more slowly, while it does not.

    A peer counts as away when two conversations in a row failed: one that fails alone has its own wait.
    """

    def __init__(self) -> None:
        self._suspects: set[Hashable] = set()
        """Who failed since the last success."""
        self._failures = 0
        self._next = 0.0
        self._last_failure = 0.0
        self._last_success = 0.0
        self._back = asyncio.Event()
        self.trouble: Trouble | None = None
        """The first failure since the last success."""

    @property
    def idle_s(self) -> float:
        """Seconds since the last failure."""
        return asyncio.get_running_loop().time() - self._last_failure

    @property
    def away(self) -> bool:
        """The peer does not answer."""
        return len(self._suspects) > 1

    def ask(self) -> float:
        """Seconds until a call may be tried; with 0 the caller has the place and must try."""
        now = asyncio.get_running_loop().time()
        if not self.away:
            return 0.0
        if now < self._next:
            return self._next - now
        self._next = now + self._spacing()
        return 0.0

    async def enter(self) -> None:
        """Wait until a call may be tried."""
        while wait := self.ask():
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._back.wait()

    def succeeded(self) -> bool:
        """A call went well; True when that is news."""
        news = self.away
        self._last_success = asyncio.get_running_loop().time()
        self._suspects.clear()
        self._failures = 0
        self._next = 0.0
        self.trouble = None
        self._back.set()
        return news

    def failed(self, who: Hashable, began: float, error: Unavailable) -> bool:
        """A call that began at some time of the loop failed; True when that is news."""
        if began < self._last_success:  # it tells of a time that is over
            return False
        now, was = asyncio.get_running_loop().time(), self.away
        self._suspects.add(who)
        self.trouble = self.trouble or Trouble.of(error)
        if self._failures == 0 or now - self._last_failure >= LEAST_WAIT_S:  # many at one instant are one failure
            self._failures += 1
            self._last_failure = now
        # what one caller is told to wait is its own affair, and the peer's only as long as patience lasts
        told = min(error.retry_after or 0.0, PATIENCE_S)
        self._next = max(self._next, began + self._spacing(), now + max(LEAST_WAIT_S, told))
        if self.away and not was:
            self._back.clear()
        return self.away and not was

    def _spacing(self) -> float:
        return LEAST_WAIT_S + backoff(self._failures, base_s=1.0, cap_s=PATIENCE_S)
