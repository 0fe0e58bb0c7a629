"""Answers supervisors over HTTP; on loopback unless the config says otherwise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.settings import OpsSettings
from surfaces_core.errors import StateError

PATIENCE_S = 5.0
"""How long a client may take over its request, and we over the answer."""
MOST = 64
"""Connections at a time; the oldest gives way to one more, so that who only holds them keeps nobody out."""
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a page says."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones."""

    @classmethod
    def of(cls, value: object, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Answer:
        """One in JSON."""
        return cls(body=json.dumps(value).encode() + b"\n", status=status, headers=headers)


Page = Callable[[], Awaitable[Answer]]
Pages = Mapping[str, Page]
"""By path."""


@asynccontextmanager
async def serving(settings: OpsSettings, pages: Pages, log: FilteringBoundLogger) -> AsyncIterator[int]:
    """Answer while the block lasts; gives the port. Raises `StateError` when the address cannot be had."""
    open_: dict[asyncio.StreamWriter, None] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_[writer] = None
        if len(open_) > MOST:
            oldest = next(iter(open_))
            del open_[oldest]
            oldest.transport.abort()
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answer(request, pages, log))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asks like this gets no answer
        finally:
            open_.pop(writer, None)
            writer.close()

    host, port = settings.address
    try:
        server = await asyncio.start_server(handle, host, port, limit=8192)
    except OSError as error:
        raise StateError(
            f"ops.listen: {settings.listen} cannot be had: {error.strerror or error}; name a free one"
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _answer(request: bytes, pages: Pages, log: FilteringBoundLogger) -> bytes:
    method, _, rest = request.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0].decode("ascii", "replace")
    if method not in (b"GET", b"HEAD"):
        answer = Answer.of({"error": "only GET"}, HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
    elif path not in pages:
        answer = Answer.of({"error": f"there are {', '.join(pages)}"}, HTTPStatus.NOT_FOUND)
    else:
        answer = await _page(path, pages, log)
    headers = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **answer.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n{head}\r\n".encode() + (
        b"" if method == b"HEAD" else answer.body
    )


async def _page(path: str, pages: Pages, log: FilteringBoundLogger) -> Answer:
    try:
        return await pages[path]()
    except Exception:
        log.exception("ops.bug", path=path)
        return Answer.of({"error": "this should not happen; see the log"}, HTTPStatus.INTERNAL_SERVER_ERROR)
