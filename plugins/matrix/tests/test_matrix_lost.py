"""Sync tokens that are good no more: a homeserver that forgot them, and one that was set back to a backup."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from surfaces_core import Kind
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_matrix import words
from surfaces_matrix.cursor import Hole, Position, Reach, went_back
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver, Html, Status, unknown_since

from .conftest import Bot, Stage, batch, message, tokens

ME, ANN = "@bot:hs.test", "@ann:hs.test"
BROKEN = Status(status=500, errcode="M_UNKNOWN", error="Internal server error")
DAYS_S = 86_400.0


@dataclass
class World:
    """A homeserver, the bot, and Ann in a room with it."""

    hs: FakeHomeserver
    bot: Bot
    room: str
    said: list[str] = field(default_factory=list)

    def say(self, count: int) -> None:
        """Ann says so many things at one instant."""
        texts = [str(len(self.said) + number) for number in range(count)]
        self.hs.say_many((ANN, self.room, text) for text in texts)
        self.said += texts

    async def heard(self) -> None:
        """Everything that Ann said came in, once and in order."""
        await self.bot.intake.wait_said(self.said, "all that was said")

    def forget(self) -> None:
        """The homeserver no longer knows the bot's token; whoever asks without one is served."""
        self.hs.faults.script("sync", [None, unknown_since()])

    @property
    def gaps(self) -> list[str]:
        """Why something was passed over, once for each time it was said."""
        return [entry.cause for entry in self.bot.intake.entries if entry.kind is Kind.GAP]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with FakeHomeserver() as hs:
        hs.register(ME)
        room = hs.person(ANN).create_dm(ME)
        hs.person(ME).join(room)
        yield World(hs, Bot(hs.url, settings={"user_id": ME, "password": PASSWORD, "catch_up_max_messages": 500}), room)


# A token that is unknown ----------------------------------------------------------------------------


async def test_what_lies_further_back_than_the_latest_is_fetched(world: World):
    """Behind an unknown token everything unheard comes in, in order, and what was heard does not come again."""
    async with world.bot.live():
        world.say(150)
        await world.heard()
    world.say(130)
    world.forget()
    async with world.bot.live():
        await world.heard()
        world.say(1)
        await world.heard()
    assert world.gaps == []


async def test_nothing_is_said_to_be_missing_where_all_was_heard(world: World):
    """However much lies beyond the bound, when it was heard before nobody is told of it."""
    async with world.bot.live():
        for _ in range(5):
            world.say(60)
            await world.heard()
    world.say(1)
    world.forget()
    async with world.bot.live(catch_up_max_messages=50):
        await world.heard()
    assert world.gaps == []


async def test_more_than_the_bound_is_said(world: World):
    """Once, before the latest."""
    async with world.bot.live():
        world.say(1)
        await world.heard()
    world.say(100)
    world.forget()
    async with world.bot.live(catch_up_max_messages=50):
        await world.bot.intake.wait_said(["0", *world.said[-50:]], "the latest")
    assert world.gaps == ["TOO_MANY"]


async def test_what_is_too_old_is_said(world: World):
    """Away for days and the token forgotten: what nobody heard is said to be passed over, what was heard is not."""
    async with world.bot.live():
        world.say(30)
        await world.heard()
    for unheard in (0, 3):
        world.say(unheard)
        world.forget()
        stored = len(world.bot.intake.cursors)
        world.bot.clock = lambda: time.time() + 3 * DAYS_S
        async with world.bot.live():
            await world.bot.intake.wait_until(lambda: len(world.bot.intake.cursors) > stored, "a new token")  # noqa: B023
        assert world.gaps == ["TOO_OLD"] * bool(unheard)


async def test_a_room_whose_past_is_unreadable_is_said(world: World):
    """What the sync shows comes in; that something may lie before it is said where it may."""
    async with world.bot.live():
        world.say(5)
        await world.heard()
    world.hs.faults.always("messages", Status(status=403, errcode="M_FORBIDDEN"))
    world.say(10)
    world.forget()
    async with world.bot.live():
        await world.heard()
    assert world.gaps == [], "the twenty that it shows reach back to what was heard"
    world.say(30)
    world.forget()
    async with world.bot.live():
        await world.bot.intake.wait_until(lambda: world.bot.intake.said()[-1] == world.said[-1], "the latest")
    assert world.gaps == ["TOKEN_UNKNOWN"]
    assert [entry.text for entry in world.bot.intake.entries if entry.kind is Kind.GAP] == [
        words.MISSED_UNREADABLE.text
    ]


async def test_a_token_that_makes_the_homeserver_fail_is_given_up(world: World):
    """When it fails at the token and at nothing else, what came meanwhile is found without it."""
    async with world.bot.live():
        world.say(1)
        await world.heard()
        token = tokens(world.bot.intake)[-1]
        world.hs.faults.where(lambda request: request.since == token, BROKEN)
        world.say(40)
        await world.heard()
    assert world.gaps == []


async def test_a_homeserver_that_fails_at_everything_keeps_its_token(world: World, log: list[Any]):
    """However long it fails, the bot goes on where it was."""
    async with world.bot.live():
        world.say(1)
        await world.heard()
        world.hs.faults.always("sync", BROKEN)
        failed = len(world.hs.record.of("sync"))
        await world.hs.until(lambda: len(world.hs.record.of("sync")) > failed + 20)
        world.hs.faults.clear()
        world.say(1)
        await world.heard()
    assert "sync.cursor_unknown" not in [entry["event"] for entry in log]


async def test_what_was_said_before_the_very_first_start_stays_unanswered(stage: Stage, bot: Bot):
    """However soon afterwards the token is lost."""
    stage.snapshot = batch(
        "s1", message("$0", "old news", sent_at=time.time() - 60), message("$1", "new", sent_at=time.time() + 1)
    )
    await stage.live((400, {"errcode": "M_UNKNOWN_POS"}))
    async with bot.live():
        await bot.intake.wait_said(["new"], "what was said behind it")


@pytest.mark.parametrize("errcode", ["M_UNKNOWN_POS", "M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_JSON"])
async def test_whatever_a_homeserver_calls_it(stage: Stage, bot: Bot, errcode: str):
    """A 400 for a sync with a token is about the token."""
    bot.intake = RecordingIntake("s0")
    stage.snapshot = batch("n1", message("$1", "one"))
    await stage.live((400, {"errcode": errcode}))
    async with bot.live():
        await bot.intake.wait_said(["one"], "the latest message")


# A server that was set back ---------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False], ids=["running", "away"])
@pytest.mark.parametrize("busy", [True, False], ids=["busy", "quiet"])
async def test_a_server_set_back_loses_nothing_new(world: World, running: bool, busy: bool):
    """Restored from a backup it takes a later token for good, and what is said before it gets there would be lost."""
    backup = world.hs.world.pos
    async with world.bot.live():
        world.say(5)
        await world.heard()
        world.said.clear()
        world.bot.intake.entries.clear()
        if running:
            await world.hs.refuse()
            await _set_back(world, backup, busy=busy)
            await world.hs.accept()
            await world.heard()
    if not running:
        await _set_back(world, backup, busy=busy)
        async with world.bot.live():
            await world.heard()
    assert world.gaps == []


async def _set_back(world: World, position: int, *, busy: bool) -> None:
    """Restore the backup; when `busy` others say so much that the stream is soon where it was."""
    world.hs.roll_back(position)
    world.say(3)
    if busy:
        others = world.hs.person("@bob:hs.test")
        elsewhere = others.create_room()
        for _ in range(40):
            others.say(elsewhere, "x")


async def test_a_server_set_back_before_anything_was_heard_is_noticed_by_its_tokens(world: World):
    """Where no message could bear witness the numbers do."""
    async with world.bot.live():
        world.say(1)
        await world.heard()
        backup = world.hs.world.pos
        others = world.hs.person("@bob:hs.test")
        others.create_room(invite=[ME])
        await world.bot.intake.wait_until(lambda: world.bot.intake.entries[-1].kind is Kind.START, "the invite")
        await world.hs.refuse()
        world.hs.roll_back(backup)
        world.say(1)
        await world.hs.accept()
        await world.heard()
    assert world.gaps == []


async def test_a_message_that_was_taken_back_is_no_sign(world: World, log: list[Any]):
    """A redacted witness is still there."""
    async with world.bot.live():
        world.say(1)
        await world.heard()
        [event] = [event for event in world.hs.events(world.room) if event.type == "m.room.message"]
        world.hs.person(ANN).redact(world.room, event.event_id)
        world.hs.fault("sync", Html(), times=2)
        world.hs.person(ANN).type(world.room)
        world.say(1)
        await world.heard()
    assert "sync.cursor_unknown" not in [entry["event"] for entry in log]


async def test_a_homeserver_that_has_no_single_events_is_trusted(stage: Stage, bot: Bot, log: list[Any]):
    """Not every homeserver can be asked for one."""
    await stage.then("/event/", *[(404, {"errcode": "M_UNRECOGNIZED"})] * 10)
    async with bot.live():
        await stage.live(batch("s1", message("$1", "one")), (502, "x"), batch("s2", message("$2", "two")))
        await bot.intake.wait_said(["one", "two"], "both")
    assert stage.count("/event/") == 1
    assert "sync.cursor_unknown" not in [entry["event"] for entry in log]


@pytest.mark.parametrize(
    ("token", "following", "back"),
    [
        ("s10_2_3", "s9_99_99", True),
        ("s9_1", "s10_1", False),
        ("s9", "s9", False),
        ("12", "7", True),
        ("m56~2.58~3.59", "m12~1.2", False),
        ("9f8e", "1a2b", False),
        ("s9", "t8", False),
        ("", "", False),
    ],
)
def test_tokens_tell_that_they_went_back(token: str, following: str, back: bool):
    """Where they begin with a number; others tell nothing."""
    assert went_back(token, following) is back


# The cursor -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["s9", "", "{", "[]", "12", '{"token": 5}', '{"at": 1}', "null", '{"token": "x", "at": "y"}']
)
def test_any_cursor_can_be_read(text: str):
    """What is none of ours counts as a token that nothing more is known about."""
    assert Position.read(text) == Position(token=text)


def test_a_cursor_is_read_as_it_was_written():
    """With everything that is in it."""
    hole = Hole(reach=Reach(token="s1", at=2.0, not_before=1.0), since=3.0)
    position = Position(token="s9", at=5.5, seen=4.5, witness=("!a:hs", "$1"), holes={"!a:hs": hole})
    assert Position.read(position.cursor) == position


async def test_the_cursors_time_is_kept_fresh(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """Where nothing is said for long, it is stored all the same from time to time."""
    monkeypatch.setattr("surfaces_matrix.sync.REFRESH_S", 0.0)
    async with bot.live():
        await stage.live({"next_batch": "s0"})
        await bot.intake.wait_until(lambda: len(bot.intake.cursors) == 2, "the same token again")
    first, second = map(Position.read, bot.intake.cursors)
    assert (first.token, second.token) == ("s0", "s0")
    assert second.at > first.at
