"""The surface between a host that repeats and a homeserver that fails: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Address, Inbound, Unavailable
from surfaces_matrix import MatrixSurface
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.cursor import Reach
from surfaces_matrix.declines import Declines
from surfaces_matrix.gaps import Filler
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.people import People
from surfaces_matrix.reading import Reader, Window
from surfaces_testing.homeserver import COMMON, PASSWORD, FakeHomeserver, Status, missing_next_batch, unknown_since

from .conftest import Bot, draft, outbound

ME, ANN = "@bot:hs.test", "@ann:hs.test"
# Real waits would only make the test slow; that they are honoured is shown elsewhere.
QUICK = [fault for fault in COMMON if not (isinstance(fault, Status) and (fault.headers or fault.extra))]


async def until_done(call: Callable[..., Awaitable[object]], *args: object) -> None:
    """Repeat as the host does."""
    while True:
        try:
            await call(*args)
        except Unavailable:
            await asyncio.sleep(0)
        else:
            return


@pytest.mark.parametrize("seed", range(12))
async def test_through_random_faults_each_shows_once(seed: int):
    """A third of all requests fails in some way, the surface is restarted between, and all is well in the end."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(ME)
        ann, bot = homeserver.person(ANN), Bot(homeserver.url, settings={"user_id": ME, "password": PASSWORD})
        room = ann.create_dm(ME)
        homeserver.person(ME).join(room)
        address = Address(surface="work", conversation=room)
        async with bot.live():
            pass
        homeserver.faults.random(seed, 0.4, QUICK, routes=("sync", "send", "messages", "typing"))
        for life in range(3):
            async with bot.make(request_timeout_s=1) as surface:
                await _one_life(surface, bot, homeserver, room, address, life)
        assert bot.intake.said() == [f"{life}.{number}" for life in range(3) for number in range(10)]
        assert [shown.body for shown in homeserver.shown(room) if shown.sender == ME] == [
            f"answer {life}.{number}" for life in range(3) for number in range(4)
        ]
        assert sum(bool(request.fault) for request in homeserver.requests) > 4


async def _one_life(
    surface: MatrixSurface, bot: Bot, homeserver: FakeHomeserver, room: str, address: Address, life: int
) -> None:
    ann = homeserver.person(ANN)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(surface.run(bot.intake))
        for number in range(10):
            ann.say(room, f"{life}.{number}")
        for number in range(4):
            part = 10 * life + number
            message = outbound(f"answer {life}.{number}", part=part, address=address, streamed=number % 2 == 0)
            if message.streamed:
                shown = draft("half an answer", part=part, address=address)
                await until_done(surface.show, shown)
            await until_done(surface.send, message)
        await bot.intake.wait_until(lambda: len(bot.intake.said()) >= 10 * (life + 1), "all that was said")
        running.cancel()


async def test_tokens_that_are_lost_lose_nothing():
    """A homeserver that forgets where we were, and one that does not say where we are."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(ME)
        ann, bot = homeserver.person(ANN), Bot(homeserver.url, settings={"user_id": ME, "password": PASSWORD})
        room = ann.create_dm(ME)
        homeserver.person(ME).join(room)
        async with bot.live():
            ann.say(room, "one")
            await bot.intake.wait_said(["one"], "the first message")
            homeserver.fault("sync", missing_next_batch(), unknown_since(), missing_next_batch())
            ann.say(room, "two")
            ann.say(room, "three")
            await bot.intake.wait_said(["one", "two", "three"], "what came behind the trouble")


_KEYS = (
    "rooms",
    "join",
    "invite",
    "leave",
    "timeline",
    "state",
    "events",
    "invite_state",
    "type",
    "state_key",
    "sender",
    "content",
    "membership",
    "displayname",
    "event_id",
    "origin_server_ts",
    "limited",
    "m.relates_to",
    "msgtype",
    "body",
    "unsigned",
    "next_batch",
)
_WORDS = st.sampled_from([ME, ANN, "m.room.member", "m.room.message", "m.text", "invite", "leave", "$1"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=30,
)
_SECTION = st.sampled_from(["join", "invite", "leave"])


@given(sections=st.dictionaries(_SECTION, st.dictionaries(st.text(max_size=3), _JSON)))
def test_nothing_in_a_response_can_raise(sections: dict[str, dict[str, object]]):
    """Whatever JSON it holds, what comes out are entries for the host."""

    async def read() -> list[Inbound]:
        client, log, people = Client("http://127.0.0.1:1", ME), structlog.get_logger(), People(["*"])
        reader = Reader(
            surface="work",
            me=ME,
            people=people,
            filler=Filler(client, most=5, timeout_s=1),
            declines=Declines(client, log, timeout_s=1),
            log=log,
            backoff=Backoff(),
        )
        return (await reader.batch(response, Window(reach=Reach(token="s")), {})).entries

    response = json.loads(json.dumps({"next_batch": "s1", "rooms": sections}))
    with structlog.testing.capture_logs():
        assert all(isinstance(entry, Inbound) for entry in asyncio.run(read()))
    assert joined_state(response).keys() == sections.get("join", {}).keys()
