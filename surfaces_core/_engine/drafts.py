"""Drafts: a running turn shown early, at the surface's pace and within its budget.

Nothing here is durable but the mark that a draft may show; a draft that is lost harms nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.foreign import contained
from surfaces_core._engine.journal import Entry
from surfaces_core.contracts import Pace, Surface
from surfaces_core.errors import DriverError, Unavailable
from surfaces_core.events import Draft

LONGEST_S = 15.0
"""Showing one draft may take so long; the final answer waits behind it."""
LOOK_S = 0.1
"""At most so often it is looked whether what comes before a turn shows."""
WIDEN = 1.1
"""How much each interval is longer than the one before it."""


class Drafts:
    """Shows one turn. `run` is a task of the turn and ends some time after `close`."""

    def __init__(
        self,
        *,
        surface: Surface,
        pace: Pace,
        base: Draft,
        before_first: Callable[[], Awaitable[Entry]],
        behind: Callable[[], bool],
        alone: Callable[[], bool],
        log: FilteringBoundLogger,
    ) -> None:
        self._surface = surface
        self._pace = pace
        self._base = base
        self._before_first = before_first
        self._behind = behind
        """Whether something that comes before this turn does not show yet."""
        self._alone = alone
        """Whether nothing else is shown in this conversation: typing ends with the last one."""
        self._log = log
        self._pieces: list[str] = []
        self._chars = 0
        self._status = ""
        self._version = 0
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    def add(self, text: str, status: str = "") -> None:
        """More of the answer, and what stays to be told beside it."""
        self._pieces.append(text)
        self._chars += len(text)
        self._status = status
        self._changed.set()

    def status(self, line: str) -> None:
        """What the agent is doing."""
        if line != self._status:
            self._status = line
            self._changed.set()

    def close(self) -> None:
        """Show nothing further; what is being shown right now is waited for, so that it can't come late."""
        self._closed.set()
        self._changed.set()

    async def run(self) -> None:
        """Show until closed."""
        if await self._wait(self._pace.typing_after_s):
            return
        await self._show(self._draft(text=False))
        ended = self._pace.budget > 0 and (await self._first() or await self._rest())
        while not ended:
            ended = await self._wait(self._pace.heartbeat_s)
            if not ended:
                await self._show(self._draft(text=False))
        if self._alone():
            await self._show(self._draft(text=False, done=True))

    async def _first(self) -> bool:
        """Wait until the first draft is worth showing; True when the turn ended before."""
        rest = self._pace.first_s - self._pace.typing_after_s
        if rest > 0 and await self._wait(rest):
            return True
        while self._chars < self._pace.first_chars and not self._status:
            if await self._next_change():
                return True
        while self._behind():  # where a message first shows, there it stays
            if await self._wait(max(self._pace.interval_s, LOOK_S)):
                return True
        entry = await self._before_first()
        self._base = replace(self._base, device=entry.shown_on, first_at=entry.shown_at)
        return self._closed.is_set()

    async def _rest(self) -> bool:
        """Show what comes until the budget is used; True when the turn ended before."""
        interval = self._pace.interval_s
        while True:
            self._changed.clear()
            self._version += 1
            interval = max(interval, await self._show(self._draft(text=True)))
            if self._version >= self._pace.budget:
                return self._closed.is_set()
            if await self._wait(interval) or await self._next_change():
                return True
            interval *= WIDEN

    async def _next_change(self) -> bool:
        """Wait for something new to show, typing meanwhile; True when the turn ended."""
        while not self._changed.is_set():
            try:
                async with asyncio.timeout(self._pace.heartbeat_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._show(self._draft(text=False))
        self._changed.clear()
        return self._closed.is_set()

    async def _wait(self, seconds: float) -> bool:
        """Wait some time; True when the turn ended."""
        try:
            async with asyncio.timeout(seconds):
                return await self._closed.wait()
        except TimeoutError:
            return False

    def _draft(self, *, text: bool, done: bool = False) -> Draft:
        if not text:
            return replace(self._base, done=done)
        return replace(self._base, version=self._version, text="".join(self._pieces), status=self._status, done=done)

    async def _show(self, draft: Draft) -> float:
        """Show one draft; the least seconds to wait before the next."""
        return await show(self._surface, draft, self._pace, self._log)


def draft_of(entry: Entry, asker: str) -> Draft:
    """The draft of this try before anything of it shows; `asker` as in `Draft`."""
    message = entry.message
    return Draft(
        key=f"{entry.turn}.0",
        turn=entry.turn,
        part=0,
        address=message.address,
        attempt=entry.attempts,
        version=0,
        thread=message.thread,
        reply_to=message.event_id if asker else "",
        asker=asker,
    )


async def show(surface: Surface, draft: Draft, pace: Pace, log: FilteringBoundLogger) -> float:
    """Show a draft if that works: it may be dropped at any time. The least seconds to wait before the next."""
    try:
        async with asyncio.timeout(LONGEST_S):
            with contained():
                await surface.show(draft)
    except Unavailable as error:
        return max(error.retry_after or 0.0, 2 * pace.interval_s)
    except (DriverError, TimeoutError):
        return pace.heartbeat_s
    except Exception:
        log.exception("draft.bug", key=draft.key)
        return pace.heartbeat_s
    return 0.0
