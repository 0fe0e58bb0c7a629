"""What can be made to go wrong with an answer."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import orjson
from aiohttp import web

from surfaces_testing.homeserver.call import Answer
from surfaces_testing.homeserver.event import Event, Json
from surfaces_testing.homeserver.scrambling import Spares, dumps, scramble


class Wire:
    """The connection of one request, down to its bytes."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.was_cut = False

    @property
    def query(self) -> Mapping[str, str]:
        """What was asked with."""
        return self._request.query

    def raw(self, data: bytes) -> bool:
        """Send bytes past HTTP; False when nobody takes them any more."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def respond(self, answer: Answer) -> web.StreamResponse:
        """Answer well."""
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def begin(self, answer: Answer, length: int | None) -> web.StreamResponse:
        """Send the head; `length` is what is promised of the body, None for chunks without an end in sight."""
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        if length is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = length
        await response.prepare(self._request)
        return response

    def cut(self, *, reset: bool = False) -> web.StreamResponse:
        """Drop the connection; with `reset` the peer learns of it by a reset and not by an end."""
        self.was_cut = True
        transport = self._request.transport
        if transport is not None:
            if reset:
                # Closing a socket that lingers for zero seconds sends a reset.
                transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            transport.abort()
        return web.Response(status=500)


class Fault(ABC):
    """One thing that goes wrong with one request."""

    performs: ClassVar[bool] = True
    """Whether what was asked for is done all the same."""

    @property
    def name(self) -> str:
        """For the record."""
        return type(self).__name__

    @abstractmethod
    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        """Do to the answer what goes wrong."""


@dataclass(frozen=True, kw_only=True)
class Status(Fault):
    """Refuse with an error of Matrix."""

    performs: ClassVar[bool] = False
    status: int
    errcode: str = "M_UNKNOWN"
    error: str = "refused on purpose"
    extra: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.errcode

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        body = orjson.dumps({"errcode": self.errcode, "error": self.error, **self.extra})
        headers = {"Content-Type": "application/json", **self.headers}
        return wire.respond(Answer(status=self.status, body=body, headers=headers))


def limited(retry_after_ms: int | None = None, retry_after: str | None = None) -> Status:
    """429, with the wait in the body, in the `Retry-After` header (seconds or a date), in both or in neither."""
    return Status(
        status=429,
        errcode="M_LIMIT_EXCEEDED",
        error="Too Many Requests",
        extra={} if retry_after_ms is None else {"retry_after_ms": retry_after_ms},
        headers={} if retry_after is None else {"Retry-After": retry_after},
    )


def revoked() -> Status:
    """The access token is not valid any more (for this one request; `revoke` ends it for good)."""
    return Status(status=401, errcode="M_UNKNOWN_TOKEN", error="Invalid access token passed.")


def unknown_since() -> Status:
    """The sync token is not one of this server."""
    return Status(status=400, errcode="M_UNKNOWN", error="Invalid stream token")


@dataclass(frozen=True, kw_only=True)
class Html(Fault):
    """What a proxy says when the server behind it is gone."""

    performs: ClassVar[bool] = False
    status: int = 502

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        page = f"<html><head><title>{self.status}</title></head><body><center>nginx</center></body></html>"
        return wire.respond(Answer(status=self.status, body=page.encode(), headers={"Content-Type": "text/html"}))


@dataclass(frozen=True, kw_only=True)
class Lost(Fault):
    """Do what was asked, then cut the connection before a byte of the answer."""

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        return wire.cut()


@dataclass(frozen=True, kw_only=True)
class Dropped(Fault):
    """Cut the connection and do nothing."""

    performs: ClassVar[bool] = False

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        return wire.cut()


@dataclass(frozen=True, kw_only=True)
class Reset(Fault):
    """Reset the connection in the middle of the body."""

    share: float = 0.5
    """How much of the body gets through."""

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        response = await wire.begin(answer, len(answer.body))
        await response.write(answer.body[: int(len(answer.body) * self.share)])
        return wire.cut(reset=True)


@dataclass(frozen=True, kw_only=True)
class Truncated(Fault):
    """Half of the body as if it were all: whole HTTP, broken JSON."""

    share: float = 0.5

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        body = answer.body[: max(1, int(len(answer.body) * self.share))]
        return wire.respond(Answer(status=answer.status, body=body, headers=answer.headers))


@dataclass(frozen=True, kw_only=True)
class Mutated(Fault):
    """Some bytes of the body are others; the same seed changes the same body alike."""

    seed: int = 0
    bytes_changed: int = 4

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        chance = random.Random(self.seed)  # noqa: S311  repeatable, not secret
        body = bytearray(answer.body)
        for _ in range(self.bytes_changed):
            body[chance.randrange(len(body))] = chance.randrange(256)
        return wire.respond(Answer(status=answer.status, body=bytes(body), headers=answer.headers))


@dataclass(frozen=True, kw_only=True)
class Scrambled(Fault):
    """Wrong types, names missing, half characters, NUL, endless nesting: anything anywhere in the JSON."""

    chance: random.Random
    changes: int = 5
    spares: Spares = lambda _: False

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        body = orjson.loads(answer.body)
        scramble(body, self.chance, self.changes, self.spares)
        return wire.respond(Answer(status=answer.status, body=dumps(body), headers=answer.headers))


def scrambled(seed: int, changes: int = 5, spares: Spares = lambda _: False) -> Scrambled:
    """The same seed scrambles the same answers alike."""
    return Scrambled(chance=random.Random(seed), changes=changes, spares=spares)  # noqa: S311  repeatable, not secret


@dataclass(frozen=True, kw_only=True)
class Nothing(Fault):
    """`{}` to everything, and nothing is done."""

    performs: ClassVar[bool] = False

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        return wire.respond(Answer())


@dataclass(frozen=True, kw_only=True)
class Restless(Fault):
    """A sync that is never held and brings nothing; `moves`: under another token each time."""

    performs: ClassVar[bool] = False
    moves: bool = False
    numbers: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        since = wire.query.get("since", "s0")
        place = since.partition("_")[0]
        return wire.respond(Answer.json({"next_batch": f"{place}_{next(self.numbers)}" if self.moves else since}))


@dataclass(frozen=True, kw_only=True)
class Changed(Fault):
    """The JSON of the answer, changed by a function."""

    change: Callable[[Json], object]

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        return wire.respond(Answer.json(self.change(orjson.loads(answer.body)), answer.status))


def missing_next_batch() -> Changed:
    """A sync without the token for the next one."""
    return Changed(change=lambda body: {key: value for key, value in body.items() if key != "next_batch"})


def huge(size: int) -> Changed:
    """An answer padded by `size` bytes."""
    return Changed(change=lambda body: {**body, "org.example.padding": "x" * size})


def repeated(event: Event) -> Changed:
    """A sync that shows an event (again), whatever was shown before."""

    def add(body: Json) -> Json:
        joined = body.setdefault("rooms", {}).setdefault("join", {})
        room = joined.setdefault(event.room_id, {})
        timeline = room.setdefault("timeline", {"events": [], "limited": False, "prev_batch": body["next_batch"]})
        timeline["events"].append(event.client())
        return body

    return Changed(change=add)


@dataclass(frozen=True, kw_only=True)
class Stall(Fault):
    """Do what was asked and hold the answer back until `release` is set."""

    release: asyncio.Event

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        await self.release.wait()
        return wire.respond(answer)


@dataclass(frozen=True, kw_only=True)
class Slow(Fault):
    """The body dribbles: a few bytes, a pause, a few bytes."""

    piece: int = 1
    pause_s: float = 0.1

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        response = await wire.begin(answer, len(answer.body))
        for start in range(0, len(answer.body), self.piece):
            await response.write(answer.body[start : start + self.piece])
            await asyncio.sleep(self.pause_s)
        return response


@dataclass(frozen=True, kw_only=True)
class SlowHead(Fault):
    """Headers without an end, a byte now and then."""

    performs: ClassVar[bool] = False
    pause_s: float = 0.1

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        taken = wire.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while taken:
            await asyncio.sleep(self.pause_s)
            taken = wire.raw(b"x")
        return wire.cut()


@dataclass(frozen=True, kw_only=True)
class Endless(Fault):
    """A body that never ends."""

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        response = await wire.begin(answer, None)
        while True:
            await response.write(b"x" * 65_536)


@dataclass(frozen=True, kw_only=True)
class WrongLength(Fault):
    """Promises more bytes than come, or (negative) sends fewer than the body has."""

    extra: int = 1000

    async def deliver(self, answer: Answer, wire: Wire) -> web.StreamResponse:
        length = max(0, len(answer.body) + self.extra)
        response = await wire.begin(answer, length)
        await response.write(answer.body[:length])
        return wire.cut() if self.extra > 0 else response
