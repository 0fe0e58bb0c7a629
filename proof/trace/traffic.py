"""Reads what a traced program sent: whole HTTP requests and WebSocket frames, each with the tick at which it left."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from proof.trace.calls import Call

_TEXT = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request."""

    at: int
    """The tick before its first byte left."""
    peer: str
    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One text frame of a WebSocket."""

    at: int
    peer: str
    text: str


def sent(calls: Sequence[Call]) -> list[Request | Frame]:
    """Everything that left through sockets, in the order in which it began to leave."""
    streams: dict[str, _Stream] = {}
    for call in calls:
        if call.kind == "send" and call.data:
            streams.setdefault(call.path, _Stream(call.peer)).add(call)
    messages = [message for stream in streams.values() for message in stream.messages()]
    return sorted(messages, key=lambda message: message.at)


@dataclass(slots=True)
class _Stream:
    """What went into one socket."""

    peer: str
    content: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """Where each call's bytes begin, and when it began."""

    def add(self, call: Call) -> None:
        self.pieces.append((len(self.content), call.begun))
        self.content += call.data

    def messages(self) -> Iterator[Request | Frame]:
        at, upgraded = 0, False
        while at < len(self.content) and not upgraded:
            request, at = self._request(at)
            upgraded = "upgrade" in request.headers
            yield request
        while at < len(self.content):
            kind, text, following = self._frame(at)
            if kind == _TEXT:
                yield Frame(at=self._left(at), peer=self.peer, text=text.decode())
            at = following

    def _left(self, at: int) -> int:
        """When the byte at this place began to leave."""
        return next(begun for start, begun in reversed(self.pieces) if start <= at)

    def _request(self, at: int) -> tuple[Request, int]:
        """The request that begins here, and where the next one does. One that is cut off has what came of it."""
        end = self.content.find(b"\r\n\r\n", at)
        end = len(self.content) if end < 0 else end
        first, *lines = self.content[at:end].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if "transfer-encoding" in headers:
            raise ValueError(f"{method} {target}: a body in chunks is not read here")
        start = end + 4
        following = start + int(headers.get("content-length", 0))
        request = Request(
            at=self._left(at),
            peer=self.peer,
            method=method,
            target=target,
            headers=headers,
            body=bytes(self.content[start:following]),
        )
        return request, following

    def _frame(self, at: int) -> tuple[int, bytes, int]:
        """Opcode and content of the frame that begins here (RFC 6455, section 5.2), and where the next one does."""
        kind, length = self.content[at] & 0xF, self.content[at + 1] & 0x7F
        if self.content[at] & 0x70 or not self.content[at] & 0x80:
            raise ValueError("a frame that is compressed or in pieces is not read here")
        at += 2
        if length == 126:
            (length,), at = struct.unpack_from(">H", self.content, at), at + 2
        elif length == 127:
            (length,), at = struct.unpack_from(">Q", self.content, at), at + 8
        mask, at = self.content[at : at + 4], at + 4
        masked = self.content[at : at + length]
        return kind, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked)), at + length
