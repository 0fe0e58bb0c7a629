"""The surface between a host that repeats and a homeserver that fails: nothing lost, nothing doubled.

What clients made with the usual libraries do wrong, and the test that this one does not:

- a sync that fails is repeated without a pause:
  test_faults_homeserver.test_a_homeserver_that_fails_is_spared_and_made_good
- so is one that is answered at once with nothing:
  test_matrix_sync.test_a_homeserver_that_answers_at_once_with_nothing_new_is_asked_slowly
- so is one with a revoked token:
  test_matrix_login.test_a_homeserver_that_ends_each_login_ends_the_bot
- what fails behind the saved token is lost:
  test_matrix_sync.test_a_cursor_is_used_only_when_its_batch_is_stored
- one odd event ends the loop:
  test_matrix_faults.test_a_message_beside_anything_wrong_comes_in
- limited timelines are dropped:
  test_matrix_gaps.test_a_gap_is_filled_in_order
- `Retry-After` is ignored:
  test_matrix_sync.test_the_homeservers_own_wait_is_honoured
- a send that fails with 5xx is not repeated:
  test_matrix_faults.test_through_random_faults_each_shows_once
- rooms are unknown after a restart from a token:
  test_settling.test_a_conversation_that_the_snapshot_lacks_is_looked_up
- plain text goes into a room whose encryption was not seen:
  test_encryption.test_nothing_is_said_in_a_room_whose_state_says_encrypted
- a bad message to the device ends the loop:
  test_encryption.test_whatever_comes_to_the_device_ends_nothing
- requests to verify the bot are swallowed:
  test_encryption.test_who_wants_to_verify_the_bot_is_named_in_the_log
- being put out is not noticed:
  test_matrix_sync.test_being_put_out_is_noticed
- one invite counts twice:
  test_matrix_sync.test_the_same_invite_twice_is_one
- downloads have no limit of size:
  test_matrix_media.test_a_file_that_is_too_big_is_not_fetched
- downloads have no limit of time:
  test_matrix_media.test_a_download_that_goes_wrong_is_never_taken_for_the_file

(One-time keys that run out are for when there is encryption.)
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Address, Inbound, Kind, Unavailable
from surfaces_matrix import MatrixSurface
from surfaces_matrix.backoff import Backoff
from surfaces_matrix.client import Client
from surfaces_matrix.cursor import Reach
from surfaces_matrix.declines import Declines
from surfaces_matrix.encryption import Encryption
from surfaces_matrix.gaps import Filled, Filler
from surfaces_matrix.groups import Groups
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.parsing import parse
from surfaces_matrix.people import People
from surfaces_matrix.quotes import Quotes
from surfaces_matrix.reading import Read, Reader, Window
from surfaces_matrix.roomstate import RoomState
from surfaces_testing.homeserver import (
    COMMON,
    PASSWORD,
    FakeHomeserver,
    Person,
    Status,
    missing_next_batch,
    scramble,
    scrambled,
    unknown_since,
)
from surfaces_testing.homeserver.filters import Filter
from surfaces_testing.homeserver.scrambling import dumps
from surfaces_testing.homeserver.sync import Sync
from surfaces_testing.homeserver.world import World

from .conftest import Bot, MemoryStore, draft, outbound, patient

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


def test_every_line_of_the_list_has_its_test():
    """A test that was renamed or lost is missed here."""
    here = Path(__file__).parent
    named = re.findall(r"^  (test_\w+)\.(test_\w+)$", __doc__ or "", re.MULTILINE)
    assert len(named) == 16
    for module, test in named:
        [file] = [*here.glob(f"{module}.py"), *here.parents[2].glob(f"tests/{module}.py")]
        assert f"def {test}(" in file.read_text(), f"{module}.{test}"


@pytest.mark.parametrize("seed", range(4))
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


@pytest.mark.parametrize("seed", range(10))
async def test_scrambled_answers_lose_no_message(seed: int):
    """Whatever else is wrong in the answers, and however broken their JSON is, each message comes in once, in order."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(ME)
        ann, bot = homeserver.person(ANN), Bot(homeserver.url, settings={"user_id": ME, "password": PASSWORD})
        rooms = [ann.create_dm(ME) for _ in range(2)]
        for room in rooms:
            homeserver.person(ME).join(room)
        async with bot.live():
            for route in ("sync", "messages", "event"):
                homeserver.faults.always(route, scrambled(seed, spares=_is_from_ann))
            for number in range(30):
                ann.say(rooms[number % 2], str(number))
                await bot.intake.wait_until(lambda: bot.intake.said()[-1:] == [str(number)], "what was said")  # noqa: B023
    assert bot.intake.said() == [str(number) for number in range(30)]


def _is_from_ann(value: object) -> bool:
    """A message, and the token behind it: without that nothing can be told to be new."""
    return isinstance(value, dict) and value.get("sender") == ANN and value.get("type") == "m.room.message"


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
_SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | _WORDS
_JSON: st.SearchStrategy[Any] = st.deferred(
    lambda: _SCALAR | st.lists(_JSON, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=4)
)
_SECTION = st.sampled_from(["join", "invite", "leave"])


def _reader(filler: Filler | None = None) -> Reader:
    client, log = Client("http://127.0.0.1:1", ME), structlog.get_logger()
    encryption = Encryption(client, MemoryStore(), log, None, wait_s=0)
    return Reader(
        surface="work",
        me=ME,
        people=People(["*"]),
        filler=filler or Filler(client, most=5, timeout_s=1),
        declines=Declines(client, log, timeout_s=1),
        groups=Groups(client, RoomState(client), log, enabled=True),
        quotes=Quotes(client, encryption, log),
        encryption=encryption,
        log=log,
        backoff=Backoff(),
    )


def _read(reader: Reader, response: dict[str, Any]) -> Read:
    with structlog.testing.capture_logs():
        return asyncio.run(reader.batch(response, Window(reach=Reach(token="s")), {}))


@patient
@given(sections=st.dictionaries(_SECTION, st.dictionaries(st.text(max_size=3).map("!{}:hs".format), _JSON)))
def test_nothing_in_a_response_can_raise(sections: dict[str, dict[str, object]]):
    """Whatever JSON it holds, what comes out are entries for the host."""
    response = json.loads(json.dumps({"next_batch": "s1", "rooms": sections}))
    assert all(isinstance(entry, Inbound) for entry in _read(_reader(), response).entries)


class NoPast(Filler):
    """Finds nothing before any timeline, or cannot look."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.most = 0

    async def fill(self, room_id: str, start: str, reach: Reach) -> Filled:
        if self._fails:
            raise Unavailable("not now")
        return Filled(events=[], reach=reach)


def _real_response() -> dict[str, Any]:
    """A sync as a homeserver answers it: messages, members, an invite, a room that was left, one with a gap."""
    world = World("hs.test", "12")
    for user in (ME, ANN):
        world.register(user, PASSWORD)
    ann, bot = Person(world, world.user(ANN)), Person(world, world.user(ME))
    rooms = [ann.create_dm(ME) for _ in range(4)]
    for room in rooms[1:]:
        bot.join(room)
    since = world.pos
    bot.leave(rooms[3])
    ann.create_dm(ME)
    for room in rooms[1:3]:
        for number in range(12):
            ann.say(room, f"{number}")
        ann.send_file(room, "a.txt", b"abc")
    ann.say(rooms[1], MARKER)
    answer, _ = Sync(world, world.log_in(world.user(ME), "D"), Filter.read({}), since, full_state=False).build()
    return answer


MARKER = "the message that must come in"
REAL = orjson.dumps(_real_response())


def _is_marked(value: object) -> bool:
    return isinstance(value, dict) and value.get("content") == {"msgtype": "m.text", "body": MARKER}


@patient
@given(chance=st.randoms(use_true_random=False), changes=st.integers(1, 40), fails=st.booleans())
def test_a_message_beside_anything_wrong_comes_in(chance: random.Random, changes: int, fails: bool):
    """Wrong types, names missing, NUL, half characters, endless nesting: it is stored, or waits for its room."""
    response = orjson.loads(REAL)
    scramble(response, chance, changes, _is_marked)
    parsed = asyncio.run(parse(dumps(response)))
    reader = _reader(NoPast(fails=fails))
    reader.joined = set(joined_state(parsed))
    read = _read(reader, parsed)
    waiting = [message for held in reader._held.values() for message in held]
    assert [entry.text for entry in [*read.entries, *waiting]].count(MARKER) == 1
    for entry in read.entries:
        told = (entry.address.conversation, entry.sender, entry.event_id, entry.text, entry.sender_name)
        assert "".join(told).encode().count(b"\0") == 0
        orjson.dumps(asdict(entry))


def test_a_response_that_is_not_scrambled_holds_everything():
    """What the test above starts from is a real response."""
    reader = _reader(NoPast(fails=False))
    response = orjson.loads(REAL)
    reader.joined = {*response["rooms"]["join"], *response["rooms"]["leave"]}
    kinds = Counter(entry.kind for entry in _read(reader, response).entries)
    assert kinds == {Kind.START: 1, Kind.LEFT: 1, Kind.MESSAGE: 20}
