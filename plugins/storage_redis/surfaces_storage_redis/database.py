"""Owns what is asked of the keys, over a connection that is made anew where nothing is in doubt."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Changes, Database, Page
from surfaces_storage_redis import failures, scripts, session
from surfaces_storage_redis.session import Session, Target

PAGE_ROWS = 256
_PAUSE_S = 0.2


class RedisDatabase(Database):
    """The keys of one state, held by this process: a sorted set for their order beside a hash for their values."""

    def __init__(self, target: Target, first: Session, reconnect_s: float, log: FilteringBoundLogger) -> None:
        self._target = target
        self._session = first
        self._reconnect_s = reconnect_s
        self._log = log
        self._meta, self._index, self._values = target.keys

    async def read(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        values: Sequence[bytes | None] = await self._asked("HMGET", self._values, *keys)
        return values

    async def page(self, start: bytes, end: bytes) -> Page:
        bounds = (b"[" + start, b"(" + end)
        keys = await self._asked("ZRANGEBYLEX", self._index, *bounds, "LIMIT", 0, PAGE_ROWS)
        values = await self.read(keys) if keys else []
        rows = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        if len(rows) < len(keys):
            raise failures.foreign(self._target.place)
        return Page(rows, complete=len(keys) < PAGE_ROWS)

    async def write(self, changes: Changes) -> None:
        now = await self._live()
        pairs = [word for key, value in changes.items() if value is not None for word in (key, value)]
        gone = [key for key, value in changes.items() if value is None]
        words: list[str | bytes | int] = [now.token, len(pairs) // 2, *pairs, *gone]
        try:
            done = await now.ask("EVAL", scripts.COMMIT, 3, *self._target.keys, *words)
        except failures.LOST as error:
            # The answer may have been lost behind the commit. It is not sent again: the host ends.
            raise failures.in_doubt(self._target.place) from error
        except failures.FAILURES as error:
            raise failures.translated(self._target.place, error) from error
        if not done:
            raise failures.superseded(self._target.place)

    async def close(self) -> None:
        """Let go of the state and the connection."""
        await session.end(self._session, self._target)

    async def _asked(self, *words: str | bytes | int) -> Any:
        """A query is asked once more where its connection ended: what is stored has not changed by that."""
        try:
            try:
                return await (await self._live()).ask(*words)
            except failures.LOST:
                return await (await self._live()).ask(*words)
        except failures.FAILURES as error:
            raise failures.translated(self._target.place, error) from error

    async def _live(self) -> Session:
        """The session, or a new one that goes on where it ended; nothing is under way."""
        if await self._session.live():
            return self._session
        self._log.warning("storage.lost", place=self._target.place)
        await self._session.connection.disconnect(nowait=True)
        end = asyncio.get_running_loop().time() + self._reconnect_s
        while True:
            try:
                self._session = await session.begin(self._target, self._session)
            except failures.FAILURES as error:
                failure = failures.translated(self._target.place, error)
                if failure.exit_code != os.EX_UNAVAILABLE or asyncio.get_running_loop().time() > end:
                    raise failure from error
            else:
                self._log.info("storage.found", place=self._target.place)
                return self._session
            await asyncio.sleep(_PAUSE_S)
