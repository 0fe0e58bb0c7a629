"""Speaks the Matrix client-server API over HTTP for one account."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote as percent

import aiohttp
import orjson
from yarl import URL

from surfaces_core import Unavailable
from surfaces_matrix.errors import LIBRARY_ERRORS, Refused, TooLarge, from_answer, from_library, http_date
from surfaces_matrix.gate import Gate
from surfaces_matrix.parsing import WHOLE_BYTES, parse
from surfaces_matrix.shapes import text

MAX_ANSWER_BYTES = 64 * 1024 * 1024
CONNECTIONS = 48
CONNECT_TIMEOUT_S = 10.0
SKEW_S = 60.0
"""Clocks that differ by less count as the same: the other's may be read in whole seconds alone, and late."""
STALL_S = 60.0
"""A stream in which nothing moves for so long is given up, however much time it still has."""

_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*").fullmatch
_AGENT = {"User-Agent": "surfaces-matrix"}


def quote(*parts: str) -> str:
    """A path of percent-quoted parts: `quote("v3", "rooms", "!a:b")` is `/v3/rooms/%21a%3Ab`."""
    return "".join(["/" + (part if _PLAIN(part) else _percent(part)) for part in parts])


@lru_cache(maxsize=4096)
def _percent(text: str) -> str:
    """Kept, for room ids and the filters of syncs come again and again."""
    # A part that begins with a dot may be read as the folder itself, or the one above.
    return percent(text, safe="").replace(".", "%2E")


def _kind(method: str, path: str) -> str:
    """What sort of request it is, as a homeserver would fail at it or limit it: `PUT send`, `GET sync`."""
    parts = path.split("/")
    if parts[2:3] == ["rooms"]:
        return f"{method} {''.join(parts[4:5])}"
    return f"{method} {''.join(parts[2:3])}"


@lru_cache(maxsize=32)
def _timeout(total_s: float, stall_s: float | None = None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_TIMEOUT_S, total_s), sock_read=stall_s)


class Client:
    """One account's HTTP. Enter it as a context manager; `authorize` it before `call` can go out."""

    def __init__(
        self, homeserver: str, user_id: str, *, timeout_s: float = 30.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.user_id = user_id
        self.timeout_s = timeout_s
        """How long a request may take for which nothing else is said."""
        self._clock = clock
        self.clock_ahead_s: float | None = None
        """How far our clock is ahead of the homeserver's, as far as it says what time it is."""
        self.device_id = ""
        self._base = homeserver.rstrip("/")
        self._gate = Gate()
        self._authorized = asyncio.Event()
        self._headers = _AGENT
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=60.0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def now(self) -> float:
        """Unix seconds; where our clock is ahead, by the homeserver's: events have their times from there.

        With one that is behind, nothing seems older than it is.
        """
        ahead_s = self.clock_ahead_s or 0.0
        return self._clock() - (ahead_s if ahead_s > SKEW_S else 0.0)

    def _compare_clocks(self, date: str) -> None:
        then = http_date(date)
        self.clock_ahead_s = None if then is None else self._clock() - then

    def authorize(self, device_id: str, token: str) -> None:
        """Use this access token from now on."""
        self.device_id = device_id
        self._headers = {**_AGENT, "Authorization": f"Bearer {token}"}
        self._authorized.set()

    async def call(
        self,
        method: str,
        path: str,
        body: object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        needs: str = "",
        first: bool = False,
        silence_s: float | None = None,
    ) -> dict[str, Any]:
        """One authenticated request; `path` is below `/_matrix/client` and already quoted.

        Waits, at most `timeout_s`, for the login. Raises `Unavailable` for trouble that may pass
        (`retry_after` where the homeserver named it; `LoggedOut`, `TooLarge` and `ServerError` are of
        that kind) and `Refused` where the homeserver said no. An answer without text under the name
        `needs` is trouble, too. While the homeserver fails, one with `first` goes before all others.
        Where nothing comes for `silence_s` it is given up, however much of `timeout_s` is left.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        if not self._authorized.is_set():
            await self._wait_for_login(timeout_s)
        ask = _Ask(
            method=method,
            path=path,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            needs=needs,
            first=first,
            silence_s=silence_s,
        )
        return await self._exchange(ask, self._headers, body, query)

    async def call_as(
        self, token: str | None, method: str, path: str, body: object | None = None, *, needs: str = ""
    ) -> dict[str, Any]:
        """One request with another token, or without one; for logging in."""
        headers = _AGENT if token is None else {**_AGENT, "Authorization": f"Bearer {token}"}
        ask = _Ask(method=method, path=path, timeout_s=self.timeout_s, needs=needs, first=True)
        return await self._exchange(ask, headers, body)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        data: AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One authenticated request whose body or answer is too big to hold; `path` is below `/_matrix`.

        The answer's headers are there, its status is good, its content is for the caller to read; what
        aiohttp raises in the block is translated too.
        """
        if not self._authorized.is_set():
            await self._wait_for_login(timeout_s)
        kind = "media"
        await self._gate.enter(kind, timeout_s)
        url = URL(f"{self._base}/_matrix{path}", encoded=True)
        what = f"{method} {path}"
        try:
            async with self._http.request(
                method,
                url,
                data=data,
                headers={**self._headers, **(headers or {})},
                timeout=_timeout(timeout_s, STALL_S),
            ) as response:
                if response.status != 200:
                    raise self._judged(kind, from_answer(response.status, response.headers, await body(response), what))
                yield response
        except LIBRARY_ERRORS as error:
            self._gate.failed(kind)
            raise from_library(error, what) from error
        self._gate.succeeded(kind)

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable("the connection to the homeserver is closed")
        return self._session

    async def _wait_for_login(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._authorized.wait()
        except TimeoutError:
            raise Unavailable("not logged in to the homeserver yet") from None

    async def _exchange(
        self,
        ask: _Ask,
        headers: Mapping[str, str],
        body: object | None = None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        kind = _kind(ask.method, ask.path)
        await self._gate.enter(kind, ask.timeout_s, first=ask.first)
        address = f"{self._base}/_matrix/client{ask.path}"
        if query:
            address += "?" + "&".join([f"{name}={_percent(value)}" for name, value in query.items()])
        data = None if body is None else orjson.dumps(body)
        what = f"{ask.method} {ask.path}"
        try:
            # A redirect would carry the token elsewhere: it counts as an answer that makes no sense.
            async with self._http.request(
                ask.method,
                URL(address, encoded=True),
                data=data,
                headers=headers,
                timeout=_timeout(ask.timeout_s, ask.silence_s),
                allow_redirects=False,
            ) as response:
                raw = await _read(response, ask.max_bytes)
        except LIBRARY_ERRORS as error:
            self._gate.failed(kind)
            raise from_library(error, what) from error
        self._compare_clocks(response.headers.get("Date", ""))
        answer = await parse(raw) if response.status == 200 else _small(raw)
        if response.status != 200:
            raise self._judged(kind, from_answer(response.status, response.headers, answer, what))
        if not isinstance(answer, dict):
            raise self._judged(kind, Unavailable(f"{what}: the answer is no JSON object"))
        if ask.needs and text(answer.get(ask.needs)) is None:
            raise self._judged(kind, Unavailable(f"{what}: the answer has no {ask.needs}"))
        self._gate.succeeded(kind)
        return answer

    def _judged(self, kind: str, error: Unavailable | Refused) -> Unavailable | Refused:
        """Take note of an answer that is no success: a homeserver that says no is well."""
        (self._gate.failed if isinstance(error, Unavailable) else self._gate.succeeded)(kind)
        return error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """One request but for what it carries."""

    method: str
    path: str
    timeout_s: float
    max_bytes: int = MAX_ANSWER_BYTES
    needs: str = ""
    first: bool = False
    silence_s: float | None = None


async def body(response: aiohttp.ClientResponse) -> object:
    """The small JSON body of a streamed request's answer, or None when it is no JSON."""
    return _small(await _read(response, 64 * 1024))


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | bytearray:
    """The whole body. `TooLarge` before more than `max_bytes` (as unpacked) are held."""
    length = response.content_length
    if length is not None and length > max_bytes:
        raise TooLarge(f"the answer has {length} bytes")
    if length is not None and length <= WHOLE_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    pieces = bytearray()
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > max_bytes:
            raise TooLarge(f"the answer has more than {max_bytes} bytes")
    return pieces


def _small(raw: bytes | bytearray) -> object:
    """What a failure says; it is worth no pains."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
