"""Two hosts on one account: the second is refused, whoever is dead is not waited for longer than it takes to tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import structlog

from surfaces_core import StateError
from surfaces_core.testing.recording_intake import receiving
from surfaces_demo.synapse import Synapse
from surfaces_matrix import MatrixSurface
from surfaces_matrix.account import Account, Mark
from surfaces_matrix.client import Client
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver, Fault, Html, Status

from .conftest import Bot, MemoryStore

ME = "@bot:hs.test"
BEAT_S = 0.05
KIND = "io.surfaces.host"


@dataclass
class Place:
    """A homeserver with one account, and hosts that use it."""

    hs: FakeHomeserver
    clients: list[Client] = field(default_factory=list)
    machines: Iterator[int] = field(default_factory=count)

    @asynccontextmanager
    async def host(self, store: MemoryStore | None = None, machine: str = "") -> AsyncIterator[Account]:
        """A host that has logged in, with a state and a machine of its own unless it is given one."""
        device = self.hs.world.log_in(self.hs.world.user(ME), None)
        async with Client(self.hs.url, ME) as client:
            client.authorize(device.device_id, device.token)
            yield Account(
                name="work",
                client=client,
                store=store or MemoryStore(),
                log=structlog.get_logger(),
                beat_s=BEAT_S,
                machine=machine or f"machine {next(self.machines)}",
            )

    @property
    def mark(self) -> dict[str, Any]:
        """What stands in the account's data."""
        return self.hs.world.user(ME).account_data.get(("", KIND), (0, {}))[1]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        await self.hs.until(condition)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A homeserver with the bot's account."""
    async with FakeHomeserver() as hs:
        hs.register(ME)
        yield Place(hs)


@asynccontextmanager
async def living(account: Account) -> AsyncIterator[Account]:
    """A host that has claimed the account and shows that it lives."""
    await account.claim()
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(account.keep())
        yield account
        keeping.cancel()


async def refused(account: Account) -> str:
    """What a host is told that may not begin."""
    with pytest.raises(StateError) as caught:
        await account.claim()
    assert caught.value.exit_code == os.EX_TEMPFAIL
    return str(caught.value)


async def test_the_second_host_is_refused_and_told_who_is_first(place: Place):
    """As long as the first lives, as often as one tries; the first goes on."""
    async with place.host() as first, living(first):
        await place.until(lambda: place.mark)
        for _ in range(2):
            async with place.host() as second:
                assert f"process {os.getpid()} on machine 0" in await refused(second)
        beat = place.mark["beat"]
        await place.until(lambda: place.mark["beat"] > beat)


async def test_a_restart_asks_once_and_waits_for_nothing(place: Place):
    """After a crash a host knows its own mark, so a start takes one request more and no time."""
    store = MemoryStore()
    async with place.host(store) as account:
        await account.claim()
        await account._write(await account._own())
    async with place.host(store) as again:
        asked = len(place.hs.requests)
        await again.claim()
        assert [request.route for request in place.hs.requests[asked:]] == ["account_data"]


async def test_after_a_clean_stop_anybody_may_begin_at_once(place: Place):
    """A host that ends lets go, so that another state can take its place."""
    async with place.host() as first, living(first):
        await place.until(lambda: place.mark)
    async with place.host() as second:
        asked = len(place.hs.requests)
        await second.claim()
        assert len(place.hs.requests) == asked + 1


async def test_a_host_that_died_on_this_machine_is_not_waited_for(place: Place):
    """Its process would be here: whoever lost the state with it begins at once."""
    async with place.host(machine="here") as dead:
        await dead._write((await dead._own()).model_copy(update={"pid": await _ended()}))
    async with place.host(machine="here") as heir:
        asked = len(place.hs.requests)
        await heir.claim()
        assert len(place.hs.requests) == asked + 1


async def test_a_process_of_this_machine_that_lives_is_believed(place: Place):
    """It holds the account as one elsewhere would."""
    async with place.host(machine="here") as first:
        first._mark = (await first._own()).model_copy(update={"pid": os.getppid()})
        async with living(first), place.host(machine="here") as second:
            await place.until(lambda: place.mark)
            await refused(second)


async def _ended() -> int:
    """The id of a process that is no more."""
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    return process.pid


async def test_a_host_that_died_is_outlasted(place: Place, log: Any):
    """A mark that no longer counts is taken over, with a warning: the state of its host may be lost."""
    async with place.host() as dead:
        await dead.claim()
        await dead._write(await dead._own())
    async with place.host() as second, living(second):
        own = await second._own()
        await place.until(lambda: place.mark["instance"] == own.instance)
    assert [entry["event"] for entry in log if entry["log_level"] == "warning"] == [
        "account.held",
        "account.taken_over",
    ]


async def test_a_mark_of_long_ago_is_not_watched(place: Place):
    """Nor one of a time to come, which only a wrong clock can have left."""
    async with place.host() as dead:
        await dead.claim()
        own = await dead._own()
    for at in (own.at - 1000, own.at + 1000):
        async with place.host() as second:
            await dead_mark(place, own.model_copy(update={"at": at}))
            asked = len(place.hs.requests)
            await second.claim()
            assert len(place.hs.requests) == asked + 1


async def dead_mark(place: Place, mark: Mark) -> None:
    """Somebody's mark."""
    place.hs.world.set_account_data(place.hs.world.user(ME), "", KIND, mark.model_dump())


async def test_of_two_hosts_that_could_not_see_each_other_one_stays(place: Place):
    """With copies of one state, or begun at the same instant, the one that began later ends."""
    store = MemoryStore()
    async with place.host(store) as first, living(first):
        await place.until(lambda: place.mark)
        async with place.host(store) as copy:
            await copy.claim()
            (await copy._own()).started += 1000
            with pytest.raises(StateError) as caught:
                async with asyncio.timeout(5):
                    await copy.keep()
        assert caught.value.exit_code == os.EX_TEMPFAIL
        own = await first._own()
        await place.until(lambda: place.mark["life"] == own.life and not first.shared_with)


@pytest.mark.parametrize(
    "fault",
    [Status(status=404, errcode="M_UNRECOGNIZED"), Status(status=403, errcode="M_FORBIDDEN"), Html(status=404), Html()],
    ids=["unknown", "forbidden", "no route", "away"],
)
async def test_a_homeserver_without_account_data_is_used_all_the_same(place: Place, fault: Fault):
    """Nothing is asked a second time before the host begins, and what lives goes on."""
    place.hs.faults.always("account_data", fault)
    place.hs.faults.always("account_data.put", fault)
    async with place.host() as first, place.host() as second, living(first), living(second):
        await place.until(lambda: len(place.hs.record.of("account_data.put")) >= 2)
        assert place.mark == {}


@pytest.mark.parametrize("content", [{}, {"instance": 5}, {"holder": "x"}], ids=repr)
async def test_what_is_no_mark_is_none(place: Place, content: dict[str, Any]):
    """Whatever somebody put there, it is written over."""
    place.hs.world.set_account_data(place.hs.world.user(ME), "", KIND, content)
    async with place.host() as account, living(account):
        await place.until(lambda: place.mark.get("beat"))


async def test_a_mark_of_our_own_last_life_ends_nobody(place: Place):
    """When the new mark cannot be written for a while, the old one is no company."""
    store = MemoryStore()
    async with place.host(store) as dead:
        await dead.claim()
        await dead._write(await dead._own())
    place.hs.fault("account_data.put", Html(), times=3)
    async with place.host(store) as again, living(again):
        own = await again._own()
        await place.until(lambda: place.mark["life"] == own.life)


# With the whole surface -------------------------------------------------------------------------------------


async def test_a_surface_that_finds_another_one_does_not_begin(place: Place):
    """It reads nothing and answers nobody; the host gets the error that ends it."""
    settings = {"user_id": ME, "password": PASSWORD}
    first, second = Bot(place.hs.url, settings=settings), Bot(place.hs.url, settings=settings)
    async with quick(first) as surface, receiving(surface, first.intake):
        await place.until(lambda: place.mark)
        synced = len(place.hs.record.of("sync"))
        async with quick(second) as late:
            with pytest.raises(StateError, match=r"@bot:hs\.test already"):
                await late.run(second.intake)
            device = late._client.device_id
        assert device not in [request.device_id for request in place.hs.record.of("sync")[synced:]]
    assert place.mark["holder"] == ""


async def test_a_surface_with_company_says_so(place: Place):
    """Whoever watches the host reads which other one uses the account."""
    bot = Bot(place.hs.url, settings={"user_id": ME, "password": PASSWORD})
    async with quick(bot) as surface, receiving(surface, bot.intake):
        await place.until(lambda: place.mark)
        later = {**place.mark, "life": "other", "started": place.mark["started"] + 1, "holder": "process 1 on moon"}
        while not surface.condition().reasons:
            place.hs.world.set_account_data(place.hs.world.user(ME), "", KIND, later)
            await asyncio.sleep(BEAT_S / 2)
        assert surface.condition().reasons == ("process 1 on moon speaks for this account, too",)


def quick(bot: Bot) -> MatrixSurface:
    """A surface whose host shows often that it lives, on a machine of its own."""
    surface = bot.make()
    surface._account.machine = f"machine {id(bot)}"
    surface._account.beat_s = BEAT_S
    return surface


@pytest.mark.slow
async def test_a_real_homeserver_keeps_the_mark(synapse: Synapse):
    """The second of two hosts on one account of Synapse is refused, and may begin when the first has ended."""
    account = await synapse.register("marked")
    settings = {"user_id": account.user_id, "password": account.password}
    first, second = Bot(synapse.url, settings=settings), Bot(synapse.url, settings=settings)
    async with quick(first) as surface, receiving(surface, first.intake), quick(second) as late:
        with pytest.raises(StateError, match="already"):
            await late.run(second.intake)
    async with quick(second) as late, receiving(late, second.intake):
        assert late.condition().connected
