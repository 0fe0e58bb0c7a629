"""Fetching files that people sent: as a stream, within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from surfaces_core import Attachment, Rejected, Unavailable
from surfaces_matrix import MatrixSurface, words
from surfaces_testing.homeserver import (
    PASSWORD,
    Dropped,
    Endless,
    FakeHomeserver,
    Fault,
    Html,
    Lost,
    Reset,
    Slow,
    SlowHead,
    Status,
    WrongLength,
    limited,
)

from .conftest import Bot, Stage, web_server

DOWNLOAD = "GET /_matrix/client/v1/media/download/hs/abc"


async def fetch(surface: MatrixSurface, ref: str = "mxc://hs/abc") -> bytes:
    """All of a file."""
    return b"".join([piece async for piece in surface.fetch(Attachment(ref=ref, name="x"))])


def redirect(url: str) -> web.Response:
    """An answer that sends the client elsewhere."""
    return web.Response(status=307, headers={"Location": url})


async def test_a_file_is_fetched_with_the_token(stage: Stage, bot: Bot):
    """Media is authenticated since version 1.11 of the specification."""
    await stage.then(DOWNLOAD, b"content" * 1000)
    async with bot.live() as surface:
        assert await fetch(surface) == b"content" * 1000
    assert stage.sent(DOWNLOAD)[0].token == stage.token


async def test_an_old_homeserver_is_asked_the_old_way(stage: Stage, bot: Bot):
    """One that does not know authenticated media still has the old address."""
    await stage.then(DOWNLOAD, (404, {"errcode": "M_UNRECOGNIZED"}))
    await stage.then("GET /_matrix/media/v3/download/hs/abc", b"content")
    async with bot.live() as surface:
        assert await fetch(surface) == b"content"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_that_is_too_big_is_not_fetched(stage: Stage, bot: Bot, announced: bool):
    """Whether it says so beforehand or not, no more than the limit is taken."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(10**9)} if announced else {})
        await response.prepare(request)
        while sent < 200_000_000:
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    app = web.Application()
    app.router.add_get("/{tail:.*}", endless)
    async with bot.live(max_file_bytes=100_000) as surface, web_server(app) as other:
        await stage.then(DOWNLOAD, lambda _: redirect(f"{other}/file"))
        with pytest.raises(Rejected) as caught:
            await fetch(surface)
    assert caught.value.public == words.FILE_TOO_BIG_IN()
    assert sent < 50_000_000


async def test_the_token_stays_with_the_homeserver(stage: Stage, bot: Bot):
    """A redirect to a content network is followed without it."""
    tokens: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        return web.Response(body=b"from elsewhere")

    app = web.Application()
    app.router.add_get("/{tail:.*}", elsewhere)
    async with web_server(app) as other, bot.live() as surface:
        await stage.then(DOWNLOAD, lambda _: redirect(f"{other}/file"))
        assert await fetch(surface) == b"from elsewhere"
    assert tokens == [None]


async def test_a_file_that_comes_too_slowly_is_given_up(stage: Stage, bot: Bot):
    """A transfer has a time limit."""

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(60)
        return response

    app = web.Application()
    app.router.add_get("/{tail:.*}", slow)
    async with web_server(app) as other, bot.live() as surface:
        surface.settings = surface.settings.model_copy(update={"transfer_timeout_s": 0.1})
        await stage.then(DOWNLOAD, lambda _: redirect(f"{other}/file"))
        with pytest.raises(Unavailable, match="in time"):
            await fetch(surface)


@pytest.mark.parametrize(
    "trouble", [(502, "x"), (504, {"errcode": "M_NOT_YET_UPLOADED"}), (429, {"errcode": "M_LIMIT_EXCEEDED"})]
)
async def test_trouble_may_pass(stage: Stage, bot: Bot, trouble: Any):
    """The host tries again."""
    await stage.then(DOWNLOAD, trouble)
    async with bot.live() as surface:
        with pytest.raises(Unavailable):
            await fetch(surface)


@pytest.mark.parametrize("errcode", ["M_NOT_FOUND", "M_FORBIDDEN"])
async def test_a_file_that_is_gone_is_said(stage: Stage, bot: Bot, errcode: str):
    """With a sentence for the person."""
    await stage.then(DOWNLOAD, (404, {"errcode": errcode}))
    async with bot.live() as surface:
        with pytest.raises(Rejected) as caught:
            await fetch(surface)
    assert caught.value.public == words.FILE_GONE()


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "http://hs/abc",
        "mxc://hs",
        "mxc://hs/../../x",
        "mxc://../abc",
        "mxc://hs/a/b",
        "mxc://hs/abc?x=1",
        "mxc://hs/%2e",
    ],
)
async def test_an_address_that_is_none_is_never_asked_for(stage: Stage, bot: Bot, ref: str):
    """People can write anything into an event."""
    async with bot.live() as surface:
        before = stage.count("media")
        with pytest.raises(Rejected):
            await fetch(surface, ref)
    assert stage.count("media") == before


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (WrongLength(extra=1000), ""),
        (Reset(), ""),
        (Lost(), ""),
        (Dropped(), ""),
        (Slow(piece=1, pause_s=1.0), ""),
        (SlowHead(pause_s=1.0), ""),
        (Html(status=520), ""),
        (limited(retry_after="5"), ""),
        (Endless(), words.FILE_TOO_BIG_IN()),
        (Status(status=404, errcode="M_NOT_FOUND"), words.FILE_GONE()),
    ],
    ids=lambda value: getattr(value, "name", None) and f"{value.name}{getattr(value, 'status', '')}",
)
async def test_a_download_that_goes_wrong_is_never_taken_for_the_file(fault: Fault, said: str):
    """Cut, too slow, endless, gone: it is tried again later, or the person is told; what came is no file."""
    async with FakeHomeserver() as homeserver:
        homeserver.register("@bot:hs.test")
        uri = homeserver.world.upload("@ann:hs.test", b"content" * 1000, "text/plain", "a.txt")
        bot = Bot(homeserver.url, settings={"user_id": "@bot:hs.test", "password": PASSWORD})
        async with bot.live(max_file_bytes=100_000) as surface:
            surface.settings = surface.settings.model_copy(update={"transfer_timeout_s": 0.2})
            homeserver.faults.always("download", fault)
            with pytest.raises(Rejected if said else Unavailable) as caught:
                await fetch(surface, uri)
            homeserver.faults.clear()
            assert await fetch(surface, uri) == b"content" * 1000
    assert not said or caught.value.public == said
