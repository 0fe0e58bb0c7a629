"""Owns a connection to the server that holds the state: whose it is, and what a server must promise.

Who holds the state is written down with the id of its connection. A holder whose connection is gone
from the server is dead, so the next one takes over at once, and no time-out has to be guessed. Each
taking has a token of its own without which nothing is written: one that was only cut off finds that out.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from surfaces_core import StateError
from surfaces_storage_redis import failures, scripts

VERSION = 1
HELD_S = 1.0
"""So long a holder is watched: the server needs a moment to notice that a process was killed."""
_PAUSE_S = 0.05
_PROBE = b"\0probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the state is."""

    url: str
    prefix: str
    timeout_s: float

    @property
    def place(self) -> str:
        """For people."""
        return f"Redis, prefix {self.prefix}"

    @property
    def keys(self) -> tuple[str, str, str]:
        """Who holds it, its keys in order, and its values."""
        return f"{self.prefix}:meta", f"{self.prefix}:index", f"{self.prefix}:values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A connection whose token opens the state."""

    connection: AbstractConnection
    token: str

    async def ask(self, *words: str | bytes | int) -> Any:
        """One command; raises what the library raises."""
        return await asked(self.connection, *words)

    async def live(self) -> bool:
        """Whether the connection still stands; costs no round trip."""
        try:
            return not await self.connection.can_read()
        except failures.LOST:
            return False


async def asked(connection: AbstractConnection, *words: str | bytes | int) -> Any:
    """One command on a connection that is never made anew behind our back."""
    await connection.send_command(*words)
    return await connection.read_response()


async def begin(target: Target, last: Session | None = None) -> Session:
    """Connect, look at everything and take the state; `last` is the session that this one goes on from.

    Raises `StateError`: held by another host, or it was since.
    """
    connection = await connected(target)
    try:
        await _check_durability(connection, target)
        await check_keys(connection, target)
        session = Session(connection=connection, token=secrets.token_hex(16))
        await _take(session, target, last)
        await _probe(session, target)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return session


async def end(session: Session, target: Target) -> None:
    """Let go of the state, so that nobody has to look whether we live."""
    try:
        if await session.live():
            await session.ask("EVAL", scripts.RELEASE, 1, target.keys[0], session.token)
    except failures.FAILURES:
        pass  # the connection ends all the same, which says it too
    finally:
        await session.connection.disconnect(nowait=True)


async def connected(target: Target) -> AbstractConnection:
    """A connection that holds nothing yet."""
    options: dict[str, Any] = dict(parse_url(target.url))
    kind: type[AbstractConnection] = options.pop("connection_class", Connection)
    connection = kind(
        **{
            **options,
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": target.timeout_s,
            "socket_connect_timeout": target.timeout_s,
            "retry": Retry(NoBackoff(), 0),
        }
    )
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


async def _check_durability(connection: AbstractConnection, target: Target) -> None:
    async with aclosing(shortcomings(connection, target)) as problems:
        async for problem in problems:
            raise problem


async def shortcomings(connection: AbstractConnection, target: Target) -> AsyncGenerator[StateError, None]:
    """By what the server could lose what it acknowledged, one after the other."""
    if (await asked(connection, "ROLE"))[0] != b"master":
        yield failures.replica(target.place)
    for name, bad, wanted in (
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec no", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru allkeys-lfu allkeys-random allkeys-lrm", "noeviction"),
    ):
        found = await asked(connection, "CONFIG", "GET", name)
        if not found:  # a server that only speaks like Redis
            yield failures.untold(target.place, name)
        elif found[1].decode() in bad.split():
            yield failures.not_durable(target.place, name, found[1].decode(), wanted)


async def check_keys(connection: AbstractConnection, target: Target) -> bool:
    """Whether there is a state of ours. Raises `StateError` where the keys are not ours."""
    for key, kind in zip(target.keys, (b"hash", b"zset", b"hash"), strict=True):
        if await asked(connection, "TYPE", key) not in (kind, b"none"):
            raise failures.foreign(target.place)
    version = await asked(connection, "HGET", target.keys[0], "version")
    if version is None and await asked(connection, "EXISTS", *target.keys):
        raise failures.foreign(target.place)
    if version is not None and version != str(VERSION).encode():
        raise failures.newer(target.place, version.decode("utf-8", "replace"), VERSION)
    return version is not None


async def holder(connection: AbstractConnection, target: Target) -> str | None:
    """Who has the state now; None for nobody."""
    meta = await _meta(connection, target)
    alive = await _alive(connection, meta, await fact(connection, "run_id"))
    return meta.get("holder", "") if alive else None


async def _take(session: Session, target: Target, last: Session | None) -> None:
    server = await fact(session.connection, "run_id")
    client = await session.ask("CLIENT", "ID")
    me = f"process {os.getpid()} on {socket.gethostname()}"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + HELD_S
    while True:
        meta = await _meta(session.connection, target)
        token = meta.get("token", "")
        if last is not None and token != last.token:
            raise failures.superseded(target.place)
        if last is not None or not await _alive(session.connection, meta, server):
            words = (token, VERSION, session.token, me, server, client)
            if await session.ask("EVAL", scripts.TAKE, 1, target.keys[0], *words):
                return
        elif loop.time() > deadline:
            raise failures.held(target.place, meta.get("holder", ""))
        await asyncio.sleep(_PAUSE_S)


async def _probe(session: Session, target: Target) -> None:
    """All that a commit needs is allowed: a script that is stopped in its middle by an ACL would leave half of it."""
    await session.ask("EVAL", scripts.COMMIT, 3, *target.keys, session.token, 1, _PROBE, b"", _PROBE)


async def fact(connection: AbstractConnection, name: str) -> str:
    """What the server says of itself."""
    facts: str = (await asked(connection, "INFO", "server")).decode("utf-8", "replace")
    return next((line.partition(":")[2] for line in facts.splitlines() if line.startswith(f"{name}:")), "")


async def _meta(connection: AbstractConnection, target: Target) -> Mapping[str, str]:
    words = [word.decode("utf-8", "replace") for word in await asked(connection, "HGETALL", target.keys[0])]
    return dict(zip(words[::2], words[1::2], strict=True))


async def _alive(connection: AbstractConnection, meta: Mapping[str, str], server: str) -> bool:
    """Whether the holder's connection stands: in this run of the server, for ids begin anew with each."""
    if "token" not in meta or meta.get("server") != server:
        return False
    return bool((await asked(connection, "CLIENT", "LIST", "ID", meta["client"])).strip())
