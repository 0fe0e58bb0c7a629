"""Owns the frames that a socket's reader has taken in and a turn has not: in order, bounded, all or nothing."""

from __future__ import annotations

import asyncio
from collections import deque

from surfaces_agent_api.failures import Ending

_FRAME_OVERHEAD = 64
"""Characters that a frame counts beside its own, so that many tiny ones are bounded too."""


class Inflow:
    """Where a reader that must wait while a turn is slow hands frames over.

    Holds at most `limit` characters and one frame more. Closed, it takes frames and drops them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._frames: deque[str] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._open = True
        self.ending: Ending | None = None
        """Set when no frame comes any more."""

    async def put(self, frame: str) -> bool:
        """Hand a frame over, as soon as there is room; False where it was dropped."""
        await self._room.wait()
        if not self._open:
            return False
        self._frames.append(frame)
        self._size += len(frame) + _FRAME_OVERHEAD
        if self._size >= self._limit:
            self._room.clear()
        self._news.set()
        return True

    def end(self, ending: Ending) -> None:
        """No frame comes any more; what is here already can still be taken."""
        self.ending = self.ending or ending
        self._news.set()

    async def first(self) -> str | None:
        """The next frame; None when it is over."""
        await self._news.wait()
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._took(len(frame) + _FRAME_OVERHEAD)
        return frame

    async def all(self) -> list[str]:
        """Every frame that is here, at least one; none when it is over."""
        await self._news.wait()
        frames = list(self._frames)
        self._frames.clear()
        self._took(self._size)
        return frames

    def close(self) -> None:
        """Drop what is here and what comes, until `open`."""
        self._open = False
        self._frames.clear()
        self._took(self._size)

    def open(self) -> None:
        """Take frames in again."""
        self._open = True

    def _took(self, size: int) -> None:
        self._size -= size
        if self._size < self._limit:
            self._room.set()
        if not self._frames and self.ending is None:
            self._news.clear()
