"""A look at the server before a start, for `surfaces check`; takes nothing and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from redis.asyncio.connection import AbstractConnection

from surfaces_core import Finding, StateError
from surfaces_storage_redis import failures, session
from surfaces_storage_redis.session import Target


async def examine(target: Target) -> AsyncIterator[Finding]:
    """Whether the server can be reached, keeps what it acknowledges, and whose the keys are."""
    try:
        connection = await session.connected(target)
    except (*failures.FAILURES, ValueError) as error:
        yield Finding(what="server", said=str(failures.translated(target.place, error)), level="wrong")
        return
    try:
        yield Finding(what="server", said=f"{target.place}: {await session.fact(connection, 'redis_version')}")
        for problem in [problem async for problem in session.shortcomings(connection, target)]:
            yield Finding(what="durable", said=str(problem), level="wrong")
        yield Finding(what="keys", said=await _whose(connection, target))
    except StateError as error:
        yield Finding(what="keys", said=str(error), level="wrong")
    except failures.FAILURES as error:
        yield Finding(what="server", said=str(failures.translated(target.place, error)), level="wrong")
    finally:
        await connection.disconnect(nowait=True)


async def _whose(connection: AbstractConnection, target: Target) -> str:
    """Another host's is no fault where this one runs."""
    if not await session.check_keys(connection, target):
        return f"{target.prefix}: empty, and is filled by the first start"
    holder = await session.holder(connection, target)
    return f"{target.prefix}: ours, and held by {'nobody' if holder is None else holder or 'another process'}"
