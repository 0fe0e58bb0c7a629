"""One connection of a host, down to its bytes: HTTP, WebSocket frames (RFC 6455), and every way to break them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SOCKET_PATH = "/v1/agent_ws/"


def encode(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """One unmasked frame, as an agent sends it."""
    data = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    if len(data) < 126:
        return struct.pack("!BB", first, len(data)) + data
    if len(data) < 1 << 16:
        return struct.pack("!BBH", first, 126, len(data)) + data
    return struct.pack("!BBQ", first, 127, len(data)) + data


class Wire:
    """What an agent, or a fault, can do with one connection. Raises `OSError` when the host has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.context = ""
        self.key = ""
        self.number = 0
        """Which connection of all this is, from 1."""
        self.gone = asyncio.Event()
        """The host has hung up."""
        self._reader = reader
        self._writer = writer
        self.asked = asyncio.Event()
        """The host has sent a frame."""
        self._ended = False
        self._listens = asyncio.Event()
        self._listens.set()

    # HTTP -----------------------------------------------------------------------------------------

    async def ask(self) -> bool:
        """Read the request; False when it is not the upgrade of an agent's socket."""
        try:
            if await self._reader.readexactly(1) != b"G":  # as TLS doesn't begin, which goes on without a line's end
                return False
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return False
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1] if lines[0].count(" ") == 2 else ""
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.key = headers.get("sec-websocket-key", "")
        before, _, rest = path.partition(_SOCKET_PATH)
        self.context = unquote(rest.rstrip("/"))
        return bool(self.key and self.context and path != before)

    async def upgrade(self, **headers: str) -> None:
        """Agree to speak WebSocket."""
        accept = base64.b64encode(hashlib.sha1(self.key.encode() + _ACCEPT_SALT).digest())  # noqa: S324  RFC 6455
        agreed = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept.decode(), **headers}
        await self.write(head(101, agreed))

    async def respond(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer the upgrade otherwise."""
        await self.write(head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body)

    # Frames ---------------------------------------------------------------------------------------

    async def send(self, *frames: object) -> None:
        """Send each as a text frame: texts as they are, everything else as JSON."""
        for frame in frames:
            await self.write(encode(frame if isinstance(frame, str) else json.dumps(frame)))

    async def receive(self) -> Json | None:
        """The next frame of the host; pings are answered. None when the host has closed or gone."""
        try:
            frame = await self._next()
        except (asyncio.IncompleteReadError, OSError):
            frame = None
        if frame is None:
            self.gone.set()
        return frame

    async def _next(self) -> Json | None:
        while True:
            opcode, payload = await self._frame()
            await self._listens.wait()  # what came while it is deaf is not heard
            if opcode == TEXT:
                self.asked.set()
                return dict(json.loads(payload))
            if opcode == CLOSE:
                await self.write(encode(payload, CLOSE))
                return None
            if opcode == PING:
                await self.write(encode(payload, PONG))

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
        mask = await self._reader.readexactly(4) if second & 0x80 else bytes(4)
        payload = await self._reader.readexactly(length)
        stream = (mask * (length // 4 + 1))[:length]
        return first & 0x0F, (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(length)

    # Below ----------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Send these very bytes; waits while the host doesn't read."""
        if self._ended:
            raise BrokenPipeError("the stream was ended")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            self._listens.set()  # to read that there is nothing more to read
            raise

    def deafen(self) -> None:
        """Read nothing any more, pings least of all: as if the cable were cut. The host's bytes are still taken."""
        self._listens.clear()

    async def close(self, code: int = 1000) -> None:
        """Say goodbye with a close frame."""
        await self.write(encode(struct.pack("!H", code), CLOSE))

    async def end(self) -> None:
        """Send nothing further and say so (FIN), without a close frame."""
        self._ended = True
        self._writer.write_eof()

    async def finish(self) -> None:
        """Everything is said: end the stream, and wait for the host to do so."""
        await self.end()
        await self.gone.wait()

    def cut(self, *, reset: bool = False) -> None:
        """Drop the connection; with `reset` the host learns of it by a reset and not by an end."""
        transport = self._writer.transport
        if reset:
            # Closing a socket that lingers for zero seconds sends a reset.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an HTTP answer."""
    lines = [f"HTTP/1.1 {status} On Purpose", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
