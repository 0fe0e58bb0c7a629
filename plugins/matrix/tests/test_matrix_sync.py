"""Receiving: what a sync response becomes, when its cursor is used, and what a misbehaving homeserver can't do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Inbound, Kind, StateError
from surfaces_core.testing.recording_intake import RecordingIntake, receiving
from surfaces_matrix import source, sync, words
from surfaces_matrix.backoff import Backoff

from .conftest import ANN, HERE, ME, ROOM, SYNC, Bot, Stage, batch, message, patient, tokens

OLD = time.time() - 3 * 86_400


def membership(state: str, *, sender: str = ANN, event_id: str | None = None, **content: object) -> dict[str, object]:
    """The bot's own membership event; without an id it is a stripped one."""
    event: dict[str, object] = {
        "type": "m.room.member",
        "state_key": ME,
        "sender": sender,
        "content": {"membership": state, **content},
    }
    return event if event_id is None else {**event, "event_id": event_id, "origin_server_ts": int(time.time() * 1000)}


def invite(room: str, *events: object) -> dict[str, object]:
    """The `rooms` of a response with one invite."""
    return {"invite": {room: {"invite_state": {"events": list(events)}}}}


# The way of the cursor


async def test_a_first_start_begins_at_the_snapshot(stage: Stage, bot: Bot):
    """What was said before the bot ever ran is not answered."""
    stage.snapshot["rooms"]["join"][ROOM] = {"timeline": {"events": [message("$0", "old news")]}}
    async with bot.live():
        assert tokens(bot.intake) == ["s0"]
        await stage.live(batch("s1", message("$1", "hello")))
        await bot.intake.wait_said(["hello"], "the first message")
    assert tokens(bot.intake) == ["s0", "s1"]
    assert [entry.address for entry in bot.intake.entries] == [HERE]


async def test_a_restart_goes_on_at_the_stored_cursor(stage: Stage, bot: Bot):
    """The snapshot's own position is not used then."""
    bot.intake = RecordingIntake("s41")
    await stage.live(batch("s42", message("$1", "while you were away")))
    async with bot.live():
        await bot.intake.wait_said(["while you were away"], "what came meanwhile")
    assert stage.live_syncs()[0].query["since"] == "s41"
    assert tokens(bot.intake)[0] == "s42"


async def test_the_first_sync_after_a_restart_does_not_wait(stage: Stage, bot: Bot):
    """Nothing new is no reason to be ready late."""
    bot.intake = RecordingIntake("s41")
    async with bot.live():
        await stage.until(lambda: len(stage.live_syncs()) == 2)
    assert [request.query["timeout"] for request in stage.live_syncs()] == ["0", "5000"]


async def test_a_cursor_is_used_only_when_its_batch_is_stored(stage: Stage, bot: Bot):
    """While `accept` has not returned, nothing is asked of the homeserver with the new cursor."""
    async with bot.live():
        bot.intake.hold()
        await stage.live(batch("s1", message("$1", "one")), batch("s2", message("$2", "two")))
        await bot.intake.wait_held()
        assert {request.query["since"] for request in stage.live_syncs()} == {"s0"}
        bot.intake.let_go()
        await bot.intake.wait_said(["one", "two"], "both")
    assert [request.query["since"] for request in stage.live_syncs()][:3] == ["s0", "s1", "s2"]


async def test_what_could_not_be_stored_ends_the_run(stage: Stage, bot: Bot):
    """The host decides what follows from broken storage."""

    class Full(RecordingIntake):
        async def accept(self, batch: Sequence[Inbound], cursor: str):
            raise StateError("disk full")

    async with bot.make() as surface:
        with pytest.raises(StateError, match="disk full"):
            await surface.run(Full())


async def test_nothing_new_stores_nothing(stage: Stage, bot: Bot):
    """A poll that ended empty is no transaction."""
    async with bot.live():
        await stage.live({"next_batch": "s0"}, {"next_batch": "s0"}, batch("s1", message("$1", "one")))
        await bot.intake.wait_said(["one"], "the message")
    assert tokens(bot.intake) == ["s0", "s1"]


# What comes in


async def test_an_invite_is_a_start(stage: Stage, bot: Bot):
    """Who invited is who wants to begin, and the invited room is where."""
    person = {"type": "m.room.member", "state_key": ANN, "sender": ANN, "content": {"displayname": "Ann"}}
    async with bot.live():
        rooms = invite("!in:hs", person, membership("invite", is_direct=True))
        await stage.live({"next_batch": "s1", "rooms": rooms})
        await bot.intake.wait_until(lambda: bool(bot.intake.entries), "the invite")
    [start] = bot.intake.entries
    assert (start.kind, start.sender, start.sender_name) == (Kind.START, ANN, "Ann")
    assert start.address.conversation == "!in:hs"


async def test_the_same_invite_twice_is_one(stage: Stage, bot: Bot):
    """Seen in two syncs it has one id; another invite to the same room has its own."""
    first, second = (membership("invite", event_id=f"$i{n}") for n in (1, 2))
    async with bot.live():
        for number, event in enumerate((first, first, second), 1):
            await stage.live({"next_batch": f"s{number}", "rooms": invite("!in:hs", event)})
        await stage.live(batch("s4", message("$1", "end")))
        await bot.intake.wait_said(["end"], "the message behind")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.START, Kind.START, Kind.MESSAGE]


async def test_an_invite_that_waits_at_the_first_start_is_a_start(stage: Stage, bot: Bot):
    """Inviting the bot before it ever ran works."""
    stage.snapshot["rooms"] = invite("!in:hs", membership("invite"))
    async with bot.live():
        assert [entry.kind for entry in bot.intake.entries] == [Kind.START]


async def test_a_strangers_invite_is_declined(stage: Stage, bot: Bot, log: list[Any]):
    """It is left, not joined, logged once, and never comes to the host."""
    rooms = invite("!in:other", membership("invite", sender="@eve:other"))
    await stage.then("/leave", (502, "try again"))
    async with bot.live():
        await stage.live({"next_batch": "s1", "rooms": rooms}, batch("s2", message("$1", "hi")))
        await bot.intake.wait_said(["hi"], "a message behind it")
        await stage.until(lambda: stage.count("POST /_matrix/client/v3/rooms/%21in%3Aother/leave") == 2)
    assert stage.count("/join") == 0
    assert [entry["inviter"] for entry in log if entry["event"] == "invite.declined"] == ["@eve:other"]
    assert all(entry.kind is not Kind.START for entry in bot.intake.entries)


async def test_an_invite_in_the_name_of_another_is_of_its_sender(stage: Stage, bot: Bot):
    """Only the sender of the invite counts, and one without a sender is none."""
    forged = [
        {**membership("invite"), "sender": None},
        {**membership("invite"), "state_key": "@else:hs"},
        {**membership("invite"), "content": {"membership": ["invite"]}},
        None,
        "invite",
    ]
    async with bot.live():
        for number, event in enumerate(forged):
            await stage.live({"next_batch": f"s{number + 1}", "rooms": invite("!in:hs", event)})
        await stage.live(batch("s9", message("$1", "end")))
        await bot.intake.wait_said(["end"], "the message behind")
    assert len(bot.intake.entries) == 1


@pytest.mark.parametrize("how", ["leave", "ban"])
@pytest.mark.parametrize("where", ["timeline", "state"])
async def test_being_put_out_is_noticed(stage: Stage, bot: Bot, how: str, where: str):
    """A kick or ban is a `LEFT` with the id of its event, wherever the homeserver shows it."""
    event = membership(how, event_id="$kick")
    async with bot.live():
        await stage.live({"next_batch": "s1", "rooms": {"leave": {ROOM: {where: {"events": [event]}}}}})
        await bot.intake.wait_until(lambda: bool(bot.intake.entries), "the kick")
    [left] = bot.intake.entries
    assert (left.kind, left.address, left.event_id) == (Kind.LEFT, HERE, "$kick")


async def test_a_declined_invite_is_no_departure(stage: Stage, bot: Bot):
    """Leaving a room that the bot never was in is no news."""
    async with bot.live():
        rooms = {"leave": {"!in:hs": {"timeline": {"events": [membership("leave", sender=ME, event_id="$l")]}}}}
        await stage.live({"next_batch": "s1", "rooms": rooms}, batch("s2", message("$1", "end")))
        await bot.intake.wait_said(["end"], "the message behind")
    assert len(bot.intake.entries) == 1


async def test_who_is_not_allowed_is_not_heard(stage: Stage, bot: Bot):
    """By default the bot listens to its own homeserver; denial wins over leave."""
    events = [
        message("$1", "a stranger", sender="@eve:other"),
        message("$2", "a colleague"),
        message("$3", "a bad one", sender="@bad:hs"),
        message("$4", "sly", sender="@ann:hs.other"),
    ]
    async with bot.live(deny_users=["@bad:*"]):
        await stage.live(batch("s1", *events))
        await bot.intake.wait_said(["a colleague"], "the one who is allowed")


async def test_one_bad_event_loses_no_neighbour(stage: Stage, bot: Bot):
    """Wrong types anywhere leave the good events beside them as they are."""
    rubbish: list[object] = [
        None,
        7,
        "x",
        [],
        {},
        {"type": 1},
        {**message("$b", ""), "content": "x"},
        {**message("$c", "x"), "sender": {}},
    ]
    rubbish += [{**message("$d", "x"), "content": {"msgtype": ["m.text"], "body": {}}}]
    rubbish += [{**message("$e", "x"), "event_id": 5}, {**message("$f", "bad time"), "origin_server_ts": "now"}]
    response = batch("s1", *rubbish, message("$1", "good"))
    response["rooms"]["join"] |= {
        "!a:hs": None,
        "!b:hs": [],
        "!c:hs": {"timeline": 1},
        "!d:hs": {"timeline": {"events": {}}},
    }
    response["rooms"] |= {"invite": {"!x:hs": 3, "!y:hs": {"invite_state": []}}, "leave": {"!z:hs": "gone"}}
    async with bot.live():
        await stage.live(response)
        await stage.live({"next_batch": "s2", "rooms": []}, {"next_batch": "s3", "rooms": {"join": []}})
        await stage.live(batch("s4", message("$2", "still here")))
        await bot.intake.wait_until(lambda: "still here" in bot.intake.said(), "what came behind the rubbish")
    assert bot.intake.said() == ["bad time", "good", "still here"]
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)


@pytest.mark.parametrize("odd", ["", "!", "room:hs", "!a\0b:hs", "!a b:hs", "!" + "x" * 300, "@ann:hs"])
async def test_what_is_no_room_is_passed_over(stage: Stage, bot: Bot, odd: str):
    """Nothing could be asked about it, nor stored under its name."""
    room = batch("", message("$1", "nowhere"))["rooms"]["join"][ROOM]
    rooms = {"join": {odd: room}, "leave": {odd: {}}, **invite(odd, membership("invite"))}
    async with bot.live():
        await stage.live({"next_batch": "s1", "rooms": rooms}, batch("s2", message("$2", "here")))
        await bot.intake.wait_said(["here"], "what is said in a room")
    assert len(bot.intake.entries) == 1


async def test_many_rooms_keep_their_order(stage: Stage, bot: Bot):
    """A response with more rooms than are read at a time loses nothing."""
    rooms = {f"!r{n}:hs": batch("", message(f"${n}", f"{n}"))["rooms"]["join"][ROOM] for n in range(50)}
    async with bot.live():
        await stage.live({"next_batch": "s1", "rooms": {"join": rooms}})
        await bot.intake.wait_said([str(n) for n in range(len(rooms))], "one message of each room")


# Trouble


@pytest.mark.parametrize(
    "trouble",
    [
        (502, "<html>Bad Gateway</html>"),
        (500, {"errcode": "M_UNKNOWN"}),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1}),
        (200, '{"next_batch": "s1", "rooms": {"jo'),
        (200, {"rooms": {}}),
        (200, {"next_batch": 7}),
        (200, {"next_batch": ""}),
        (200, "[]"),
        (403, {"errcode": "M_FORBIDDEN"}),
        (404, {"errcode": "M_UNRECOGNIZED"}),
    ],
)
async def test_trouble_is_waited_out(stage: Stage, bot: Bot, log: list[Any], trouble: Any):
    """After any number of bad answers the next good one is taken up where the last good one ended."""
    async with bot.live():
        await stage.live(*[trouble] * 5, batch("s1", message("$1", "at last")))
        await bot.intake.wait_said(["at last"], "what came after the trouble")
        await stage.until(lambda: len(stage.live_syncs()) == 7)
    events = [entry["event"] for entry in log]
    assert (events.count("sync.down"), events.count("sync.back")) == (1, 1)
    assert {request.query["since"] for request in stage.live_syncs()[:6]} == {"s0"}


async def test_a_snapshot_that_fails_is_asked_for_again(stage: Stage, bot: Bot):
    """Trouble at the start is waited out like any other."""
    await stage.then(SYNC, (502, "no"), (200, "{"), {"rooms": {}})
    async with bot.live():
        assert stage.count(SYNC) >= 4


async def test_the_homeservers_own_wait_is_honoured(stage: Stage, bot: Bot):
    """`Retry-After` is what the next try waits, however short the own back-off is."""
    waits: list[float | None] = []

    class Noting(Backoff):
        def next(self, retry_after: float | None = None):
            waits.append(retry_after)
            return 0.0

    async with bot.make() as surface:
        surface._sync.patience.backoff = Noting()
        async with receiving(surface, bot.intake):
            await stage.live((429, {"errcode": "M_LIMIT_EXCEEDED"}, {"Retry-After": "17"}))
            await stage.live((502, "no"), batch("s1", message("$1", "one")))
            await bot.intake.wait_said(["one"], "what came after the wait")
    assert waits == [17.0, None]


@patient
@given(failures=st.integers(0, 10_000), chance=st.floats(0, 1), wait=st.none() | st.floats(0, 3600))
def test_a_wait_is_bounded_on_both_sides(failures: int, chance: float, wait: float | None):
    """At most two tries a second, at least one every four, and never before the homeserver's own time."""
    seconds = Backoff(failures=failures, chance=lambda: chance).next(wait)
    assert 0.5 <= seconds <= max(4.0, wait or 0.0)
    assert seconds >= (wait or 0.0)


def test_waits_grow_and_begin_anew():
    """They double from one second, and start over after a success."""
    backoff = Backoff(chance=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 4.0, 4.0]
    backoff.reset()
    assert backoff.next() == 1.0


async def test_an_unknown_cursor_loses_nothing(stage: Stage, bot: Bot):
    """When the homeserver forgot where we were, the latest messages are read again; the host drops the known ones."""
    async with bot.live():
        await stage.live(batch("s1", message("$1", "one")))
        await bot.intake.wait_said(["one"], "the first message")
        stage.snapshot = batch("n5", message("$0", "too old", sent_at=OLD), message("$1", "one"), message("$2", "two"))
        await stage.live((400, {"errcode": "M_INVALID_PARAM", "error": "Invalid stream token"}))
        await bot.intake.wait_said(["one", "two"], "what came meanwhile")
        await stage.live(batch("n6", message("$3", "three")))
        await bot.intake.wait_said(["one", "two", "three"], "what came afterwards")
    assert tokens(bot.intake) == ["s0", "s1", "n5", "n6"]
    assert all(entry.kind is Kind.MESSAGE for entry in bot.intake.entries)
    assert stage.count(SYNC) - len(stage.live_syncs()) == 4, "it is the cursor alone; the rooms; then all messages"


async def test_an_unknown_cursor_at_the_start_is_survived(stage: Stage, bot: Bot):
    """The same after a restart, with the catch-up time as the limit."""
    bot.intake = RecordingIntake("from another homeserver")
    stage.snapshot = batch("n5", message("$0", "too old", sent_at=OLD), message("$1", "recent"))
    await stage.live((400, {"errcode": "M_UNKNOWN", "error": "Invalid token"}))
    async with bot.live():
        await bot.intake.wait_said(["recent"], "what is within the catch-up time")


async def test_a_huge_response_is_asked_for_in_less(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """It is not held whole; the same time is asked for with fewer events a room."""
    monkeypatch.setattr(source, "MAX_SYNC_BYTES", 20_000)
    async with bot.live():
        huge = json.dumps(batch("s1", message("$0", "x" * 30_000))).encode()
        await stage.live(huge, huge, batch("s1", message("$1", "less")), batch("s2", message("$2", "more")))
        await bot.intake.wait_said(["less", "more"], "what fits")
        await stage.until(lambda: len(stage.live_syncs()) == 5)
    limits = [json.loads(request.query["filter"])["room"]["timeline"]["limit"] for request in stage.live_syncs()]
    assert limits == [100, 10, 1, 100, 100]


@pytest.mark.parametrize("what", ["same token", "new token", "same messages"])
async def test_a_homeserver_that_answers_at_once_with_nothing_new_is_asked_slowly(
    stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch, what: str
):
    """After a few of them each sync takes its time, whatever the token does and however often events are repeated."""
    monkeypatch.setattr(sync, "LEAST_S", 0.02)
    events = [message("$1", "one")] if what == "same messages" else []
    async with bot.live():
        began = time.monotonic()
        await stage.live(*[batch("s0" if what == "same token" else f"s{n}", *events) for n in range(30)])
        await stage.until(lambda: len(stage.live_syncs()) >= 30)
        assert time.monotonic() - began >= (30 - 2 - sync.FREE) * 0.02
    assert len(bot.intake.entries) == len(events)


async def test_a_busy_homeserver_is_not_slowed_down(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """Whoever brings something new is asked again at once."""
    monkeypatch.setattr(sync, "LEAST_S", 3600)
    async with bot.live():
        await stage.live(*[batch(f"s{n}", message(f"${n}", f"{n}")) for n in range(50)])
        await bot.intake.wait_said([f"{n}" for n in range(50)], "all messages")


async def test_a_short_silence_is_no_reason_to_wait(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """One or two syncs without news, as they come with somebody's typing, delay no message."""
    monkeypatch.setattr(sync, "LEAST_S", 3600)
    async with bot.live():
        for number in range(10):
            await stage.live(
                *[{"next_batch": f"n{number}"}] * sync.FREE, batch(f"s{number}", message(f"${number}", "x"))
            )
        await bot.intake.wait_said(["x"] * 10, "all messages")


async def test_very_much_is_stored_in_slices(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """The cursor moves with the last of them, so that a crash between two asks for all of it again."""
    monkeypatch.setattr(sync, "SLICE", 10)
    async with bot.live():
        await stage.live(batch("s1", *[message(f"${n}", f"{n}") for n in range(25)]))
        await bot.intake.wait_said([f"{n}" for n in range(25)], "all messages")
    assert tokens(bot.intake) == ["s0", "s0", "s0", "s1"]


async def test_own_events_are_not_asked_for(stage: Stage, bot: Bot):
    """The bot's own edits would push people's messages out of the timeline."""
    async with bot.live():
        await stage.until(lambda: bool(stage.live_syncs()))
    asked = json.loads(stage.live_syncs()[0].query["filter"])
    assert asked["room"]["timeline"]["not_senders"] == [ME]
    assert asked["presence"] == asked["account_data"] == asked["room"]["ephemeral"] == {"not_types": ["*"]}


# After a time away


async def test_what_is_too_old_is_passed_over_and_said(stage: Stage, bot: Bot):
    """One sentence stands for all old messages of a room, before those that are answered."""
    bot.intake = RecordingIntake("s1")
    await stage.live(batch("s2", message("$1", "a", sent_at=OLD), message("$2", "b", sent_at=OLD), message("$3", "c")))
    async with bot.live():
        await bot.intake.wait_said(["c"], "what is recent")
    gap, recent = bot.intake.entries
    assert (gap.kind, gap.text, gap.address) == (Kind.GAP, words.MISSED_AWAY.text, HERE)
    assert recent.text == "c"


async def test_too_many_are_passed_over_and_said(stage: Stage, bot: Bot):
    """The latest are answered."""
    bot.intake = RecordingIntake("s1")
    await stage.live(batch("s2", *[message(f"${n}", f"{n}") for n in range(5)]))
    async with bot.live(catch_up_max_messages=2):
        await bot.intake.wait_said(["3", "4"], "the last two")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, Kind.MESSAGE, Kind.MESSAGE]


async def test_no_catching_up_passes_over_all(stage: Stage, bot: Bot):
    """An age of 0 answers only what comes while the bot is there."""
    bot.intake = RecordingIntake("s1")
    await stage.live(batch("s2", message("$1", "missed")))
    async with bot.live(catch_up_max_age_s=0):
        await stage.live(batch("s3", message("$2", "there")))
        await bot.intake.wait_said(["there"], "what comes while the bot is there")
    assert [entry.kind for entry in bot.intake.entries] == [Kind.GAP, Kind.MESSAGE]


async def test_a_late_message_is_answered_while_the_bot_is_there(stage: Stage, bot: Bot):
    """A wrong clock elsewhere is no reason not to answer."""
    async with bot.live():
        await stage.live(batch("s1", message("$1", "slow clock", sent_at=OLD)))
        await bot.intake.wait_said(["slow clock"], "the message")
    assert len(bot.intake.entries) == 1


async def test_a_short_outage_is_no_time_away(stage: Stage, bot: Bot):
    """With no catching up at all a blip of the homeserver still loses nothing."""
    async with bot.live(catch_up_max_age_s=0):
        await stage.live((502, "blip"), batch("s1", message("$1", "during the blip")))
        await bot.intake.wait_said(["during the blip"], "the message")


async def test_a_cancelled_run_leaves_cleanly(stage: Stage, bot: Bot):
    """Ending a run in the middle of a poll raises nothing, and it can run again."""
    async with bot.make() as surface:
        for _ in range(2):
            async with receiving(surface, bot.intake):
                await stage.until(lambda: bool(stage.live_syncs()))
    assert bot.intake.entries == []


async def test_a_homeserver_that_refuses_every_cursor_is_given_pauses(stage: Stage, bot: Bot):
    """Asking for everything again is not repeated at once."""
    pauses = []

    class Counted(Backoff):
        def next(self, retry_after: float | None = None) -> float:
            pauses.append(super().next(retry_after))
            return 0.0

    refusal = (400, {"errcode": "M_UNKNOWN", "error": "Invalid stream token"})
    async with bot.make() as surface, asyncio.TaskGroup() as group:
        surface._sync.patience.backoff = Counted()
        await stage.live(refusal, refusal, refusal)
        receiving = group.create_task(surface.run(bot.intake))
        await stage.until(lambda: len(stage.live_syncs()) == 4)
        receiving.cancel()
    assert len(pauses) == 3
    assert all(pause >= 0.5 for pause in pauses)
