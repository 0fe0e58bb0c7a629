"""`/livez` and `/readyz` over HTTP, for supervisors; on loopback unless the config says otherwise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from pydantic import Field, field_validator

from surfaces_core.contracts import Settings
from surfaces_core.errors import StateError

PATIENCE_S = 5.0
"""How long a client may take over its request."""
Facts = Callable[[], Mapping[str, object]]
"""What `/readyz` answers; its `ready` decides the status."""


class OpsSettings(Settings):
    """`ops:` in the config."""

    listen: str = Field("127.0.0.1:9400", description="Where `/livez` and `/readyz` answer, as address:port.")

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) < 65536):
            raise ValueError("must be address:port, like 127.0.0.1:9400")
        return value

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


@asynccontextmanager
async def serving(settings: OpsSettings, facts: Facts) -> AsyncIterator[int]:
    """Answer while the block lasts; gives the port. Raises `StateError` when the address cannot be had."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(request, facts))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks like this gets no answer
        finally:
            writer.close()

    host, port = settings.address
    try:
        server = await asyncio.start_server(handle, host, port, limit=8192)
    except OSError as error:
        raise StateError(f"ops.listen: {settings.listen} cannot be had: {error.strerror or error}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _answer(request: bytes, facts: Facts) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    body: Mapping[str, object]
    if method not in (b"GET", b"HEAD"):
        status, body = HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET"}
    elif path == b"/livez":
        status, body = HTTPStatus.OK, {"live": True}
    elif path == b"/readyz":
        body = facts()
        status = HTTPStatus.OK if body["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
    else:
        status, body = HTTPStatus.NOT_FOUND, {"error": "there are /livez and /readyz"}
    content = json.dumps(body).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else content)
