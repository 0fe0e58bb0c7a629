"""What can be made to go wrong goes wrong in just that way, once, and is written down."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from surfaces_testing.homeserver import (
    Changed,
    Dropped,
    Endless,
    FakeHomeserver,
    Fault,
    Html,
    Lost,
    Mutated,
    Nothing,
    Reset,
    Restless,
    Slow,
    SlowHead,
    Stall,
    Truncated,
    WrongLength,
    huge,
    limited,
    missing_next_batch,
    repeated,
    revoked,
    scramble,
    scrambled,
    unknown_since,
)

BOT = "@bot:hs.test"


@pytest.fixture
async def hs() -> AsyncIterator[FakeHomeserver]:
    async with FakeHomeserver() as homeserver:
        homeserver.register(BOT)
        yield homeserver


@pytest.fixture
async def get(hs: FakeHomeserver) -> Callable[..., Any]:
    """Ask for something on a connection of its own."""
    device = hs.world.log_in(hs.world.user(BOT), "DEVICE")
    headers = {"Authorization": f"Bearer {device.token}"}

    async def ask(path: str, method: str = "GET", body: object = None) -> tuple[int, bytes, dict[str, str]]:
        address = f"{hs.url}/_matrix/client/v3{path}"
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, address, json=body) as response,
        ):
            return response.status, await response.read(), dict(response.headers)

    return ask


@pytest.mark.parametrize(
    ("fault", "status", "holds"),
    [
        (limited(retry_after_ms=70), 429, b'"retry_after_ms":70'),
        (limited(), 429, b"M_LIMIT_EXCEEDED"),
        (Html(status=504), 504, b"<html>"),
        (revoked(), 401, b"M_UNKNOWN_TOKEN"),
        (unknown_since(), 400, b"M_UNKNOWN"),
        (huge(1000), 200, b"x" * 1000),
    ],
)
async def test_a_refusal_says_what_it_should(
    hs: FakeHomeserver, get: Callable[..., Any], fault: Fault, status: int, holds: bytes
) -> None:
    """Status and body are those of the fault, and the next request is served well again."""
    hs.fault("sync", fault)
    told, body, _ = await get("/sync")
    assert (told, holds in body) == (status, True)
    assert (await get("/sync"))[0] == 200
    assert [request.status for request in hs.record.of("sync")] == [status, 200]


async def test_a_wait_can_stand_in_the_header_alone(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """`Retry-After` without `retry_after_ms`."""
    hs.fault("sync", limited(retry_after="3"))
    _, body, headers = await get("/sync")
    assert headers["Retry-After"] == "3"
    assert b"retry_after_ms" not in body


async def test_bodies_are_broken_as_told(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """A sync without its token, one cut short, one with other bytes, one with fewer bytes than it has."""
    whole = (await get("/sync"))[1]
    hs.fault("sync", missing_next_batch(), Truncated(), Mutated(seed=1), WrongLength(extra=-5))
    assert b"next_batch" not in (await get("/sync"))[1]
    assert (await get("/sync"))[1] == whole[: len(whole) // 2]
    mutated = (await get("/sync"))[1]
    assert (len(mutated), mutated != whole) == (len(whole), True)
    assert (await get("/sync"))[1] == whole[:-5]


@pytest.mark.parametrize("fault", [Lost(), Dropped(), Reset(), WrongLength()])
async def test_connections_are_cut(hs: FakeHomeserver, get: Callable[..., Any], fault: Fault) -> None:
    """The client gets an error of the connection, and the record no status."""
    hs.faults.always("sync", fault)
    with pytest.raises(aiohttp.ClientError):
        await get("/sync")
    # aiohttp's client repeats GET and PUT once by itself when no byte of an answer came.
    for request in hs.record.of("sync"):
        assert (request.status, request.next_batch, request.fault) == (0, None, type(fault).__name__)


async def test_a_lost_answer_is_an_act_that_was_done(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """The event is there though the sender never heard of it; a dropped request did nothing."""
    room = hs.person(BOT).create_room()
    path = f"/rooms/{room}/send/m.room.message/"
    hs.fault("send", Lost(), Lost(), Dropped(), Dropped())
    for txn in ("lost", "dropped"):
        with pytest.raises(aiohttp.ClientError):
            await get(path + txn, "PUT", {"msgtype": "m.text", "body": txn})
    assert [json.loads(request.body)["body"] for request in hs.record.of("send")] == [
        "lost",
        "lost",
        "dropped",
        "dropped",
    ]
    assert [m.body for m in hs.shown(room)] == ["lost"]
    await get(path + "lost", "PUT", {"msgtype": "m.text", "body": "again"})
    assert [m.body for m in hs.shown(room)] == ["lost"]


async def test_a_stall_lasts_until_it_is_released(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """The answer is held back and then comes whole."""
    stall = Stall(release=asyncio.Event())
    hs.fault("joined_rooms", stall)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(get("/joined_rooms"))
        await hs.until(lambda: hs.record.of("joined_rooms") and hs.record.of("joined_rooms")[0].answered_at)
        assert not asking.done()
        stall.release.set()
    assert asking.result()[0] == 200


async def test_bodies_dribble_or_never_end(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """A slow body comes whole, an endless one is more than anybody wants."""
    hs.fault("joined_rooms", Slow(piece=3, pause_s=0), Endless())
    assert (await get("/joined_rooms"))[1] == b'{"joined_rooms":[]}'
    token = next(iter(hs.world.devices))
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.get(f"{hs.url}/_matrix/client/v3/joined_rooms") as response,
    ):
        assert len(await response.content.readexactly(1_000_000)) == 1_000_000


async def test_a_server_can_say_nothing_at_all(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """`{}` with status 200, and what was asked for is not done."""
    hs.faults.always("*", Nothing())
    assert (await get("/createRoom", "POST", {}))[:2] == (200, b"{}")
    assert hs.rooms == {}


async def test_a_sync_can_bring_nothing_at_once_for_ever(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """Whatever it might be held for: under the same token, or under another one each time that is good later."""
    hs.fault("sync", Restless(), Restless())
    for _ in range(2):
        assert (await get("/sync?since=s3&timeout=60000"))[1] == b'{"next_batch":"s3"}'
    hs.fault("sync", Restless(moves=True), times=2)
    assert [(await get("/sync?since=s3_7&timeout=60000"))[1] for _ in range(2)] == [
        b'{"next_batch":"s3_0"}',
        b'{"next_batch":"s3_1"}',
    ]
    assert (await get("/sync?since=s3_1"))[0] == 200


async def test_headers_may_never_end(hs: FakeHomeserver) -> None:
    """They come a byte at a time until the client has had enough of it."""
    hs.fault("versions", SlowHead(pause_s=0.001))
    reader, writer = await asyncio.open_connection("127.0.0.1", hs.web.port)
    writer.write(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: hs\r\n\r\n")
    head = await reader.readexactly(100)
    assert (head[:15], b"\r\n\r\n" in head) == (b"HTTP/1.1 200 OK", False)
    writer.close()
    await hs.until(lambda: hs.record.of("versions"))


async def test_json_is_scrambled_but_for_what_is_spared(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """Whatever is changed of the answer, what is spared comes as it is."""
    room = hs.person(BOT).create_room()
    for seed in range(50):
        hs.fault("state", scrambled(seed, 20, spares=_is_create))
        assert b'"type": "m.room.create"' in (await get(f"/rooms/{room}/state"))[1]


def _is_create(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "m.room.create"


def test_scrambling_repeats_by_its_seed() -> None:
    """The same seed changes the same JSON alike, and surely changes it."""
    values = [{"rooms": {"join": {"!a:hs": {"timeline": {"events": [{"type": "m.room.message"}]}}}}} for _ in range(3)]
    for value in values[1:]:
        scramble(value, random.Random(1), 10)
    assert json.dumps(values[1]) == json.dumps(values[2]) != json.dumps(values[0])


async def test_an_event_can_come_twice(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """A sync shows an old event again."""
    room = hs.person(BOT).create_room()
    event = hs.events(room)[0]
    hs.fault("sync", repeated(event))
    _, body, _ = await get(f"/sync?since=s{hs.world.pos}")
    assert body.count(event.event_id.encode()) == 1


async def test_a_revoked_login_ends_a_waiting_sync(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """The long poll answers at once that the token is no longer known."""
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(get(f"/sync?since=s{hs.world.pos}&timeout=30000"))
        await hs.until(lambda: hs.record.of("sync"))
        hs.revoke(BOT)
    status, body, _ = waiting.result()
    assert (status, b"M_UNKNOWN_TOKEN" in body) == (401, True)


async def test_connections_are_refused_and_taken_again_at_the_same_port(
    hs: FakeHomeserver, get: Callable[..., Any]
) -> None:
    """While it refuses nothing is answered; afterwards everything is still there."""
    url = hs.url
    await hs.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await get("/sync")
    await hs.accept()
    assert hs.url == url
    assert (await get("/sync"))[0] == 200


async def test_chance_repeats_by_its_seed(hs: FakeHomeserver) -> None:
    """The same seed meets the same requests with the same faults, and `clear` ends it."""
    hs.faults.random(7, 0.3)
    once = [hs.faults.next("send") for _ in range(200)]
    hs.faults.random(7, 0.3)
    assert [hs.faults.next("send") for _ in range(200)] == once
    assert 30 < sum(fault is not None for fault in once) < 90
    hs.faults.clear()
    assert hs.faults.next("send") is None


async def test_a_fault_can_meet_what_is_asked_with(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """Some requests to an endpoint alone, by anything that is known of them."""
    hs.faults.where(lambda request: request.since == "s0", Html())
    assert [(await get(path))[0] for path in ("/sync", "/sync?since=s0", "/sync?since=s0_1")] == [200, 502, 200]
    hs.faults.clear()
    assert (await get("/sync?since=s0"))[0] == 200


async def test_the_busiest_second_counts_failed_requests(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """A test can ask how hard a failing endpoint was pressed."""
    hs.faults.always("sync", Html())
    for _ in range(3):
        await get("/sync")
    hs.faults.clear()
    await get("/joined_rooms")
    assert hs.record.busiest_second("sync", failed=True) == 3
    assert hs.record.busiest_second("joined_rooms", failed=True) == 0
    assert hs.record.busiest_second() == 4
    assert hs.record.busiest_second(since=hs.requests[1].at, until=hs.requests[3].at) == 2


async def test_an_answer_can_be_changed_at_will(hs: FakeHomeserver, get: Callable[..., Any]) -> None:
    """A function of the test's own changes the JSON."""
    hs.fault("joined_rooms", Changed(change=lambda body: {**body, "more": 1}))
    assert (await get("/joined_rooms"))[1] == b'{"joined_rooms":[],"more":1}'
