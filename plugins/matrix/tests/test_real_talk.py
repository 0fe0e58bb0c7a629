"""What people do beside writing, on a real homeserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from surfaces_core import Address, Inbound, Kind
from surfaces_demo.synapse import Synapse
from surfaces_matrix.client import quote

from .conftest import draft
from .test_real_synapse import Talk, outbound_to, talking

pytestmark = pytest.mark.slow


@pytest.fixture(params=["10", "12"])
async def talk(request: pytest.FixtureRequest, synapse: Synapse) -> AsyncIterator[Talk]:
    """In a room version on each side of the change of redactions."""
    async with talking(synapse, request.param) as talk:
        yield talk


async def put(talk: Talk, kind: str, content: dict[str, Any]) -> str:
    """The person sends an event of some type; its id."""
    path = quote("v3", "rooms", talk.room, "send", kind, uuid4().hex)
    return str((await talk.person.call("PUT", path, content))["event_id"])


def related(kind: str, target: str, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": kind, "event_id": target, **more}}


async def test_everything_that_people_do_comes_in(talk: Talk):
    """Edits, reactions, redactions, threads, replies to what is old and new, polls, each as what it is."""
    bot = talk.bot
    old = await talk.say("said before the bot came")
    text = {"msgtype": "m.text", "body": "two"}
    poll = {
        "question": {"org.matrix.msc1767.text": "Where?"},
        "answers": [{"id": "1", "org.matrix.msc1767.text": "Oslo"}],
    }
    async with bot.live() as surface:
        one = await talk.say("one")
        await surface.show(bot_draft(talk, "an ans"))
        said = (await surface.send(outbound_to(talk, "an answer", streamed=True))).remote_id
        await talk.say("* two", **{"m.new_content": text}, **related("m.replace", one))
        await put(talk, "m.reaction", related("m.annotation", said, key="👍🏽\ufe0f"))
        await talk.say(
            "in a thread", **related("m.thread", one, **{"m.in_reply_to": {"event_id": one}, "is_falling_back": True})
        )
        await talk.say("what was that?", **{"m.relates_to": {"m.in_reply_to": {"event_id": old}}})
        await put(talk, "org.matrix.msc3381.poll.start", {"org.matrix.msc3381.poll.start": poll})
        await talk.person.call("PUT", quote("v3", "rooms", talk.room, "redact", one, uuid4().hex), {})
        await bot.intake.wait_until(
            lambda: bot.intake.entries[-1:] != [] and bot.intake.entries[-1].kind is Kind.REDACTION, "all"
        )
    async with bot.live():  # which remembers nothing of the answer
        await talk.say("and that?", **{"m.relates_to": {"m.in_reply_to": {"event_id": said}}})
        await bot.intake.wait_until(lambda: bot.intake.entries[-1].text == "and that?", "the last reply")
    assert [seen(entry) for entry in bot.intake.entries] == [
        ("message", "one", "", "", ""),
        ("edit", "two", one, "", ""),
        ("reaction", "👍", said, "", ""),
        ("message", "in a thread", "", one, ""),
        ("message", "what was that?", "", "", "said before the bot came"),
        ("message", "📊 Where?\n1. Oslo", "", "", ""),
        ("redaction", "", one, "", ""),
        ("message", "and that?", "", "", "an answer"),
    ]


def seen(entry: Inbound) -> tuple[str, ...]:
    return (entry.kind.value, entry.text, entry.target, entry.thread, entry.quote)


def bot_draft(talk: Talk, text: str) -> Any:
    return draft(text, address=Address(surface="work", conversation=talk.room))


async def test_what_the_bot_says_stands_where_it_belongs_and_calls_nobody(talk: Talk):
    """In its thread, in the place of what it replaces, read up to where it was taken up, without a ping."""
    bot = talk.bot
    async with bot.live() as surface:
        asked = await talk.say("a question")
        await bot.intake.wait_said(["a question"], "the question")
        await surface.acknowledge(bot.intake.entries[0], waiting=False)
        name = talk.person.user_id
        loud = f"@room {name} [{name}](https://matrix.to/#/{name}) **{name[1:].partition(':')[0]}**"
        await surface.send(outbound_to(talk, loud))
        await surface.send(outbound_to(talk, "in the thread", part=1, thread=asked))
        await surface.send(outbound_to(talk, "quiet", part=2, replaces="turn.0"))
        unread = await unread_in(talk, asked)
    bodies = [content["body"] for content in await talk.seen()]
    assert bodies == ["quiet", "in the thread"]
    assert unread == 0


async def unread_in(talk: Talk, read: str) -> int:
    """How often the person was called, once the bot's receipt shows."""
    since, called = "", 0
    async with asyncio.timeout(20):
        while True:
            query = {"timeout": "1000", **({"since": since} if since else {})}
            answer = await talk.person.call("GET", "/v3/sync", query=query)
            since, joined = answer["next_batch"], answer.get("rooms", {}).get("join", {})
            room = joined.get(talk.room, {})
            called += int(room.get("unread_notifications", {}).get("highlight_count", 0))
            ephemeral = room.get("ephemeral", {}).get("events", [])
            receipts = [event["content"].get(read, {}) for event in ephemeral if event["type"] == "m.receipt"]
            if any(talk.bot_id in each.get("m.read", {}) for each in receipts):
                return called
