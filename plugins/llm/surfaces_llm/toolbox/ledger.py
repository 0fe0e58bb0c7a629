"""Owns what is durable of a turn's tool calls: an approved call runs once, whatever happens in between.

A call is written down before the person is asked, again before it runs, and again with its result.
With the first of these go the messages of the turn so far. So the life after a crash goes on with
the very call that was asked about, and does not ask the model anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from surfaces_core import AgentRequest, Store

MOST_KEPT = 8 << 20
"""Bytes of messages: a turn with more of them begins anew after a crash."""
LEFT_S = 2 * 86_400.0
"""A turn that was stopped leaves its rows for so long; nobody answers a question later."""


class Call(BaseModel):
    """One call of a tool."""

    model_config = ConfigDict(frozen=True)

    number: int
    """Within the turn, from 1."""
    id: str
    """The model's own name for it, which need not be unique."""
    digest: str
    """Of the tool's name and the exact arguments."""
    state: Literal["asked", "started", "done"] = "asked"
    result: str = ""
    failed: bool = False


class _Row(BaseModel):
    at: float
    calls: tuple[Call, ...]
    ended: bool = False


def digest(tool: str, arguments: Any) -> str:
    """What a call is bound to: the tool, and its arguments in the one way of writing them that is hashed."""
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{tool}\0{canonical}".encode("utf-8", "surrogatepass")).hexdigest()


def prefix(agent: str, context: str) -> str:
    """What the rows of a context begin with."""
    return f"calls/{context}/{quote(agent, safe='')}/"


class Ledger:
    """The calls of one turn that asks one thing; `asked` tells it from the same turn asking another."""

    def __init__(self, store: Store, request: AgentRequest, asked: str) -> None:
        self._store = store
        self._above = prefix(request.agent.id, request.context)
        own = f"{self._above}{request.turn}.{asked[:16]}"
        self._row, self._said = f"{own}/calls", f"{own}/messages"
        self._calls: dict[int, Call] = {}
        self._claimed: set[int] = set()
        self.kept = b""
        """The messages with which a life of the turn was cut short; empty: there was none."""
        self.forgotten = False
        """The context is over: what is written from now on must not stay."""

    async def open(self) -> None:
        """Read what an earlier life left, and forget what turns of long ago left."""
        rows = await self._store.scan(self._above)
        row = _load(rows.get(self._row))
        self._calls = {call.number: call for call in row.calls}
        self.kept = rows.get(self._said, b"") if row.calls else b""
        await self._clear({name: value for name, value in rows.items() if name.endswith("/calls")})

    async def _clear(self, rows: dict[str, bytes]) -> None:
        then = time.time() - LEFT_S
        found = {name.removesuffix("/calls"): _load(value) for name, value in rows.items() if name != self._row}
        old = [name for name, row in found.items() if row.ended or row.at < then]
        gone = [f"{name}/{part}" for name in old for part in ("calls", "messages")]
        if gone:
            await self._store.write(dict.fromkeys(gone))

    async def close(self, *, answered: bool) -> None:
        """The turn is over. Unless its answer is kept elsewhere, a repeat may still come: the next turn forgets it."""
        if self._calls:
            row = _Row(at=time.time(), calls=tuple(self._calls.values()), ended=True)
            left = {} if not answered else {self._said: None}
            await self._store.write({self._row: None if answered else row.model_dump_json().encode(), **left})

    async def clear(self) -> None:
        """The turn has ended, however it did: nothing of it stays where its context is over."""
        if self.forgotten and self._calls:
            await self._store.write({self._row: None, self._said: None})

    async def claim(self, name: str, bound: str, messages: bytes) -> Call:
        """The row of a call, an earlier life's where there is one that nobody has claimed; else a new one, stored."""
        for call in self._calls.values():
            if (call.id, call.digest) == (name, bound) and call.number not in self._claimed:
                self._claimed.add(call.number)
                return call
        call = Call(number=len(self._calls) + 1, id=name, digest=bound)
        self._claimed.add(call.number)
        more = {}
        if messages != self.kept and len(messages) <= MOST_KEPT:
            more[self._said] = self.kept = messages
        await self._write(call, more)
        return call

    async def started(self, call: Call) -> None:
        """From now on it is never run again."""
        await self._write(call.model_copy(update={"state": "started"}))

    async def done(self, call: Call, result: str, *, failed: bool = False) -> Call:
        """It has a result, which stands whatever comes."""
        settled = call.model_copy(update={"state": "done", "result": result, "failed": failed})
        await self._write(settled)
        return settled

    async def _write(self, call: Call, more: dict[str, bytes] | None = None) -> None:
        self._calls[call.number] = call
        row = _Row(at=time.time(), calls=tuple(self._calls.values()))
        await self._store.write({self._row: row.model_dump_json().encode(), **(more or {})})


def _load(row: bytes | None) -> _Row:
    """What cannot be read is long gone."""
    try:
        return _Row.model_validate_json(row or b"")
    except ValidationError:
        return _Row(at=0, calls=())
