"""What people do beside writing: replies, threads, edits, reactions and redactions come in as what they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from surfaces_core import Address, Inbound, Kind
from surfaces_matrix import quotes, receipts

from .conftest import ANN, ME, ROOM, Bot, Stage, Workspace, a_file, batch, draft, message, outbound

EVENT = "GET /_matrix/client/v3/rooms/%21room%3Ahs/event/"


def reply(event_id: str, text: str, to: str) -> dict[str, Any]:
    """A reply as clients send it today, without a fallback."""
    event = message(event_id, text)
    event["content"]["m.relates_to"] = {"m.in_reply_to": {"event_id": to}}
    return event


def answer(body: str, **content: Any) -> dict[str, Any]:
    """An event as it is fetched."""
    return {"type": "m.room.message", "sender": ANN, "content": {"msgtype": "m.text", "body": body, **content}}


async def heard(bot: Bot, stage: Stage, *events: dict[str, Any]) -> list[Inbound]:
    """All that came in when the last of these has."""
    await stage.live(batch(f"s{events[-1]['event_id']}", *events))
    last = events[-1]["event_id"]
    await bot.intake.wait_until(lambda: last in {entry.event_id for entry in bot.intake.entries}, "the last event")
    return bot.intake.entries


async def test_a_reply_to_something_said_lately_quotes_it(stage: Stage, bot: Bot):
    """What was heard or said is known without asking."""
    async with bot.live() as surface:
        said = await surface.send(outbound("the answer"))
        await heard(bot, stage, message("$1", "one"))
        entries = await heard(bot, stage, reply("$2", "why?", "$1"), reply("$3", "and this?", said.remote_id))
    assert [entry.quote for entry in entries] == ["", "one", "the answer"]
    assert stage.count(EVENT) == 0


async def test_a_reply_to_something_old_fetches_it_once(stage: Stage, bot: Bot):
    """What it says now, that is with its last edit, which homeservers add to it."""
    edit = {"content": {"m.new_content": {"msgtype": "m.notice", "body": "as edited"}}}
    await stage.then(f"{EVENT}%24old", answer("first …") | {"unsigned": {"m.relations": {"m.replace": edit}}})
    async with bot.live():
        entries = await heard(bot, stage, reply("$1", "why?", "$old"), reply("$2", "really?", "$old"))
    assert [entry.quote for entry in entries] == ["as edited", "as edited"]
    assert stage.count(EVENT) == 1


async def test_a_reply_to_a_file_quotes_its_name(stage: Stage, bot: Bot):
    """There are no words in it."""
    await stage.then(f"{EVENT}%24old", answer("chart.png", msgtype="m.image", url="mxc://hs/a"))
    async with bot.live():
        entries = await heard(bot, stage, reply("$1", "why?", "$old"))
    assert entries[0].quote == "chart.png"


async def test_a_message_of_another_room_is_never_quoted(stage: Stage, bot: Bot):
    """Naming a stranger's message shows nothing of it."""
    await stage.then(EVENT, (404, {"errcode": "M_NOT_FOUND"}))
    async with bot.live():
        await stage.live(batch("s1", message("$secret", "a secret"), room="!other:hs"))
        entries = await heard(bot, stage, reply("$1", "what was that?", "$secret"))
    assert [entry.quote for entry in entries if entry.event_id == "$1"] == [""]


async def test_a_message_that_was_taken_back_is_not_quoted_any_more(stage: Stage, bot: Bot):
    """The homeserver is asked, which shows an empty event."""
    redaction = message("$2", "") | {"type": "m.room.redaction", "content": {"redacts": "$1"}}
    await stage.then(EVENT, {"type": "m.room.message", "sender": ANN, "content": {}})
    async with bot.live():
        entries = await heard(bot, stage, message("$1", "oops"), redaction, reply("$3", "what?", "$1"))
    assert [(entry.kind, entry.quote) for entry in entries[1:]] == [(Kind.REDACTION, ""), (Kind.MESSAGE, "")]


@pytest.mark.parametrize("trouble", [(502, "x"), (403, {"errcode": "M_FORBIDDEN"}), {}, {"content": []}, "hang"])
async def test_a_quotation_that_cannot_be_had_holds_nothing_up(
    stage: Stage, bot: Bot, trouble: Any, monkeypatch: pytest.MonkeyPatch
):
    """The reply comes in without it, and a homeserver that fails is not asked for the next one."""
    monkeypatch.setattr(quotes, "FETCH_S", 0.05 if trouble == "hang" else 20.0)
    gone = asyncio.Event()

    async def hang(_: Any) -> Any:
        await gone.wait()

    await stage.then(EVENT, hang if trouble == "hang" else trouble)
    async with bot.live():
        await heard(bot, stage, reply("$1", "why?", "$old"))
        entries = await heard(bot, stage, reply("$2", "why?", "$older"), message("$3", "go on"))
        gone.set()
    assert [entry.quote for entry in entries] == ["", "", ""]
    assert stage.count(EVENT) == (1 if trouble in ("hang", (502, "x")) else 2)


async def test_what_is_said_about_messages_counts_as_no_message(stage: Stage, bot: Bot):
    """A flood of reactions pushes no message out of what is caught up, and is not said to be missed."""
    reactions = [
        message(f"$r{n}", "")
        | {
            "type": "m.reaction",
            "content": {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$1", "key": "👍"}},
        }
        for n in range(20)
    ]
    told = [message("$1", "one"), *reactions[:10], message("$2", "two"), *reactions[10:]]
    async with bot.live():
        await heard(bot, stage, message("$0", "zero"))
    await stage.then("/messages", {"chunk": told[::-1]})
    await stage.live(batch("s2", message("$3", "three"), limited=True, prev_batch="p"))
    async with bot.live(catch_up_max_messages=3):
        await bot.intake.wait_said(["zero", "one", "two", "three"], "all messages")
    assert not [entry for entry in bot.intake.entries if entry.kind is Kind.GAP]
    assert len([entry for entry in bot.intake.entries if entry.kind is Kind.REACTION]) == 20


# What is said


def sent(stage: Stage) -> list[dict[str, Any]]:
    """The contents of all messages sent."""
    return [request.body for request in stage.sent("/send/m.room.message/")]


async def test_an_answer_goes_to_its_thread(stage: Stage, bot: Bot):
    """Clients that know no threads see it as a reply to the thread's root; its edits say nothing of it."""
    async with bot.live() as surface:
        await surface.show(draft("one", thread="$t"))
        await surface.send(outbound("one two", streamed=True, thread="$t"))
        await surface.send(outbound("three", part=1, thread="$t"))
    relation = {
        "rel_type": "m.thread",
        "event_id": "$t",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "$t"},
    }
    first, edit, more = sent(stage)
    assert (first["m.relates_to"], more["m.relates_to"]) == (relation, relation)
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$of-turn.0"}
    assert "m.relates_to" not in edit["m.new_content"]


async def test_an_answer_shows_as_a_reply_where_the_host_says_so(stage: Stage, bot: Bot):
    """On its own and within a thread."""
    async with bot.live() as surface:
        await surface.send(outbound("one", reply_to="$q"))
        await surface.send(outbound("two", part=1, reply_to="$q", thread="$t"))
    one, two = [content["m.relates_to"] for content in sent(stage)]
    assert one == {"m.in_reply_to": {"event_id": "$q"}}
    assert (two["m.in_reply_to"], two["is_falling_back"]) == ({"event_id": "$q"}, False)


async def test_a_file_goes_to_its_thread(stage: Stage, bot: Bot, workspace: Workspace):
    """Like words."""
    bot.files, file = workspace, a_file("a.txt", 1)
    workspace.put(file, b"x")
    async with bot.live() as surface:
        await surface.send(outbound(file=file, thread="$t"))
    assert sent(stage)[0]["m.relates_to"]["event_id"] == "$t"


async def test_a_part_takes_the_place_of_an_earlier_one(stage: Stage, bot: Bot):
    """It is an edit of the message that shows, also for what replaces it in turn."""
    async with bot.live() as surface:
        await surface.send(outbound("may I?"))
        second = await surface.send(outbound("you may", part=1, replaces="turn.0"))
        third = await surface.send(outbound("over", part=2, replaces="turn.1"))
    assert second.remote_id == third.remote_id == "$of-turn.0"
    assert [content["m.relates_to"]["event_id"] for content in sent(stage)[1:]] == ["$of-turn.0"] * 2


@pytest.mark.parametrize("named", ["mark", "key", "transaction"])
async def test_what_another_life_said_is_found_in_the_room(stage: Stage, bot: Bot, named: str):
    """By what every message says of itself, or by what the homeserver remembers of it."""
    said = answer("may I?") | {"sender": ME, "event_id": "$q"}
    match named:
        case "mark":
            said["content"]["io.surfaces.id"] = {"turn": "turn", "part": 7}
        case "key":
            said["content"] |= {"io.surfaces.id": {"turn": "turn", "part": 3}, "io.surfaces.key": "turn.7"}
        case _:
            said["unsigned"] = {"transaction_id": "turn.7"}
    await stage.then("/messages", {"chunk": [answer("else"), said], "end": "e"})
    async with bot.live() as surface:
        await surface.send(outbound("you may", replaces="turn.7"))
    assert sent(stage)[0]["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$q"}


async def test_without_a_trace_of_it_the_part_is_said_anew(stage: Stage, bot: Bot):
    """A person who left and came back, a room that was cleared."""
    await stage.then("/messages", {"chunk": [answer("else")], "end": "e"}, {"chunk": []})
    async with bot.live() as surface:
        await surface.send(outbound("you may", replaces="turn.7"))
    assert "m.relates_to" not in sent(stage)[0]


async def test_a_key_that_the_mark_does_not_tell_stands_beside_it(stage: Stage, bot: Bot):
    """So that what is said later can take its place, whoever says it."""
    async with bot.live() as surface:
        await surface.send(replace(outbound("may I?", part=1001), key="turn.q1-1"))
    assert (sent(stage)[0]["io.surfaces.id"]["part"], sent(stage)[0]["io.surfaces.key"]) == (1001, "turn.q1-1")


# Receipts


RECEIPT = "POST /_matrix/client/v3/rooms/%21room%3Ahs/receipt/"


def taken_up(event_id: str, room: str = ROOM, kind: Kind = Kind.MESSAGE) -> Inbound:
    """A message that the host takes up."""
    place = Address(surface="work", conversation=room)
    return Inbound(address=place, event_id=event_id, sender=ANN, sent_at=1.0, kind=kind)


@pytest.mark.parametrize(("kind", "path"), [("public", "m.read/%24q"), ("private", "m.read.private/%24q")])
async def test_people_see_that_a_message_was_taken_up(stage: Stage, bot: Bot, kind: str, path: str):
    """As far as the operator wants it, and not before it is taken up."""
    async with bot.live(read_receipts=kind) as surface:
        await surface.acknowledge(taken_up("$p"), waiting=True)
        await surface.acknowledge(taken_up("$q"), waiting=False)
        await stage.until(lambda: stage.count("/receipt/") > 0)
    assert [request.path.partition("/receipt/")[2] for request in stage.sent(RECEIPT)] == [path]


async def test_receipts_are_few(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """A flood is one at once and one for all the rest; each room has its own."""
    monkeypatch.setattr(receipts, "EVERY_S", 1.0)
    async with bot.live() as surface:
        for n in range(50):
            await surface.acknowledge(taken_up(f"$a{n}"), waiting=False)
            await asyncio.sleep(0)
        await surface.acknowledge(taken_up("$b", room="!other:hs"), waiting=False)
        await stage.until(lambda: stage.count("%24a49") > 0)
    assert stage.count(RECEIPT) <= 2
    assert stage.count("/receipt/") == stage.count(RECEIPT) + 1


async def test_without_receipts_nothing_is_sent(stage: Stage, bot: Bot):
    """Nor for what is no message."""
    async with bot.live(read_receipts="off") as surface:
        await surface.acknowledge(taken_up("$q"), waiting=False)
        await heard(bot, stage, message("$1", "one"))
    async with bot.live() as surface:
        for entry in (taken_up("gap:!room:hs:s1"), taken_up("$r", kind=Kind.REACTION)):
            await surface.acknowledge(entry, waiting=False)
        await heard(bot, stage, message("$2", "two"))
    assert stage.count("/receipt/") == 0


@pytest.mark.parametrize(
    "trouble", [(502, "x"), (429, {"errcode": "M_LIMIT_EXCEEDED"}), (403, {"errcode": "M_FORBIDDEN"})]
)
async def test_a_receipt_that_fails_is_not_repeated(stage: Stage, bot: Bot, trouble: Any):
    """Nor does it stop the bot, or the answers."""
    await stage.then("/receipt/", *[trouble] * 10)
    async with bot.live() as surface:
        await surface.acknowledge(taken_up("$q"), waiting=False)
        await stage.until(lambda: stage.count("/receipt/") > 0)
        await surface.acknowledge(taken_up("$r"), waiting=False)
        await heard(bot, stage, message("$1", "one"))
        await surface.send(outbound("an answer"))
    assert stage.count("/receipt/") == 1
