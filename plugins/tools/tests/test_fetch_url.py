"""Looks at the web: over real sockets on loopback, most of them of servers that mean no good."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from surfaces_tools.fetching import Fetcher, FetchSettings, Refused
from surfaces_tools.reading import text_of, unpacker

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
"""In these tests the first is everybody's address, the second somebody's own."""


class Names(AbstractResolver):
    """Answers each question with the next of its addresses, and counts them."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses[min(len(self.asked), len(self.addresses) - 1)]
        self.asked.append(host)
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        return None


class Server:
    """Answers whatever is asked with what the test wrote, and keeps the questions."""

    def __init__(self, *answers: bytes, then: Callable[[asyncio.StreamWriter], object] | None = None) -> None:
        self.answers, self.then = list(answers), then
        self.heard: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answers[min(len(self.heard), len(self.answers)) - 1].replace(b"PORT", b"%d" % self.port))
            await writer.drain()
            if self.then is not None:
                await self.then(writer)  # type: ignore[misc]
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def ok(body: bytes = b"hello", kind: str = "text/plain", *more: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def moved(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


Serving = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serving() -> Serving:
    @asynccontextmanager
    async def serve(*answers: bytes, **how: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[Server]:
        server = Server(*answers, **how)
        listening = await asyncio.start_server(server.serve, HERE, 0)
        server.port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield server

    return serve


def fetcher(server: Server, names: AbstractResolver | None = None, **settings: object) -> Fetcher:
    allowed = FetchSettings.model_validate({"ports": (server.port, 80), **settings})
    return Fetcher(allowed, public=lambda address: address == HERE, resolver=names)


async def test_a_text_is_fetched(serving: Serving):
    """A plain text comes as it is, with its status and its type; no cookie, no password goes along."""
    async with serving(ok("grüße".encode(), "text/plain; charset=utf-8", "Set-Cookie: a=b")) as server:
        reads = fetcher(server)
        page = await reads.fetch(f"http://{HERE}:{server.port}/a?b=c")
        await reads.fetch(f"http://{HERE}:{server.port}/again")
    assert (page.status, page.mime, page.text, page.cut) == (200, "text/plain", "grüße", False)
    assert server.heard[0].startswith("GET /a?b=c HTTP/1.1")
    assert "surfaces-tools" in server.heard[0]
    assert not any("cookie" in heard.lower() or "authorization" in heard.lower() for heard in server.heard)


async def test_a_page_is_read_as_people_read_it(serving: Serving):
    """Of HTML the words stay, scripts and styles go, links keep their address."""
    html = b"""<!doctype html><title>T &amp; U</title><style>p{}</style><script>alert('x')</script>
    <h1>Head</h1><p>One <b>bold</b>  word<br>two <a href="https://example.org/x?a=1&amp;b=2">link</a>
    <a href="javascript:alert(1)">no</a><!-- hidden --><ul><li>first</li><li>second</ul>"""
    async with serving(ok(html, "text/html")) as server:
        page = await fetcher(server).fetch(f"http://{HERE}:{server.port}/")
    assert page.text == (
        "T & U\n\nHead\n\nOne bold word\ntwo [link](https://example.org/x?a=1&b=2) no\n\nfirst\n\nsecond"
    )


async def test_the_name_is_told_and_asked_for_once(serving: Serving):
    """The server hears the name it is asked by; the name is resolved once, so that it cannot change its mind."""
    names = Names(HERE, ELSEWHERE)
    async with serving(ok()) as server:
        page = await fetcher(server, names).fetch(f"http://example.org:{server.port}/")
    assert page.text == "hello"
    assert f"Host: example.org:{server.port}\r\n" in server.heard[0]
    assert names.asked == ["example.org"]


@pytest.mark.parametrize(
    "target", [ELSEWHERE, "169.254.169.254", "localhost", "[::1]", "[::ffff:127.0.0.2]", "0.0.0.0"]
)
async def test_somebodys_own_address_is_not_asked(serving: Serving, target: str):
    """An address that is not everybody's is refused before a byte goes there, first as well as by redirect."""
    names = Names(ELSEWHERE)
    async with serving(moved(f"http://{target}/latest")) as server:
        with pytest.raises(Refused, match="not a public address"):
            await fetcher(server, names).fetch(f"http://{target}/latest")
        with pytest.raises(Refused, match="not a public address"):
            await fetcher(server, names).fetch(f"http://{HERE}:{server.port}/")
    assert len(server.heard) == 1


async def test_a_name_that_changes_its_mind_is_refused(serving: Serving):
    """A name that leads here first and elsewhere at its own redirect is refused at the second hop."""
    names = Names(HERE, ELSEWHERE)
    async with serving(moved("http://example.org:PORT/inside"), ok(b"secret")) as server:
        with pytest.raises(Refused, match="not a public address"):
            await fetcher(server, names).fetch(f"http://example.org:{server.port}/")
    assert names.asked == ["example.org", "example.org"]
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("file:///etc/passwd", "http://"),
        ("ftp://example.org/", "http://"),
        ("gopher://example.org/", "http://"),
        ("//example.org/", "http://"),
        ("example.org", "http://"),
        ("http://", "http://"),
        ("http://ann:secret@example.org/", "password"),
        ("http://example.org:22/", "port 22"),
        ("http://example.org:99999/", "no address"),
        ("http://[::1", "no address"),
        ("", "http://"),
    ],
)
async def test_only_plain_web_addresses_are_asked(address: str, why: str):
    """Other schemes, other ports and passwords are refused, and a redirect to them as well."""
    with pytest.raises(Refused, match=why):
        await Fetcher(FetchSettings(), public=lambda _: False).fetch(address)


async def test_a_redirect_to_another_scheme_or_port_is_refused(serving: Serving):
    """What a redirect leads to is looked at like the first address."""
    for location, why in (("file:///etc/passwd", "http://"), (f"http://{HERE}:22/", "port 22")):
        async with serving(moved(location)) as server:
            with pytest.raises(Refused, match=why):
                await fetcher(server).fetch(f"http://{HERE}:{server.port}/")


async def test_redirects_end(serving: Serving):
    """A redirect in circles is followed as often as is allowed; a relative one is understood."""
    async with serving(moved("/next")) as server:
        with pytest.raises(Refused, match="more than 3 times"):
            await fetcher(server, max_redirects=3).fetch(f"http://{HERE}:{server.port}/")
    assert [heard.split()[1] for heard in server.heard] == ["/", "/next", "/next", "/next"]


async def test_an_endless_body_is_cut(serving: Serving):
    """A body without end is read up to the limit, and it is said that there was more."""

    async def on_and_on(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    async with serving(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", then=on_and_on) as server:
        page = await fetcher(server, max_bytes=30_000).fetch(f"http://{HERE}:{server.port}/")
    assert (len(page.text), page.cut) == (30_000, True)


async def test_a_bomb_does_not_go_off(serving: Serving):
    """What is packed a thousandfold is unpacked up to the limit and no further."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    async with serving(ok(bomb, "text/plain", "Content-Encoding: gzip")) as server:
        page = await fetcher(server, max_bytes=10_000).fetch(f"http://{HERE}:{server.port}/")
    assert (len(page.text), page.cut) == (10_000, True)


def test_a_bomb_takes_no_memory():
    """Of what is packed no more is unpacked at a time than may be read."""
    assert len(unpacker("gzip")(gzip.compress(b"\0" * 5_000_000), 1000)) == 1000


@pytest.mark.parametrize("charset", ["zlib", "bz2", "rot13", "punycode", "unicode_escape", "undefined", "nobodys"])
def test_only_encodings_of_pages_are_known(charset: str):
    """A server can't name one that unpacks, that takes hours for a page, or that is for no bytes at all."""
    assert text_of(b"a-plain \\u0041 page", "text/plain", charset) == "a-plain \\u0041 page"


def test_a_page_that_is_nothing_but_markup_takes_no_hours():
    """What lies in each other is bounded, whatever seems to close it; what stands before that is read."""
    read = text_of(b"<p>first" + b"<div><!--</div>-->" * 200_000 + b"last", "text/html", "")
    assert read.startswith("first")
    assert read.endswith("[The rest is left out: it has too much markup.]")
    assert text_of(b"<ul>" + b"<li><p>a<br>" * 20_000, "text/html", "").count("a") == 20_000


def test_pages_of_old_are_read():
    """In the encoding that they name."""
    for charset in ("latin-1", "windows-1251", "koi8-r", "shift_jis", "gb2312", "big5", "euc-kr", "iso-2022-jp"):
        said = {"latin-1": "é", "windows-1251": "ж", "koi8-r": "ж", "euc-kr": "글", "big5": "樂"}.get(charset, "文")
        assert text_of(said.encode(charset), "text/plain", charset) == said


async def test_what_is_packed_is_unpacked(serving: Serving):
    """An honest packed body is read whole, though nobody asked for it packed."""
    text = " ".join(str(number) for number in range(50_000))
    async with serving(ok(gzip.compress(text.encode()), "text/plain", "Content-Encoding: gzip")) as server:
        page = await fetcher(server).fetch(f"http://{HERE}:{server.port}/")
    assert (page.text, page.cut) == (text, False)


async def test_a_slow_drip_ends(serving: Serving):
    """A server that sends a byte now and then holds nobody longer than the limit for all of it."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", then=drip) as server:
        with pytest.raises(Refused, match=r"longer than 0.2 s"):
            await fetcher(server, timeout_s=0.2).fetch(f"http://{HERE}:{server.port}/")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(b"short").replace(b"Length: 5", b"Length: 50"), "cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "cut off"),
        (b"", "as a web server should"),
        (b"220 ready for mail\r\n\r\n", "as a web server should"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "as a web server should"),
        (ok(b"not gzip", "text/plain", "Content-Encoding: gzip"), "as a web server should"),
        (ok(b"?", "text/plain", "Content-Encoding: br"), "packed in a way"),
        (ok(b"\x89PNG", "image/png"), "not text but image/png"),
        (moved("http://[::1"), "no address|as a web server should"),
    ],
)
async def test_what_is_no_good_answer_is_refused(serving: Serving, answer: bytes, why: str):
    """A broken answer is one line for the model, never an error of ours."""
    async with serving(answer) as server:
        with pytest.raises(Refused, match=why):
            await fetcher(server).fetch(f"http://{HERE}:{server.port}/")


async def test_no_proxy_of_the_environment_is_asked(serving: Serving, monkeypatch: pytest.MonkeyPatch):
    """A proxy that the environment names is passed by: it would reach where we may not."""
    async with serving(ok(b"proxied")) as proxy, serving(ok()) as server:
        monkeypatch.setenv("http_proxy", f"http://{HERE}:{proxy.port}")
        page = await fetcher(server).fetch(f"http://{HERE}:{server.port}/")
    assert (page.text, proxy.heard) == ("hello", [])


async def test_nobody_listens():
    """A port that nobody listens at is one line too."""
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        port = taken.getsockname()[1]
        reads = Fetcher(FetchSettings(ports=(port,)), public=lambda address: address == HERE)
        with pytest.raises(Refused, match="cannot be connected to"):
            await reads.fetch(f"http://{HERE}:{port}/")


async def test_our_own_classifier_is_the_default():
    """Without a test's door loopback is refused."""
    with pytest.raises(Refused, match="not a public address"):
        await Fetcher(FetchSettings()).fetch(f"http://{HERE}/")
