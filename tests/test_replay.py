"""A real host that is killed around a send, and a homeserver that does not recognise what the next life repeats."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof.house import House, Person, counted
from proof.processes import BOT, Agent, reference_agent
from surfaces_testing.homeserver import FakeHomeserver, Status

pytestmark = pytest.mark.slow
ANN = "@ann:hs.test"
LATER_S = 13 * 3600
"""More than a transaction id is relied on."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent that speaks slowly enough to be interrupted."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "100") as agent:
        yield agent


@pytest_asyncio.fixture(loop_scope="function")
async def house(agent: Agent, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver and a config."""
    async with FakeHomeserver() as homeserver:
        yield House(homeserver, agent, tmp_path)


# While the host rests -------------------------------------------------------------------------------


def settle(house: House, **settings: Any) -> None:
    """Change settings of the account; None takes one out."""
    config = json.loads(house.config.read_text())
    account = {**config["surfaces"]["matrix"], **settings}
    config["surfaces"]["matrix"] = {key: value for key, value in account.items() if value is not None}
    house.config.write_text(json.dumps(config))


def rows(house: House, change: Callable[[str, Any], Any]) -> None:
    """Change what is stored of messages, answers and logins: None takes a row out."""
    with closing(sqlite3.connect(house.database)) as database, database:
        for key, value in database.execute("SELECT key, value FROM kv").fetchall():
            if key.startswith((b"in\0", b"out\0", b"plug\0matrix\0login")):
                changed = change(key.decode(), json.loads(value))
                database.execute("DELETE FROM kv WHERE key = ?", (key,))
                if changed is not None:
                    database.execute("INSERT INTO kv VALUES (?, ?)", (key, json.dumps(changed).encode()))


def time_passes(house: House) -> None:
    """Everything was stored half a day earlier, and the homeserver has forgotten what was sent."""
    house.hs.forget_transactions()

    def older(key: str, row: Any) -> Any:
        if key.startswith("out"):
            row["outbound"]["frozen_at"] -= LATER_S
        elif "shown_at" in row:
            row["shown_at"] -= LATER_S
        return row

    rows(house, older)


def new_device(house: House) -> None:
    """The login is gone, so the bot comes as another device."""
    rows(house, lambda key, row: None if "login" in key else row)


def logged_out(house: House) -> None:
    """The device was logged out: it comes again with its id, and the homeserver has forgotten what it sent."""
    house.hs.revoke(BOT)
    house.hs.forget_transactions()


def other_token(house: House) -> None:
    """The operator has set an access token, which belongs to a device of its own."""
    device = house.hs.world.log_in(house.hs.world.user(BOT), "ANOTHER")
    settle(house, password=None, access_token=device.token)


Forget = Callable[[House], None]


# Lives ----------------------------------------------------------------------------------------------


async def killed(house: House, question: str, point: str) -> Person:
    """A life in which a person comes in and asks, and that ends by SIGKILL; two sends are behind it when they ask."""
    async with house.host(name="killed", SURFACES_KILL_AT=point) as host:
        await host.ready()
        person = Person(house)
        await person.enter()
        await house.hs.until(lambda: len([shown for room in house.hs.rooms for shown in house.hs.shown(room)]) == 2)
        person.say(question)
        assert await host.ended() == -signal.SIGKILL, host.log()
    return person


async def makes_good(house: House, person: Person) -> None:
    """A life that ends well, after what was left over is answered: one more answer comes behind it."""
    async with house.host(name="last") as host:
        await host.ready()
        person.say("count to 2")
        await person.hears("1 2")
        assert await host.stop() == 0


def said(house: House, person: Person) -> list[str]:
    """All that the bot says in the person's room, greeting and files included."""
    return [message.body.strip() for message in house.hs.shown(person.room) if message.sender == BOT]


PLAIN = ("!nonsense", "I don't know")
STREAMED = ("count to 12", counted(12))
FILE = ("make a file", "A note")
"""The caption of the second part; the first one is text."""


@pytest.mark.parametrize(
    ("asked", "forget"),
    [
        *((asked, forget) for asked in (PLAIN, STREAMED, FILE) for forget in (time_passes, new_device)),
        (STREAMED, logged_out),
        (STREAMED, other_token),
    ],
)
async def test_what_was_taken_shows_once(house: House, asked: tuple[str, str], forget: Forget) -> None:
    """The homeserver took the answer, the host died before it noted that, and the repeat is not recognised."""
    question, answer = asked
    person = await killed(house, question, "send.after:4" if asked is FILE else "send.after:3")
    before = said(house, person)
    assert answer in before[-1]
    forget(house)
    await makes_good(house, person)
    assert said(house, person) == [*before, "1 2"]
    assert len(house.hs.record.of("upload")) == (1 if asked is FILE else 0)


@pytest.mark.parametrize(
    ("asked", "forget"),
    [(PLAIN, time_passes), (STREAMED, time_passes), (FILE, time_passes), (PLAIN, new_device)],
)
async def test_what_was_not_sent_shows(house: House, asked: tuple[str, str], forget: Forget) -> None:
    """The host died before the answer left: a look finds nothing, and it is said, once."""
    settle(house, streaming=False)
    question, answer = asked
    person = await killed(house, question, "send.before:4" if asked is FILE else "send.before:3")
    before = said(house, person)
    assert len(before) == (2 if asked is FILE else 1)
    forget(house)
    await makes_good(house, person)
    after = said(house, person)
    assert (after[:-2], after[-1]) == (before, "1 2")
    assert answer in after[-2]


@pytest.mark.parametrize("forget", [time_passes, new_device, logged_out])
async def test_half_an_answer_becomes_a_whole_one(house: House, forget: Forget) -> None:
    """A draft shows when the host dies; the next life asks again, and the answer takes the draft's place."""
    async with house.host(name="killed") as host:
        await host.ready()
        person = Person(house)
        await person.enter()
        person.say("count to 150")
        await person.hears_part_of("1 2")
        host.signal(signal.SIGKILL)
        await host.ended()
    forget(house)
    await makes_good(house, person)
    assert person.heard == [counted(150), "1 2"]


async def test_an_answer_is_found_behind_a_long_talk(house: House) -> None:
    """Two hundred messages of the bot and two thousand of others came after it."""
    settle(house, catch_up_max_messages=10_000)
    person = await killed(house, "count to 12", "send.after:3")
    house.hs.say_many((BOT, person.room, f"mine {number}") for number in range(200))
    room = house.hs.rooms[person.room]
    for number in range(2000):
        house.hs.world.send(room, ANN, "m.room.message", {"msgtype": "m.notice", "body": f"theirs {number}"})
    time_passes(house)
    await makes_good(house, person)
    assert [text for text in person.heard if not text.startswith("mine")] == [counted(12), "1 2"]


async def test_a_room_that_cannot_be_read_is_waited_for(house: House) -> None:
    """While the homeserver does not show the room nothing is said there, and nothing is lost."""
    person = await killed(house, "count to 12", "send.after:3")
    time_passes(house)
    house.hs.fault("messages", Status(status=500), times=4)
    await makes_good(house, person)
    assert person.heard == [counted(12), "1 2"]
    # what begins somewhere fills a gap, which many edits leave on a slow machine
    looks = [request.status for request in house.hs.record.of("messages") if request.since is None]
    assert (looks[0], looks[-1]) == (500, 200)


async def test_within_the_window_nothing_is_read(house: House) -> None:
    """A life soon after, under the same login, relies on the homeserver alone."""
    person = await killed(house, "count to 12", "send.after:3")
    await makes_good(house, person)
    assert person.heard == [counted(12), "1 2"]
    # what begins somewhere fills a gap, which many edits leave on a slow machine
    assert [request for request in house.hs.record.of("messages") if request.since is None] == []
