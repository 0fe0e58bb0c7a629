"""Limited timelines: what was left out is fetched in order and within bounds, the rest is said."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from surfaces_core import Kind
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_matrix import words
from surfaces_matrix.gaps import TRIES

from .conftest import ME, ROOM, Bot, Request, Stage, batch, message

MESSAGES = "/messages"


class History:
    """A room's past, paged as `/messages` does; event n has the token `t<n>` behind it."""

    def __init__(self, count: int, page: int = 100, *, last_token: bool = True) -> None:
        self.events = [message(f"${n}", f"{n}") for n in range(count)]
        self.page = page
        self.last_token = last_token

    def __call__(self, request: Request) -> dict[str, object]:
        newest = int(request.query["from"][1:])
        stop = int(request.query.get("to", "t0")[1:])
        count = min(int(request.query["limit"]), self.page)
        chunk = self.events[max(stop, newest - count) : newest][::-1]
        answer: dict[str, object] = {"chunk": chunk, "start": request.query["from"]}
        if newest - len(chunk) > stop or (self.last_token and chunk):
            answer["end"] = f"t{newest - len(chunk)}"
        return answer

    def texts(self, start: int, stop: int) -> list[str]:
        return [str(n) for n in range(start, stop)]

    def tail(self, next_batch: str, start: int) -> dict[str, object]:
        """A limited sync response that shows the events from `start` on."""
        return batch(next_batch, *self.events[start:], limited=True, prev_batch=f"t{start}")


@pytest.mark.parametrize("last_token", [True, False])
@pytest.mark.parametrize("page", [100, 7])
async def test_a_gap_is_filled_in_order(stage: Stage, bot: Bot, page: Any, last_token: bool):
    """Everything between the previous sync and the limited timeline comes in, before it, in order."""
    history = History(60, page, last_token=last_token)
    bot.intake = RecordingIntake("t10")
    await stage.then(MESSAGES, *[history] * 60)
    await stage.live(history.tail("t60", 50))
    async with bot.live(catch_up_max_messages=700):
        await bot.intake.wait_said(history.texts(10, 60), "all messages behind the cursor")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)
    first = stage.sent(MESSAGES)[0]
    assert (first.query["dir"], first.query["from"], first.query["to"]) == ("b", "t50", "t10")
    assert json.loads(first.query["filter"])["not_senders"] == [ME]


async def test_a_gap_is_filled_before_the_cursor_moves(stage: Stage, bot: Bot):
    """The messages and the cursor behind them are stored together."""
    history = History(20)
    await stage.then(MESSAGES, (502, "not now"), history)
    async with bot.live():
        await stage.live(history.tail("t20", 15), history.tail("t20", 15))
        await bot.intake.wait_until(lambda: "19" in bot.intake.said(), "the messages")
    assert bot.intake.said() == history.texts(0, 20)
    assert bot.intake.cursors == ["s0", "t20"]
    assert [request.query["since"] for request in stage.live_syncs()][:2] == ["s0", "s0"]


async def test_what_is_beyond_the_bound_is_said(stage: Stage, bot: Bot):
    """Only the latest are fetched; one sentence stands for the rest, before them."""
    history = History(500)
    await stage.then(MESSAGES, *[history] * 10)
    async with bot.live(catch_up_max_messages=120):
        await stage.live(history.tail("t500", 480))
        await bot.intake.wait_said(history.texts(360, 500), "the bound and the timeline")
    gap = bot.intake.entries[0]
    assert (gap.kind, gap.text, gap.address.conversation) == (Kind.GAP, words.MISSED_FLOOD, ROOM)
    assert [entry.kind for entry in bot.intake.entries[1:]] == [Kind.MESSAGE] * 140
    assert stage.count(MESSAGES) == 2


async def test_exactly_the_bound_is_no_gap(stage: Stage, bot: Bot):
    """Nothing is said to be missing where nothing is."""
    history = History(100)
    await stage.then(MESSAGES, *[history] * 10)
    async with bot.live(catch_up_max_messages=60):
        await stage.live(batch("t40", *history.events[30:40]))
        await bot.intake.wait_said(history.texts(30, 40), "the first messages")
        await stage.live({**history.tail("t200", 100), "next_batch": "t200"})
        await bot.intake.wait_said(history.texts(30, 100), "sixty from the gap")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)


async def test_after_a_time_away_the_bound_is_the_whole_rooms(stage: Stage, bot: Bot):
    """At most so many are answered, the latest, with one sentence for the rest."""
    history = History(200)
    bot.intake = RecordingIntake("t0")
    await stage.then(MESSAGES, *[history] * 10)
    await stage.live(history.tail("t200", 150))
    async with bot.live(catch_up_max_messages=60):
        await bot.intake.wait_said(history.texts(140, 200), "the last sixty")
    assert [entry.kind for entry in bot.intake.entries].count(Kind.GAP) == 1
    assert bot.intake.entries[0].text == words.MISSED_AWAY


async def test_fetching_stops_where_it_is_too_old(stage: Stage, bot: Bot):
    """Nobody pages back through years."""
    history = History(1000, 10)
    for event in history.events[:900]:
        event["origin_server_ts"] = int((time.time() - 5 * 86_400) * 1000)
    bot.intake = RecordingIntake("t0")
    await stage.then(MESSAGES, *[history] * 200)
    await stage.live(history.tail("t1000", 950))
    async with bot.live(catch_up_max_messages=1000):
        await bot.intake.wait_said(history.texts(900, 1000), "what is recent")
    assert bot.intake.entries[0].kind is Kind.GAP
    assert stage.count(MESSAGES) == 6


@pytest.mark.parametrize("refusal", [(403, {"errcode": "M_FORBIDDEN"}), (400, {"errcode": "M_INVALID_PARAM"})])
async def test_a_gap_that_may_not_be_filled_is_said(stage: Stage, bot: Bot, refusal: Any):
    """A refusal is final for that room, and the rest of it comes in."""
    await stage.then(MESSAGES, refusal)
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True, prev_batch="p"))
        await bot.intake.wait_said(["nine"], "the timeline")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, Kind.MESSAGE]


async def test_a_room_that_can_not_be_filled_does_not_hold_up_the_others(stage: Stage, bot: Bot):
    """After a few tries its gap is said, and everybody's messages come in."""
    limited = batch("s1", message("$9", "nine"), limited=True, prev_batch="p")
    limited["rooms"]["join"]["!other:hs"] = batch("", message("$8", "eight"))["rooms"]["join"][ROOM]
    await stage.then(MESSAGES, *[(500, {"errcode": "M_UNKNOWN"})] * 50)
    async with bot.live():
        await stage.live(*[limited] * 50)
        await bot.intake.wait_until(lambda: len(bot.intake.said()) == 2, "both rooms' messages")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, Kind.MESSAGE, Kind.MESSAGE]
    assert stage.count(MESSAGES) >= TRIES


async def test_pages_that_lead_nowhere_end(stage: Stage, bot: Bot):
    """A homeserver that pages for ever is not followed for ever."""
    endless = iter(range(10_000))
    await stage.then(MESSAGES, *[lambda _: {"chunk": [], "end": f"e{next(endless)}"}] * 1000)
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True, prev_batch="p"))
        await bot.intake.wait_said(["nine"], "the timeline")
    assert bot.intake.entries[0].kind is Kind.GAP
    assert stage.count(MESSAGES) < 10


@pytest.mark.parametrize("page", [{}, {"chunk": "x", "end": 5}, {"chunk": [None, 7, {}]}, {"chunk": [], "end": "p"}])
async def test_odd_pages_are_survived(stage: Stage, bot: Bot, page: Any):
    """Whatever a page holds, the timeline behind it comes in."""
    await stage.then(MESSAGES, page)
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True, prev_batch="p"))
        await bot.intake.wait_said(["nine"], "the timeline")


async def test_a_limited_timeline_without_a_start_is_said(stage: Stage, bot: Bot):
    """Without `prev_batch` nothing can be fetched."""
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True))
        await bot.intake.wait_said(["nine"], "the timeline")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, Kind.MESSAGE]


async def test_a_room_just_come_to_has_no_gap(stage: Stage, bot: Bot):
    """What was said before the bot was there is none of its business."""
    async with bot.live():
        await stage.live(batch("s1", message("$9", "welcome"), room="!new:hs", limited=True, prev_batch="p"))
        await stage.live(batch("s2", message("$8", "more"), room="!new:hs", limited=True, prev_batch="q"))
        await bot.intake.wait_said(["welcome", "more"], "its messages")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)
    assert [request.query["from"] for request in stage.sent(MESSAGES)] == ["q"]
