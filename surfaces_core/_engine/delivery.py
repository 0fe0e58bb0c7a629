"""Delivery: says what the outbox holds, in order in a conversation, side by side across.

A part leaves the outbox when it shows. While the messenger is away a gate lets one part at a time
probe it, however many wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.journal import Journal, Part
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.lanes import Lanes
from surfaces_core.contracts import Surface
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Delivered, Observed

SIDE_BY_SIDE = 32
"""Parts of one surface that are sent at the same time."""
PATIENCE_S = 8.0
"""The longest wait between two tries of one part, unless the messenger asks for more."""


def backoff(tries: int, *, base_s: float, cap_s: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the n-th failure (from 1): exponential, with full jitter."""
    return float(min(cap_s, base_s * 2 ** min(tries - 1, 30)) * chance())


class Gate:
    """Open while a peer answers; after a failure one caller at a time may try, each a while later."""

    def __init__(self) -> None:
        self._failures = 0
        self._not_before = 0.0
        self._probe = asyncio.Lock()

    @property
    def failing(self) -> bool:
        """The last call failed."""
        return self._failures > 0

    async def enter(self) -> bool:
        """Wait until a call may be tried; True when it is the one probe (then `leave` must follow)."""
        if not self.failing:
            return False
        await self._probe.acquire()
        if not self.failing:
            self._probe.release()
            return False
        try:
            await asyncio.sleep(max(0.0, self._not_before - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:
            self._probe.release()
            raise
        return True

    def leave(self, probing: bool, failed: bool, retry_after: float | None = None) -> bool:
        """Say how a call went; True when that is news."""
        was = self.failing
        if failed and (probing or not was):
            self._failures += 1
            wait = 0.5 + backoff(self._failures, base_s=1.0, cap_s=PATIENCE_S)
            self._not_before = asyncio.get_running_loop().time() + max(wait, retry_after or 0.0)
        elif not failed:
            self._failures = 0
        if probing:
            self._probe.release()
        return was != self.failing


class Delivery:
    """The outbox of one surface."""

    def __init__(
        self,
        *,
        name: str,
        surface: Surface,
        journal: Journal,
        observe: Callable[[Observed], None],
        gate: Gate,
        log: FilteringBoundLogger,
    ) -> None:
        self._surface = surface
        self._journal = journal
        self._observe = observe
        self._gate = gate
        self._log = log.bind(surface=name)
        self._tries: dict[int, int] = {}
        """Failures of the parts that wait, by their seq."""
        self.lanes: Lanes[Part] = Lanes(self._send, SIDE_BY_SIDE)

    def put(self, part: Part) -> None:
        """Queue a stored part."""
        self.lanes.put(part.outbound.address, part)

    @property
    def failing(self) -> bool:
        """The messenger is away."""
        return self._gate.failing

    async def _send(self, part: Part) -> tuple[Part, float] | None:
        probing = await self._gate.enter()
        failed: Unavailable | None = None
        try:
            point("send.before")
            receipt = await self._surface.send(part.outbound)
            point("send.after")
        except Unavailable as error:
            failed = error
        except Rejected as error:
            await self._give_up(part, error)
            return None
        finally:
            news = self._gate.leave(probing, failed is not None, failed.retry_after if failed else None)
        if failed is not None:
            return part, self._put_off(part, failed, news)
        if news:
            self._log.info("delivery.back")
        self._tries.pop(part.seq, None)
        await self._journal.delivered(part)
        self._observe(Delivered(outbound=part.outbound, receipt=receipt))
        return None

    async def _give_up(self, part: Part, error: Rejected) -> None:
        self._log.warning("delivery.rejected", key=part.outbound.key, code=error.code, error=str(error))
        self._tries.pop(part.seq, None)
        await self._journal.bury(part, f"{error.code}: {error}")

    def _put_off(self, part: Part, error: Unavailable, news: bool) -> float:
        """Seconds until this part is tried again."""
        if news:
            self._log.warning("delivery.down", code=error.code, error=str(error))
        tries = self._tries[part.seq] = self._tries.get(part.seq, 0) + 1
        return max(error.retry_after or 0.0, backoff(tries, base_s=1.0, cap_s=PATIENCE_S))
