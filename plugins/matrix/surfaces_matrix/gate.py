"""Spares a homeserver that fails: while it does, calls are let through one by one, some time apart."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass

from surfaces_core import Unavailable

SPACING_S = 1.1
"""Two requests a second are the most that a failing homeserver gets: aiohttp repeats a GET or PUT once by
itself when a connection ends without an answer (RFC 9110, "Idempotent Methods"), so one call may be two."""
PATIENCE = 3
"""Failures in a row, of whatever calls, until it counts as failing."""
PATIENCE_WITH_ONE = 2
"""The same of calls of one kind, while others go well."""


@dataclass(eq=False, slots=True)
class _Waiter:
    kind: str
    slot: asyncio.Future[None]


class Gate:
    """Counts failures in a row; from some on, `enter` waits for a slot or for the end of the trouble.

    A homeserver may fail at one kind of request alone (sending, say, when it limits how much one says):
    then the other kinds go on as ever. All that wait share the slots.
    """

    def __init__(self, spacing_s: float = SPACING_S) -> None:
        self._spacing_s = spacing_s
        self._failures: Counter[str] = Counter()
        """In a row, by kind."""
        self._in_a_row = 0
        """Of whatever kind."""
        self._waiting: deque[_Waiter] = deque()
        self._next_slot = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def closed(self, kind: str) -> bool:
        """The far side counts as failing at this kind of call."""
        return self._in_a_row >= PATIENCE or self._failures[kind] >= PATIENCE_WITH_ONE

    async def enter(self, kind: str, patience_s: float, *, first: bool = False) -> None:
        """Wait for a slot; `first` goes before all others. `Unavailable` at once when none comes in `patience_s`."""
        if not self.closed(kind):
            return
        loop = asyncio.get_running_loop()
        ahead = 0 if first else len(self._waiting)
        wait_s = max(0.0, self._next_slot - loop.time()) + ahead * self._spacing_s
        if wait_s > patience_s:
            raise Unavailable("the homeserver fails and others already wait for it", retry_after=wait_s)
        waiter = _Waiter(kind, loop.create_future())
        (self._waiting.appendleft if first else self._waiting.append)(waiter)
        self._schedule()
        try:
            await waiter.slot
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def succeeded(self, kind: str) -> None:
        """The far side answered such a call as it should: all of the kind may go.

        When it failed at everything before, one call of each other kind goes to see whether it does so no more.
        """
        if not self._failures:
            return
        was_away = self._in_a_row >= PATIENCE
        self._in_a_row = 0
        del self._failures[kind]
        tried: set[str] = set()
        for waiter in tuple(self._waiting):
            if not self.closed(waiter.kind) or (was_away and waiter.kind not in tried):
                tried.add(waiter.kind)
                self._let_go(waiter)

    def failed(self, kind: str) -> None:
        """The far side did not answer such a call, or answered that it can't."""
        self._failures[kind] += 1
        self._in_a_row += 1
        self._next_slot = max(self._next_slot, asyncio.get_running_loop().time() + self._spacing_s)

    def _schedule(self) -> None:
        if self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next_slot, loop.time()), self._give_slot)

    def _give_slot(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0].slot.done():
            self._waiting.popleft()  # its caller was cancelled just now
        if self._waiting:
            self._next_slot = asyncio.get_running_loop().time() + self._spacing_s
            self._let_go(self._waiting[0])
        self._schedule()

    def _let_go(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        if not waiter.slot.done():
            waiter.slot.set_result(None)
