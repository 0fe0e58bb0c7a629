"""Owns the mark that keeps two hosts from speaking for one account: each would answer everything.

A host that lives writes `io.surfaces.host` into the account's own data (Matrix spec, "Client config") and
counts it up every `BEAT_S`. Who starts and finds the mark of another state watches whether it still counts:
if it does, this host ends with exit code 75, and if it doesn't for `BEATS` of these, the other one is dead and
its place is taken. No clock decides that; only a mark that is older than `OLD_S` is not watched at all, nor one
that was let go by a clean stop, nor one of a process of this machine that is no longer there. After a crash a
host knows its own mark by what is kept in its state, and does not wait.

While it lives, a host that finds somebody else's mark in place of its own has company that it could not see
at its start: a copy of its state, or one that began at the same time. Of two the one that began later ends.

All of this only helps: where the homeserver keeps no such data, or does not answer, the account is used
without it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError
from structlog.typing import FilteringBoundLogger

from surfaces_core import StateError, Store, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused

BEAT_S = 20.0
BEATS = 2.5
LOOKS = 4
"""Looks at a foreign mark, each beat."""
OLD_S = 900.0
"""Clocks of hosts differ by less."""
PATIENCE_S = 10.0
LAST_WORD_S = 2.0
_KIND = "io.surfaces.host"
_ROW = "instance"


class Mark(BaseModel):
    """Who speaks for the account."""

    instance: str
    """The state that it has; survives restarts."""
    life: str
    """The process."""
    started: int
    """Unix milliseconds."""
    beat: int = 0
    at: int
    """Unix seconds of the last beat."""
    holder: str = ""
    """For people; empty once it was let go."""
    host: str = ""
    pid: int = 0

    def gone(self, machine: str) -> bool:
        """Let go, or of a process that this machine would have if it lived."""
        if not self.holder:
            return True
        if self.host != machine or self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return self.pid == os.getpid()


@dataclass(kw_only=True)
class Account:
    """One host's hold on one account. `name` is the surface's, for what is said of its settings."""

    name: str
    client: Client
    store: Store
    log: FilteringBoundLogger
    beat_s: float = BEAT_S
    machine: str = field(default_factory=socket.gethostname)
    shared_with: str = field(default="", init=False)
    """Another host that began later and has not ended yet."""
    _mark: Mark | None = field(default=None, init=False)

    async def claim(self) -> None:
        """Make sure that nobody else speaks for the account. Raises `StateError` (exit code 75)."""
        own, seen = await self._own(), await self._read()
        if seen is None or seen.instance == own.instance or seen.gone(self.machine):
            return
        if abs(self.client.now() - seen.at) < OLD_S:
            await self._outlast(seen)

    async def _outlast(self, seen: Mark) -> None:
        longest_s = BEATS * self.beat_s
        self.log.warning("account.held", holder=seen.holder, longest_wait_s=longest_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + longest_s
        while loop.time() < end:
            await asyncio.sleep(self.beat_s / LOOKS)
            now = await self._read()
            if now is not None and not now.holder:
                return
            if now is not None and (now.life, now.beat) != (seen.life, seen.beat):
                raise self._taken(now)
        self.log.warning("account.taken_over", holder=seen.holder)

    async def keep(self) -> None:
        """Show that this host lives, until cancelled. Raises `StateError` (exit code 75) when another one was first."""
        own = await self._own()
        try:
            while True:
                own = self._mark = own.model_copy(update={"beat": own.beat + 1, "at": int(self.client.now())})
                written = await self._write(own)
                # not evenly: in step, the one could write over the other's mark before that is ever read
                await asyncio.sleep(self.beat_s * random.uniform(0.75, 1.25))  # noqa: S311
                if written:  # else what is there may be left over from our own last life
                    self._compare(own, await self._read())
        except Refused as error:
            self.log.info("account.unmarked", error=str(error))
        except asyncio.CancelledError:
            with suppress(TimeoutError, Refused):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._write(own.model_copy(update={"holder": ""}))
            raise

    def _compare(self, own: Mark, seen: Mark | None) -> None:
        if seen is None:
            return
        if seen.life == own.life or not seen.holder:
            self.shared_with = ""
            return
        if (seen.started, seen.life) < (own.started, own.life):
            raise self._taken(seen)
        if not self.shared_with:
            self.log.warning("account.shared", holder=seen.holder)
        self.shared_with = seen.holder

    def _taken(self, by: Mark) -> StateError:
        return StateError(
            f"surfaces.{self.name}.user_id: {by.holder} speaks for {self.client.user_id} already; stop it first",
            exit_code=os.EX_TEMPFAIL,
        )

    async def _own(self) -> Mark:
        """This host's mark, of this process."""
        if self._mark is None:
            instance = await self.store.get(_ROW)
            if instance is None:
                instance = secrets.token_hex(8).encode()
                await self.store.put(_ROW, instance)
            now = self.client.now()
            pid = os.getpid()
            self._mark = Mark(
                instance=instance.decode(),
                life=secrets.token_hex(8),
                started=int(now * 1000),
                at=int(now),
                holder=f"process {pid} on {self.machine}",
                host=self.machine,
                pid=pid,
            )
        return self._mark

    @property
    def _path(self) -> str:
        return quote("v3", "user", self.client.user_id, "account_data", _KIND)

    async def _read(self) -> Mark | None:
        """The mark as it is, or None where there is none or it cannot be told."""
        try:
            return Mark.model_validate(await self.client.call("GET", self._path, timeout_s=PATIENCE_S))
        except (Unavailable, Refused, ValidationError):
            return None

    async def _write(self, mark: Mark) -> bool:
        """Whether that went well. Raises `Refused` where there can be no mark."""
        try:
            await self.client.call("PUT", self._path, mark.model_dump(), timeout_s=PATIENCE_S)
        except Unavailable:
            return False
        return True
