"""Limited timelines: what was left out is fetched in order and within bounds, the rest is said."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from surfaces_core import Kind, Opening
from surfaces_core.testing.recording_intake import RecordingIntake
from surfaces_matrix import reading, words
from surfaces_matrix.cursor import Position
from surfaces_testing.homeserver import Dropped, FakeHomeserver

from .conftest import ANN, ME, ROOM, Bot, Request, Stage, batch, message, tokens

MESSAGES = "/messages"
OPENING = Opening(
    key="k",
    surface="work",
    owner=ANN,
    owner_name="Ann",
    number=1,
    name="C1",
    agent="17",
    context="42",
    created_at=1_750_000_000.5,
)


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

    def tail(self, next_batch: str, start: int) -> dict[str, Any]:
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


async def test_a_gap_is_stored_with_its_cursor(stage: Stage, bot: Bot):
    """The messages and the token behind them are one batch."""
    history = History(20)
    await stage.then(MESSAGES, *[history] * 10)
    async with bot.live():
        await stage.live(history.tail("t20", 15))
        await bot.intake.wait_said(history.texts(0, 20), "the messages")
    assert tokens(bot.intake) == ["s0", "t20"]


async def test_a_gap_that_can_not_be_filled_yet_holds_up_its_room_alone(stage: Stage, bot: Bot):
    """Others are heard at once; the room's messages come later, in order, and nothing is said of it."""
    history = History(30)
    await stage.then(MESSAGES, *[(502, "not now")] * 3, *[history] * 10)
    other = batch("", message("$o", "other"))["rooms"]["join"][ROOM]
    first, second = history.tail("t20", 15), batch("t30", *history.events[20:25], limited=False)
    first["rooms"]["join"]["!other:hs"] = other
    first["rooms"]["join"][ROOM]["timeline"]["events"] = history.events[15:20]
    async with bot.live():
        await stage.live(first)
        await bot.intake.wait_said(["other"], "what was said elsewhere")
        await stage.live(second)
        await bot.intake.wait_said(["other", *history.texts(0, 30)], "the room's messages")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)
    assert {request.query["to"] for request in stage.sent(MESSAGES)} == {"s0"}


async def test_one_room_that_can_not_be_read_keeps_no_other_from_being_read(stage: Stage, bot: Bot):
    """However often the one fails, the others' gaps are tried before it."""
    history = History(20)
    stage.snapshot["rooms"]["join"] |= {f"!{name}:hs": {} for name in "abc"}
    await stage.then("/rooms/%21a%3Ahs/messages", *[(502, "never")] * 500)
    await stage.then(MESSAGES, *[history] * 50)
    response: dict[str, Any] = {"next_batch": "t20", "rooms": {"join": {}}}
    for name in "abc":
        tail = history.tail("t20", 15)["rooms"]["join"][ROOM]
        events = [{**event, "event_id": f"{event['event_id']}{name}"} for event in tail["timeline"]["events"]]
        response["rooms"]["join"][f"!{name}:hs"] = {"timeline": {**tail["timeline"], "events": events}}
    async with bot.live():
        await stage.live(response)
        await bot.intake.wait_until(
            lambda: len({e.address for e in bot.intake.entries}) == 2, "the other rooms' messages"
        )
    assert {entry.address.conversation for entry in bot.intake.entries} == {"!b:hs", "!c:hs"}
    assert list(Position.read(bot.intake.cursors[-1]).holes) == ["!a:hs"]


async def test_a_gap_that_can_not_be_filled_yet_outlives_the_process(stage: Stage, bot: Bot):
    """It is kept with the cursor, and filled by the next life."""
    history = History(20)
    await stage.then(MESSAGES, *[(502, "not now")] * 50)
    async with bot.live():
        await stage.live(history.tail("t20", 15))
        await bot.intake.wait_until(lambda: "t20" in tokens(bot.intake), "the cursor")
    stage.forget(MESSAGES)
    await stage.then(MESSAGES, *[history] * 10)
    async with bot.live():
        await bot.intake.wait_said(history.texts(0, 20), "the room's messages")


async def test_a_room_that_the_bot_leaves_has_no_gap(stage: Stage, bot: Bot):
    """Nothing of it is looked for any more."""
    await stage.then(MESSAGES, *[(502, "not now")] * 50)
    async with bot.live():
        await stage.live(History(20).tail("t20", 15))
        await stage.until(lambda: stage.count(MESSAGES) > 1)
        await stage.live({"next_batch": "t21", "rooms": {"leave": {ROOM: {}}}}, batch("t22", room="!other:hs"))
        await bot.intake.wait_until(lambda: "t22" in tokens(bot.intake), "the end")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.LEFT]
    assert not Position.read(bot.intake.cursors[-1]).holes


async def test_what_is_beyond_the_bound_is_said(stage: Stage, bot: Bot):
    """Only the latest are fetched; one sentence stands for the rest, before them."""
    history = History(500)
    await stage.then(MESSAGES, *[history] * 10)
    async with bot.live(catch_up_max_messages=120):
        await stage.live(history.tail("t500", 480))
        await bot.intake.wait_said(history.texts(360, 500), "the bound and the timeline")
    gap = bot.intake.entries[0]
    assert (gap.kind, gap.text, gap.address.conversation) == (Kind.GAP, words.MISSED_FLOOD.text, ROOM)
    assert gap.cause == "TOO_MANY"
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
    assert bot.intake.entries[0].text == words.MISSED_AWAY.text


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


@pytest.mark.parametrize("refusal", [(403, {"errcode": "M_FORBIDDEN"}), (404, {"errcode": "M_UNRECOGNIZED"})])
async def test_a_gap_that_may_not_be_filled_is_said(stage: Stage, bot: Bot, refusal: Any):
    """A refusal is final for that room, and the rest of it comes in."""
    await stage.then(MESSAGES, refusal)
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True, prev_batch="p"))
        await bot.intake.wait_said(["nine"], "the timeline")
    gap, _ = bot.intake.entries
    assert (gap.kind, gap.cause, gap.text) == (Kind.GAP, "UNREADABLE", words.MISSED_UNREADABLE.text)


async def test_a_room_that_can_not_be_read_for_long_is_said(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """Then what is visible of it comes in, and all that came meanwhile."""
    limited = batch("s1", message("$8", "eight"), limited=True, prev_batch="p")
    await stage.then(MESSAGES, *[(500, {"errcode": "M_UNKNOWN"})] * 50)
    async with bot.live():
        await stage.live(limited, batch("s2", message("$9", "nine")))
        await bot.intake.wait_until(lambda: "s2" in tokens(bot.intake), "what is not waited for")
        assert bot.intake.entries == []
        monkeypatch.setattr(reading, "GIVE_UP_S", 0.0)
        await bot.intake.wait_said(["eight", "nine"], "both messages")
    assert [(entry.kind, entry.cause) for entry in bot.intake.entries[:1]] == [(Kind.GAP, "UNREADABLE")]
    assert not Position.read(bot.intake.cursors[-1]).holes


async def test_a_token_to_stop_at_that_is_unknown_is_done_without(stage: Stage, bot: Bot):
    """Then times say where to stop, and what is older is not asked for."""
    async with bot.live():
        history = History(400)
        for number, event in enumerate(history.events):
            event["origin_server_ts"] = int((time.time() + (1 if number >= 200 else -3600)) * 1000)
        await stage.then(MESSAGES, (400, {"errcode": "M_INVALID_PARAM"}), *[history] * 10)
        await stage.live(history.tail("t400", 350))
        await bot.intake.wait_said(history.texts(250, 400), "what is recent")
    # The hundred that may be fetched reach back into the last minutes, not behind them.
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, *[Kind.MESSAGE] * 150]
    assert [request.query.get("to") for request in stage.sent(MESSAGES)][:2] == ["s0", None]


async def test_pages_that_lead_nowhere_end(stage: Stage, bot: Bot):
    """A homeserver that pages for ever is not followed for ever."""
    endless = iter(range(10_000))
    await stage.then(MESSAGES, *[lambda _: {"chunk": [], "end": f"e{next(endless)}"}] * 1000)
    async with bot.live():
        await stage.live(batch("s1", message("$9", "nine"), limited=True, prev_batch="p"))
        await bot.intake.wait_said(["nine"], "the timeline")
    assert bot.intake.entries[0].kind is Kind.GAP
    assert stage.count(MESSAGES) < 10


@pytest.mark.parametrize("page", [{}, {"chunk": "x", "end": 5}])
async def test_a_page_without_events_is_none(stage: Stage, bot: Bot, page: Any):
    """What is no page is not taken for an empty one."""
    history = History(20)
    await stage.then(MESSAGES, page, *[history] * 10)
    async with bot.live():
        await stage.live(history.tail("t20", 15))
        await bot.intake.wait_said(history.texts(0, 20), "all messages")


@pytest.mark.parametrize("page", [{"chunk": [None, 7, {}]}, {"chunk": [], "end": "p"}, {"chunk": [], "end": 5}])
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
    assert next((entry.kind, entry.cause) for entry in bot.intake.entries) == (Kind.GAP, "UNREADABLE")


async def test_a_room_just_come_to_has_no_gap(stage: Stage, bot: Bot):
    """What was said before the bot was there is none of its business."""
    await stage.then(MESSAGES, {"chunk": []})
    async with bot.live():
        await stage.live(batch("s1", message("$9", "welcome"), room="!new:hs", limited=True, prev_batch="p"))
        await stage.live(batch("s2", message("$8", "more"), room="!new:hs", limited=True, prev_batch="q"))
        await bot.intake.wait_said(["welcome", "more"], "its messages")
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)
    assert [request.query["from"] for request in stage.sent(MESSAGES)] == ["q"]


async def test_a_room_that_the_bot_made_has_no_past_that_is_none_of_its_business():
    """What somebody says in a new conversation is heard, however much comes before a sync shows the room."""
    async with FakeHomeserver("hs") as homeserver:
        homeserver.register(ME, "pw")
        ann = homeserver.person(ANN)
        bot = Bot(homeserver.url)
        async with bot.live(catch_up_max_messages=700) as surface:
            assert surface.conversations is not None
            await homeserver.until(lambda: len(homeserver.record.of("sync")) > 1)
            homeserver.faults.always("sync", Dropped())
            ann.create_dm(ME)  # answers the sync that waits
            await homeserver.until(lambda: homeserver.record.of("sync")[-1].fault)
            room = (await surface.conversations.open(OPENING)).conversation
            ann.join(room)
            texts = [str(number) for number in range(120)]
            homeserver.say_many((ANN, room, text) for text in texts)
            homeserver.faults.clear()
            await bot.intake.wait_said(texts, "everything")
