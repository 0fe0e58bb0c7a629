"""Owns a look at an address of the web for a model: public places alone, small and quick.

Every connection goes through one gate, where a socket is made for the very address that the name
was resolved to. So neither a redirect nor a name that changes its mind leads anywhere else.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import Field
from yarl import URL

from surfaces_core import Settings
from surfaces_tools.addresses import is_public
from surfaces_tools.reading import readable, text_of, unpacker

REDIRECTS = (301, 302, 303, 307, 308)
PIECE = 65_536
HEADERS = {"User-Agent": "surfaces-tools/0.1 (fetch_url)", "Accept": "text/*, application/json;q=0.9, */*;q=0.1"}
AddrInfo = tuple[int, int, int, str, tuple[object, ...]]


class FetchSettings(Settings):
    """What `fetch_url` may do."""

    timeout_s: float = Field(20.0, gt=0, le=300, description="For all of it: name, redirects, body.")
    max_bytes: int = Field(
        1_000_000, ge=1_000, le=20_000_000, description="Of a body, packed and unpacked; what is longer is cut."
    )
    max_redirects: int = Field(5, ge=0, le=20, description="How many redirects are followed.")
    ports: tuple[int, ...] = Field((80, 443), description="Ports that may be asked.")


class Refused(Exception):
    """Nothing can be fetched; the message is for the model, and holds nothing of ours."""


class NotPublic(OSError):
    """The name leads to an address that is not everybody's."""

    def __str__(self) -> str:
        return "not a public address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What was found."""

    url: str
    status: int
    mime: str
    text: str
    cut: bool


class Fetcher:
    """Fetches pages. `public` decides which addresses may be connected to; tests bring a door of their own."""

    def __init__(
        self,
        settings: FetchSettings,
        *,
        public: Callable[[str], bool] = is_public,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._settings = settings
        self._public = public
        self._resolver = resolver

    async def fetch(self, address: str) -> Page:
        """Look at an address, along its redirects. Raises `Refused`."""
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._session() as session:
                return await self._follow(session, self._checked(address))
        except TimeoutError:
            raise Refused(f"it took longer than {self._settings.timeout_s:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Refused("its certificate is not good") from error
        except aiohttp.ClientConnectorError as error:
            why = str(error.os_error) if isinstance(error.os_error, NotPublic) else "it cannot be connected to"
            raise Refused(why) from error
        except aiohttp.ClientPayloadError as error:
            raise Refused("the answer was cut off") from error
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            raise Refused("it does not answer as a web server should") from error

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, force_close=True, socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=HEADERS,
            auto_decompress=False,  # bounded below
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    def _socket(self, info: AddrInfo) -> socket.socket:
        """The gate: the socket that this gives is connected to the address that was looked at here, and no other."""
        family, kind, protocol, _, address = info
        if not self._public(str(address[0])):
            raise NotPublic
        return socket.socket(family, kind, protocol)

    def _checked(self, address: str | URL) -> URL:
        try:
            url = URL(address)
            port = url.port
        except ValueError:
            raise Refused("that is no address") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused("only addresses that begin with http:// or https:// can be fetched")
        if url.user is not None or url.password is not None:
            raise Refused("addresses with a password cannot be fetched")
        if port not in self._settings.ports:
            raise Refused(f"port {port} is not allowed")
        return url

    async def _follow(self, session: aiohttp.ClientSession, url: URL) -> Page:
        for _ in range(self._settings.max_redirects + 1):
            async with session.get(url, allow_redirects=False) as answer:
                location = answer.headers.get("Location")
                if answer.status not in REDIRECTS or location is None:
                    return await self._page(answer)
            url = self._checked(url.join(URL(location)))
        raise Refused(f"it redirects more than {self._settings.max_redirects} times")

    async def _page(self, answer: aiohttp.ClientResponse) -> Page:
        mime = answer.content_type.lower()
        if not readable(mime):
            raise Refused(f"it is not text but {mime[:80]}")
        body, cut = await self._body(answer)
        return Page(
            url=str(answer.url),
            status=answer.status,
            mime=mime,
            text=await asyncio.to_thread(text_of, body, mime, answer.charset or ""),
            cut=cut,
        )

    async def _body(self, answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """The body unpacked, and whether there was more. Neither form passes the limit in memory."""
        most, body, came = self._settings.max_bytes, bytearray(), 0
        coding = answer.headers.get("Content-Encoding", "").strip().lower()
        try:
            unpacked = unpacker(coding)
        except LookupError:
            raise Refused("it is packed in a way that is not known here") from None
        async for piece in answer.content.iter_chunked(PIECE):
            came += len(piece)
            body += unpacked(piece, most + 1 - len(body))
            if max(came, len(body)) > most:
                return bytes(body[:most]), True
        return bytes(body), False
