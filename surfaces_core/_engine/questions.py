"""Questions that an agent asks in the middle of a turn and a person answers with yes or no."""

from __future__ import annotations

import asyncio

from surfaces_core.events import Address

LONGEST_S = 1800.0
"""Nobody waits longer for an answer: a turn that waits takes a place from others."""


class Questions:
    """At most one question a conversation; it lives as long as the turn that asks."""

    def __init__(self) -> None:
        self._open: dict[Address, asyncio.Future[bool]] = {}

    async def ask(self, address: Address, timeout_s: float | None) -> bool | None:
        """Wait for an answer; None when nobody gave one in time."""
        timeout_s = min(timeout_s or LONGEST_S, LONGEST_S)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._open[address] = answer
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._open[address]

    def answer(self, address: Address, approved: bool) -> bool:
        """Answer the open question; False when there is none."""
        waiting = self._open.get(address)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(approved)
        return True
