"""The HTTP client: what each answer means, and how much of one is taken."""

from __future__ import annotations

import asyncio
import gzip
import inspect
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Unavailable
from surfaces_matrix.client import Client, _kind, quote
from surfaces_matrix.errors import LIBRARY_ERRORS, LoggedOut, Refused, TooLarge, from_answer, from_library
from surfaces_matrix.gate import PATIENCE, PATIENCE_WITH_ONE, Gate

from .conftest import Stage, patient


@pytest.fixture
async def client(stage: Stage):
    async with Client(stage.url, "@bot:hs") as client:
        client._gate = Gate(spacing_s=0.001)
        client.authorize("DEV", stage.token)
        yield client


async def test_a_call_carries_the_token_and_gives_the_answer(stage: Stage, client: Client):
    """A request goes below the client API with the token, its query and its body."""
    await stage.then("POST /_matrix/client/v3/x", {"good": 1})
    assert await client.call("POST", "/v3/x", {"a": "ж"}, query={"q": "a b"}) == {"good": 1}
    request = stage.requests[0]
    assert (request.token, request.body, request.query) == (stage.token, {"a": "ж"}, {"q": "a b"})


def test_quote_leaves_nothing_special():
    """Ids can hold anything; none of it may change the path."""
    assert quote("v3", "rooms", "!a/b?c:hs", "#1%") == "/v3/rooms/%21a%2Fb%3Fc%3Ahs/%231%25"
    assert quote("..", ".", "") == "/%2E%2E/%2E/"


@patient
@given(st.lists(st.text(), min_size=1))
def test_quoting_is_undone_by_unquoting(parts: list[str]):
    """What the homeserver reads is what was meant."""
    assert [unquote(part) for part in quote(*parts).split("/")[1:]] == parts


async def test_quoted_ids_arrive_as_sent(stage: Stage, client: Client):
    """What is quoted is not quoted again on its way."""
    await client.call("GET", quote("v3", "rooms", "!a/b:hs", "x"))
    assert stage.requests[0].path == "/_matrix/client/v3/rooms/%21a%2Fb%3Ahs/x"


@pytest.mark.parametrize(
    "answer",
    [
        (502, "<html>Bad Gateway</html>"),
        (404, "<html>Not Found</html>"),
        (403, "<html>Forbidden</html>"),
        (200, "<html>Welcome</html>"),
        (200, '{"next_batch": "s1", "roo'),
        (200, ""),
        (200, "[1, 2]"),
        (200, "null"),
        (500, {"errcode": "M_UNKNOWN", "error": "Internal server error"}),
        (503, {"errcode": "M_UNKNOWN"}),
        (429, {"errcode": "M_LIMIT_EXCEEDED"}),
        (401, {"errcode": "M_USER_LOCKED", "soft_logout": True}),
        (301, "", {"Location": "/elsewhere"}),
        (400, {"errcode": 7}),
        (400, {"errcode": {"M_UNKNOWN": 1}}),
        (520, "<html>Web server is returning an unknown error</html>"),
    ],
)
async def test_what_may_pass_is_unavailable(stage: Stage, client: Client, answer: Any):
    """Proxies' pages, broken JSON, limits and server errors are no final answers."""
    await stage.then("/v3/x", answer)
    with pytest.raises(Unavailable) as caught:
        await client.call("GET", "/v3/x")
    assert not isinstance(caught.value, LoggedOut)
    assert stage.count("") == 1


@pytest.mark.parametrize("errcode", ["M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED"])
async def test_a_lost_token_is_told_apart(stage: Stage, client: Client, errcode: str):
    """That the token is no longer good is seen whatever the status."""
    await stage.then("/v3/x", (401, {"errcode": errcode}))
    with pytest.raises(LoggedOut):
        await client.call("GET", "/v3/x")


@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (403, "M_FORBIDDEN"),
        (404, "M_NOT_FOUND"),
        (404, "M_UNRECOGNIZED"),
        (400, "M_BAD_JSON"),
        (413, "M_TOO_LARGE"),
        (403, "M_USER_SUSPENDED"),
        (403, "M_CONSENT_NOT_GIVEN"),
        (400, "M_INVALID_PARAM"),
        (400, "M_UNSUPPORTED_ROOM_VERSION"),
    ],
)
async def test_a_refusal_is_final(stage: Stage, client: Client, status: int, errcode: str):
    """What the homeserver itself refuses is refused for good, with its code."""
    await stage.then("/v3/x", (status, {"errcode": errcode, "error": "no"}))
    with pytest.raises(Refused) as caught:
        await client.call("GET", "/v3/x")
    assert (caught.value.status, caught.value.errcode) == (status, errcode)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({}, {"retry_after_ms": 2500}, 2.5),
        ({"Retry-After": "7"}, {"retry_after_ms": 2500}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:07 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:07 GMT"}, {}, None),
        ({"Retry-After": "Wed, 21 Oct 1826 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "Wed, 99 Oct 2026 99:99:99 GMT"}, {}, None),
        ({"Retry-After": "soon"}, {"retry_after_ms": 100}, 0.1),
        ({"Retry-After": "3600"}, {}, 3600.0),
        ({"Retry-After": "99999999999999999999"}, {}, None),
        ({}, {"retry_after_ms": 1e300}, None),
        ({}, {"retry_after_ms": True}, None),
        ({"Retry-After": "-4"}, {}, None),
        ({"Retry-After": "²"}, {}, None),
        ({}, {"retry_after_ms": "soon"}, None),
        ({}, {"retry_after_ms": -1}, None),
        ({}, {}, None),
    ],
)
def test_the_servers_own_wait_is_taken_over(headers: dict[str, str], body: dict[str, Any], seconds: float | None):
    """A wait comes from the header or the body; what nobody can mean counts as none."""
    error = from_answer(429, headers, {"errcode": "M_LIMIT_EXCEEDED", **body}, "x")
    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


def _aiohttp_errors() -> list[type[BaseException]]:
    found = {
        value
        for name in dir(aiohttp)
        if inspect.isclass(value := getattr(aiohttp, name)) and issubclass(value, Exception)
    }
    return sorted(found, key=lambda error: error.__name__)


NOT_RAISED_BY_A_REQUEST = {
    "BadContentDispositionHeader",  # warnings about multipart, which is not used
    "BadContentDispositionParam",
    "EofStream",  # caught by aiohttp's own iterators
    "WebSocketError",
    "WSMessageTypeError",
}


@pytest.mark.parametrize("error", _aiohttp_errors(), ids=lambda error: error.__name__)
def test_every_error_of_the_library_is_known(error: Any):
    """A new kind of error in aiohttp fails here until it is thought about."""
    assert issubclass(error, LIBRARY_ERRORS) or error.__name__ in NOT_RAISED_BY_A_REQUEST


@pytest.mark.parametrize("error", [TimeoutError(), aiohttp.ServerDisconnectedError(), ConnectionResetError("x")])
def test_an_error_of_the_library_may_pass(error: Any):
    """Nothing the network does is final."""
    assert type(from_library(error, "GET /x")) is Unavailable


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n{}",
    ],
    ids=["closed", "rubbish", "cut", "chunk", "length", "gzip", "header"],
)
async def test_a_broken_answer_is_unavailable(raw: bytes):
    """Whatever bytes come, what leaves the client is one of our errors."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", "@bot:hs") as client:
            client.authorize("DEV", "t")
            with pytest.raises(Unavailable):
                await client.call("PUT", "/v3/x", {})


async def test_nobody_there_is_unavailable():
    """A refused connection may pass."""
    async with Client("http://127.0.0.1:1", "@bot:hs") as client:
        client.authorize("DEV", "t")
        with pytest.raises(Unavailable):
            await client.call("GET", "/v3/x")


async def test_no_answer_is_unavailable_in_time(stage: Stage, client: Client):
    """A homeserver that stalls is given up after the time-out."""
    with pytest.raises(Unavailable, match="no answer in time"):
        await client.call("GET", "/v3/sync", query={"since": "s", "timeout": "60000"}, timeout_s=0.05)


async def test_a_call_takes_as_long_as_the_client_was_told(stage: Stage):
    """Where nothing else is said."""
    async with Client(stage.url, "@bot:hs", timeout_s=0.05) as client:
        client.authorize("DEV", stage.token)
        with pytest.raises(Unavailable, match="no answer in time"):
            await client.call("GET", "/v3/sync", query={"since": "s", "timeout": "60000"})


async def test_before_the_login_a_call_waits(stage: Stage):
    """A part that is to be sent before the login goes out behind it."""
    async with Client(stage.url, "@bot:hs") as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.call("GET", "/v3/x"))
        await asyncio.sleep(0)
        client.authorize("DEV", stage.token)
        assert await call == {}


async def test_without_a_login_a_call_gives_up(stage: Stage):
    """Without a login nothing is sent, and the caller is told to come back."""
    async with Client(stage.url, "@bot:hs") as client:
        with pytest.raises(Unavailable, match="not logged in"):
            await client.call("GET", "/v3/x", timeout_s=0.01)
    assert stage.requests == []


async def test_a_closed_client_is_unavailable(stage: Stage):
    """What comes after the end is no bug of the caller's."""
    client = Client(stage.url, "@bot:hs")
    client.authorize("DEV", "t")
    with pytest.raises(Unavailable):
        await client.call("GET", "/v3/x")


async def test_a_big_answer_is_not_taken(stage: Stage, client: Client):
    """An answer that announces more than is allowed is left unread."""
    await stage.then("/v3/x", b"{}" + b" " * 5000)
    with pytest.raises(TooLarge):
        await client.call("GET", "/v3/x", max_bytes=5000)


async def test_an_answer_that_unpacks_to_much_is_not_taken(stage: Stage, client: Client):
    """What counts is the unpacked size."""
    packed = gzip.compress(b" " * 5_000_000)
    assert len(packed) < 10_000
    await stage.then("/v3/x", (200, packed, {"Content-Encoding": "gzip"}))
    with pytest.raises(TooLarge):
        await client.call("GET", "/v3/x", max_bytes=100_000)


async def test_a_packed_answer_is_read(stage: Stage, client: Client):
    """Proxies may pack answers."""
    await stage.then("/v3/x", (200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip"}))
    assert await client.call("GET", "/v3/x") == {"a": 1}


async def test_a_redirect_is_not_followed(stage: Stage, client: Client):
    """The token goes to the configured homeserver only."""
    await stage.then("/v3/x", (308, "", {"Location": "/_matrix/client/v3/y"}))
    with pytest.raises(Unavailable):
        await client.call("GET", "/v3/x")
    assert stage.count("/v3/y") == 0


async def test_a_failing_homeserver_is_spared(stage: Stage, client: Client):
    """While it fails, those behind the first few wait for a slot or give up unheard."""
    client._gate = Gate(spacing_s=3600)
    await stage.then("/v3/x", *[(500, {"errcode": "M_UNKNOWN"})] * 50)
    for _ in range(50):
        with pytest.raises(Unavailable):
            await client.call("GET", "/v3/x")
    # The next slot is there an hour after the last failure.
    assert stage.count("/v3/x") == PATIENCE_WITH_ONE


async def test_those_who_wait_go_when_it_is_back():
    """One success ends the waiting of all."""
    gate = Gate(spacing_s=3600)
    for _ in range(PATIENCE):
        gate.failed("send")
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(gate.enter("send", 100_000)) for _ in range(10)]
        await asyncio.sleep(0)
        gate.succeeded("send")
    assert all(task.done() for task in waiting)
    assert not gate.closed("send")


async def test_one_kind_of_call_may_fail_alone():
    """Who can't send can still read; what else goes well changes nothing about that."""
    gate = Gate(spacing_s=3600)
    for _ in range(PATIENCE):
        gate.failed("send")
        gate.succeeded("sync")
    assert (gate.closed("send"), gate.closed("sync")) == (True, False)


async def test_all_that_wait_share_the_slots():
    """However many kinds fail, one call goes at a time; `first` goes before all, who was cancelled takes none."""
    gate, went = Gate(spacing_s=0.001), []

    async def go(kind: str, *, first: bool = False) -> None:
        await gate.enter(kind, 3600, first=first)
        went.append(kind)

    for kind in ("send", "join", "sync") * PATIENCE:
        gate.failed(kind)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(go(kind)) for kind in ("send", "join", "state", "sync")]
        await asyncio.sleep(0)
        tasks.append(group.create_task(go("login", first=True)))
        await asyncio.sleep(0)
        tasks[1].cancel()
    assert went == ["login", "send", "state", "sync"]


async def test_one_call_of_each_kind_looks_whether_all_is_well_again():
    """After an outage nobody waits for more slots than it takes to see that it is over."""
    gate, went = Gate(spacing_s=3600), []

    async def go(kind: str) -> None:
        await gate.enter(kind, 100_000)
        went.append(kind)
        gate.succeeded(kind)

    for kind in ("send", "join") * PATIENCE:
        gate.failed(kind)
    async with asyncio.TaskGroup() as group:
        for kind in ("send", "join", "send", "join"):
            group.create_task(go(kind))
        await asyncio.sleep(0)
        gate.succeeded("sync")
    assert sorted(went) == ["join", "join", "send", "send"]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/v3/sync", "GET sync"),
        ("POST", "/v3/createRoom", "POST createRoom"),
        ("PUT", quote("v3", "rooms", "!a/b:hs", "send", "m.room.message", "t"), "PUT send"),
        ("GET", "/v3", "GET "),
        ("GET", "/v3/rooms", "GET "),
    ],
)
def test_requests_are_told_apart_by_what_they_are_for(method: str, path: str, kind: str):
    """Not by whose room they are about."""
    assert _kind(method, path) == kind


async def test_an_answer_without_what_it_is_for_is_trouble(stage: Stage, client: Client):
    """Whoever answers everything with `{}` is spared like one that fails."""
    client._gate = Gate(spacing_s=3600)
    for answer in ({}, {"event_id": 5}):
        await stage.then("/v3/x", answer)
        with pytest.raises(Unavailable, match="event_id"):
            await client.call("PUT", "/v3/x", needs="event_id")
    assert client._gate.closed("PUT x")


async def test_a_refusal_is_no_failure(stage: Stage, client: Client):
    """A homeserver that says no is well."""
    await stage.then("/v3/x", *[(403, {"errcode": "M_FORBIDDEN"})] * 10)
    for _ in range(10):
        with pytest.raises(Refused):
            await client.call("GET", "/v3/x")
    assert not client._gate.closed("GET x")


async def test_a_stream_translates_what_breaks_in_it(stage: Stage, client: Client):
    """A download that is cut in the middle may work later."""

    def cut(_request: object) -> web.StreamResponse:
        return web.Response(body=b"x" * 10, headers={"Content-Length": "10"})

    await stage.then("/media", cut)
    async with client.stream("GET", "/media/x", timeout_s=5) as response:
        assert await response.read() == b"x" * 10
    for _ in range(PATIENCE):
        await stage.then("/media", (502, "<html>"))
        with pytest.raises(Unavailable):
            async with client.stream("GET", "/media/x", timeout_s=5):
                pass
    assert client._gate.closed("media")
    await stage.then("/media", (404, {"errcode": "M_NOT_FOUND"}))
    with pytest.raises(Refused):
        async with client.stream("GET", "/media/x", timeout_s=5):
            pass
