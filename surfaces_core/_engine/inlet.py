"""The push inlet: agents say over HTTP, unasked, how their tasks go on."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from structlog.typing import FilteringBoundLogger

from surfaces_core._config.listening import parted
from surfaces_core._config.settings import PushSettings, PushToken
from surfaces_core.errors import StateError

PATH = "/v1/push"
PATIENCE_S = 5.0
"""How long a client may take over its request."""
LONGEST_HEAD = 8192
GONE = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""What a client that is gone or no client raises."""
SHORT = Field("", max_length=500)


class Push(BaseModel):
    """What is pushed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    """Made by the sender: the same one again is the same push."""
    kind: Literal["done", "failed", "progress"]
    task: str = Field(min_length=1, max_length=200)
    """Names what it is about."""
    surface: str = SHORT
    person: str = SHORT
    conversation: str = SHORT
    """Its native id, or with `person` its label, like `C2`."""
    agent: str = SHORT
    context: str = SHORT
    title: str = Field("", max_length=200)
    text: str = Field("", max_length=32_768)
    progress: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if not (self.person or self.conversation or (self.agent and self.context)):
            raise ValueError("name a person, a conversation, or an agent and its context")
        return self


class Refused(Exception):
    """A push that is not taken."""

    def __init__(self, status: HTTPStatus, problem: str, **headers: str) -> None:
        super().__init__(problem)
        self.status = status
        self.headers = headers


Take = Callable[[str, PushToken, Push], Awaitable[bool]]
"""Stores a push of a token; False where it is stored already. Raises `Refused` and `StateError`."""


class Allowance:
    """How much of something may happen: so many at once, then so many a minute."""

    def __init__(self, per_minute: int) -> None:
        self._most = self._left = float(max(1, per_minute))
        self._at = asyncio.get_running_loop().time()

    def take(self) -> None:
        """Take one. Raises `Refused` where there is none."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._most, self._left + (now - self._at) * self._most / 60)
        self._at = now
        if self._left < 1:
            wait_s = int((1 - self._left) * 60 / self._most) + 1
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many pushes", Retry_After=str(wait_s))
        self._left -= 1


class Inlet:
    """Answers those who push."""

    def __init__(self, settings: PushSettings, take: Take, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._take = take
        self._log = log
        self._allowances = {name: Allowance(settings.per_minute) for name in settings.tokens}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one answer."""
        try:
            status, body, headers = await self._answer(reader, writer)
            writer.write(_written(status, body, headers))
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
        except GONE:
            pass  # whoever asks like this gets no answer
        finally:
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[HTTPStatus, dict[str, object], Mapping[str, str]]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                headers = await _head(reader)
                name = self._holder(headers)
                body = await self._body(headers, reader, writer)
            self._allowances[name].take()
            new = await self._take(name, self._settings.tokens[name], _read(body))
        except Refused as refused:
            return refused.status, {"error": str(refused)}, refused.headers
        except StateError:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "it cannot be stored now"}, {"Retry_After": "5"}
        except GONE:
            raise
        except Exception:  # noqa: BLE001 - a bug ends this request alone
            self._log.exception("push.bug")
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "this should not happen; see the log"}, {}
        return (HTTPStatus.ACCEPTED if new else HTTPStatus.OK), {"new": new}, {}

    def _holder(self, headers: Mapping[str, str]) -> str:
        """The name of the token that is shown."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        found = [
            name
            for name, token in self._settings.tokens.items()
            if hmac.compare_digest(token.secret.get_secret_value().encode(), shown.strip().encode())
        ]
        if scheme.lower() != "bearer" or not found:
            raise Refused(HTTPStatus.UNAUTHORIZED, "no valid token", WWW_Authenticate="Bearer")
        return found[0]

    async def _body(
        self, headers: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()) or "transfer-encoding" in headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        if len(length) > 9 or int(length) > self._settings.max_bytes:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {self._settings.max_bytes} bytes")
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await reader.readexactly(int(length))


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    """The headers of a request to push, by lower-case name."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, _, rest = first.partition(" ")
    if rest.split(" ", 1)[0] != PATH:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is {PATH}")
    if method != "POST":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only POST", Allow="POST")
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _read(body: bytes) -> Push:
    try:
        return Push.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{place}: {first['msg']}".removeprefix(": ")) from None


def _written(status: HTTPStatus, body: dict[str, object], headers: Mapping[str, str]) -> bytes:
    content = json.dumps(body).encode() + b"\n"
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + content


@asynccontextmanager
async def taking(settings: PushSettings, take: Take, log: FilteringBoundLogger) -> AsyncIterator[int]:
    """Take pushes while the block lasts; gives the port. Raises `StateError` when the address cannot be had."""
    host, port = parted(settings.listen)
    try:
        server = await asyncio.start_server(Inlet(settings, take, log).handle, host, port, limit=LONGEST_HEAD)
    except OSError as error:
        raise StateError(
            f"push.listen: {settings.listen} cannot be had: {error.strerror or error}; name a free one"
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
