"""Delivery: says what the outbox holds, in order in a conversation, side by side across.

A part leaves the outbox when it shows. While the messenger is away a gate lets one part at a time
probe it, however many wait. A part that is refused for good is kept as a dead letter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.journal import Journal, Part
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.lanes import Lanes
from surfaces_core.contracts import Surface
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Delivered, Observed

SIDE_BY_SIDE = 32
"""Parts of one surface that are sent at the same time."""
LEAST_WAIT_S = 0.5
PATIENCE_S = 8.0
"""The longest wait between two tries of one part, unless the messenger asks for more."""


def backoff(tries: int, *, base_s: float, cap_s: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after the n-th failure (from 1): exponential, with full jitter."""
    return float(min(cap_s, base_s * 2 ** min(tries - 1, 30)) * chance())


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
        self._back = asyncio.Event()

    @property
    def failing(self) -> bool:
        """Something failed since the last success."""
        return bool(self._suspects)

    @property
    def away(self) -> bool:
        """The peer does not answer."""
        return len(self._suspects) > 1

    async def enter(self) -> None:
        """Wait until a call may be tried."""
        loop = asyncio.get_running_loop()
        while self.away:
            if loop.time() >= self._next:
                self._next = loop.time() + self._spacing()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next):
                    await self._back.wait()

    def succeeded(self) -> bool:
        """A call went well; True when that is news."""
        news = self.away
        self._suspects.clear()
        self._failures = 0
        self._back.set()
        return news

    def failed(self, who: Hashable, began: float, retry_after: float | None) -> bool:
        """A call that began at some time of the loop failed; True when that is news."""
        now, was = asyncio.get_running_loop().time(), self.away
        self._suspects.add(who)
        if self._failures == 0 or now - self._last_failure >= LEAST_WAIT_S:  # many at one instant are one failure
            self._failures += 1
            self._last_failure = now
        self._next = max(self._next, began + self._spacing(), now + max(LEAST_WAIT_S, retry_after or 0.0))
        if self.away and not was:
            self._back.clear()
        return self.away and not was

    def _spacing(self) -> float:
        return LEAST_WAIT_S + backoff(self._failures, base_s=1.0, cap_s=PATIENCE_S)


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
        """The last part could not be sent."""
        return self._gate.failing

    async def _send(self, part: Part) -> tuple[Part, float] | None:
        await self._gate.enter()
        began = asyncio.get_running_loop().time()
        try:
            point("send.before")
            receipt = await self._surface.send(part.outbound)
            point("send.after")
        except Unavailable as error:
            return part, self._put_off(part, error, began)
        except Rejected as error:
            self._log.warning("delivery.rejected", key=part.outbound.key, code=error.code, error=str(error))
            return await self._give_up(part, f"{error.code}: {error}")
        except Exception as error:  # noqa: BLE001 - a part that a bug chokes on would end every life of the host
            self._log.exception("delivery.bug", key=part.outbound.key)
            return await self._give_up(part, f"BUG: {type(error).__name__}")
        if self._gate.succeeded():
            self._log.info("delivery.back")
        self._tries.pop(part.seq, None)
        await self._journal.delivered(part)
        self._observe(Delivered(outbound=part.outbound, receipt=receipt))
        return None

    async def _give_up(self, part: Part, reason: str) -> tuple[Part, float] | None:
        """Keep a part as a dead letter, and say in its place that something is missing."""
        self._tries.pop(part.seq, None)
        lost = part.outbound
        if lost.notice:
            await self._journal.bury(part, reason, None)
            return None
        # a draft that shows under this key must not stay; otherwise the key may be used up
        key = lost.key if lost.streamed else f"{lost.key}x"
        said = await self._journal.bury(
            part, reason, replace(lost, key=key, text=words.PART_LOST, file=None, notice=True)
        )
        return None if said is None else (said, 0.0)

    def _put_off(self, part: Part, error: Unavailable, began: float) -> float:
        """Seconds until this part is tried again; a try that hung has used up some of them."""
        if self._gate.failed(part.outbound.address, began, error.retry_after):
            self._log.warning("delivery.down", code=error.code, error=str(error))
        tries = self._tries[part.seq] = self._tries.get(part.seq, 0) + 1
        took = asyncio.get_running_loop().time() - began
        return max(error.retry_after or 0.0, LEAST_WAIT_S, backoff(tries, base_s=1.0, cap_s=PATIENCE_S) - took)
