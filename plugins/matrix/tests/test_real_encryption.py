"""Encrypted rooms on a real homeserver, with a client of another family on the other side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from PIL import Image, UnidentifiedImageError

from surfaces_core import Address, Attachment, FileKind, Kind, Rejected
from surfaces_demo.synapse import Synapse
from surfaces_matrix import words
from surfaces_matrix.client import quote
from surfaces_matrix.content import MARK
from surfaces_matrix.references import reference_of
from surfaces_testing.js_client import JsClient, JsMessage

from .conftest import Bot, Workspace, a_file, draft, outbound

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("js_client")]


@dataclass(frozen=True, kw_only=True)
class House:
    """A bot and a person with a client of another family, in one encrypted room."""

    bot: Bot
    bot_id: str
    ann: JsClient
    ann_plain: Bot
    """Her account with a client that does not encrypt."""
    room: str

    @property
    def here(self) -> Address:
        """The room."""
        return Address(surface="work", conversation=self.room)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(synapse: Synapse) -> AsyncIterator[House]:
    """Made once: starting clients takes seconds."""
    name = uuid4().hex[:8]
    account, ann = await synapse.register(f"bot-{name}"), await synapse.register(f"ann-{name}")
    settings = {"user_id": account.user_id, "password": account.password, "encryption": True}
    bot = Bot(synapse.url, files=Workspace(), settings=settings)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(JsClient(synapse.url, ann.user_id, ann.password))
        room = await client.create_room(
            invite=[account.user_id], encrypted=True, name="Two", options={"preset": "private_chat"}
        )
        async with bot.live() as surface:
            await surface._client.call("POST", quote("v3", "join", room), {})
            await client.see_joined(room, account.user_id)
        plain = Bot(synapse.url, settings={"user_id": ann.user_id, "password": ann.password})
        yield House(bot=bot, bot_id=account.user_id, ann=client, ann_plain=plain, room=room)


async def raw(house: House) -> list[dict[str, Any]]:
    """All that is said in the room, as the homeserver has it."""
    async with house.bot.make() as surface:
        await surface._login()
        path, query = quote("v3", "rooms", house.room, "messages"), {"dir": "b", "limit": "500"}
        page = await surface._client.call("GET", path, query=query)
    return [event for event in page["chunk"] if "state_key" not in event]


async def test_they_talk(house: House) -> None:
    """A person's words come in, an answer shows while it runs and in the end, and its repeats show once."""
    async with house.bot.live() as surface:
        await house.ann.say(house.room, "hello bot")
        await house.bot.intake.wait_said(["hello bot"], "what she said")
        for version, text in enumerate(("It", "It was", "It was secret"), 1):
            await surface.show(draft(text, version=version, address=house.here))
        answer = outbound("It was **secret**.", address=house.here, streamed=True)
        first = await surface.send(answer)
    async with house.bot.live() as surface:
        assert await surface.send(answer) == first
        await surface.send(outbound("The end.", part=1, address=house.here))

    def fits(message: JsMessage) -> bool:
        return message.event_id == first.remote_id and message.text == "It was **secret**."

    seen = await house.ann.see(house.room, "the answer", fits)
    assert seen.encrypted
    await house.ann.see_text(house.room, house.bot_id, "The end.")
    mine = [message for message in await house.ann.timeline(house.room) if message.sender == house.bot_id]
    assert [message.text for message in mine if message.text] == ["It was **secret**.", "The end."]
    async with house.bot.live() as surface:
        event = await house.ann.say(house.room, "and?")
        await house.bot.intake.wait_said(["hello bot", "and?"], "her next question")
        before = await surface.history(house.here, before=event, limit=10)
    assert [(said.by, said.text) for said in before] == [
        ("person", "hello bot"),
        ("agent", "It was **secret**."),
        ("agent", "The end."),
    ]


async def test_a_restart_keeps_the_keys(house: House) -> None:
    """What was said while the bot was away is read, edits and threads included."""
    event = await house.ann.say(house.room, "while you were away")
    await house.ann.edit(house.room, event, "while you slept")
    await house.ann.say_in_thread(house.room, event, "aside")
    await house.ann.react(house.room, event, "👍")
    async with house.bot.live():
        await house.bot.intake.wait_until(lambda: house.bot.intake.entries[-1].kind is Kind.REACTION, "all of it")
    said, edit, aside, _ = house.bot.intake.entries[-4:]
    assert (said.text, edit.kind, edit.target, edit.text) == (
        "while you were away",
        Kind.EDIT,
        event,
        "while you slept",
    )
    assert (aside.text, aside.thread) == ("aside", event)


async def test_an_older_copy_of_the_keys_goes_on(house: House) -> None:
    """What a backup brings back sends with no key that was sent with, and reads her however far she went on since."""

    async def talk(text: str) -> None:
        async with house.bot.live() as surface:
            await house.ann.discard_session(house.room)
            await house.ann.say(house.room, text)
            await house.bot.intake.wait_until(lambda: house.bot.intake.said()[-1:] == [text], f"what she says: {text}")
            answer = outbound(f"Heard {text}.", address=house.here)
            await surface.send(replace(answer, key=f"{text}.0", turn=text))
        await house.ann.see_text(house.room, house.bot_id, f"Heard {text}.")

    await talk("before the copy")
    copy = dict(house.bot.store.rows)
    await talk("since")
    await talk("and since")
    before = {event["content"].get("session_id") for event in await raw(house) if event["sender"] == house.bot_id}
    house.bot.store.rows = copy
    await talk("to the copy")
    await talk("and on")
    after = [event["content"] for event in await raw(house) if event["sender"] == house.bot_id]
    assert len({content["session_id"] for content in after} - before) == 2


async def test_files_go_both_ways(house: House) -> None:
    """And lie unreadable on the homeserver."""
    content = b"very secret " * 50_000
    file = a_file("plan.txt", len(content), mime="text/plain", kind=FileKind.OTHER)
    house.bot.files.put(file, content)
    async with house.bot.live() as surface:
        receipt = await surface.send(outbound(part=2, file=file, address=house.here))
        message = await house.ann.see(
            house.room, "the file", lambda one: one.event_id == receipt.remote_id and one.file
        )
        assert await house.ann.download(house.room, receipt.remote_id) == content
        assert b"secret" not in await house.ann.download_raw(message.content["file"]["url"])
        await house.ann.send_file(house.room, "back.txt", content, "text/plain")
        await house.bot.intake.wait_until(lambda: bool(house.bot.intake.entries[-1].attachments), "her file")
        (attachment,) = house.bot.intake.entries[-1].attachments
        assert b"".join([piece async for piece in surface.fetch(attachment)]) == content
        told = json.loads(attachment.ref)
        forged = replace(attachment, ref=json.dumps({**told, "sha256": "A" * 43}))
        whole = b"".join([piece async for piece in _until_refused(surface.fetch(forged))])
        assert len(whole) < len(content), "the end is kept back until all of it is known to be what was sent"


async def test_thumbnails_are_encrypted_too(house: House) -> None:
    """What a picture shows small is as secret as the picture."""
    into = BytesIO()
    Image.new("RGB", (1600, 1200), "red").save(into, "PNG")
    content = into.getvalue()
    file = a_file("red.png", len(content), mime="image/png", kind=FileKind.IMAGE, width=1600, height=1200)
    house.bot.files.put(file, content)
    async with house.bot.live() as surface:
        receipt = await surface.send(outbound(part=3, file=file, address=house.here))
        shown = await house.ann.see(house.room, "it", lambda one: one.event_id == receipt.remote_id and one.file)
        info = shown.content["info"]
        where = info["thumbnail_file"]["url"]
        small = await house.ann.download_raw(where)
        ref = reference_of(info["thumbnail_file"], where)
        assert ref is not None
        opened = [piece async for piece in surface.fetch(Attachment(ref=ref, name="thumbnail"))]
    assert Image.open(BytesIO(b"".join(opened))).size == (800, 600)
    assert "thumbnail_url" not in info
    assert len(small) == info["thumbnail_info"]["size"]
    with pytest.raises(UnidentifiedImageError):
        Image.open(BytesIO(small))


async def _until_refused(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces that come before a refusal, which has to come."""
    try:
        async for piece in pieces:
            yield piece
    except Rejected:
        return
    pytest.fail("the file was not refused")


async def test_nothing_went_in_the_clear(house: House) -> None:
    """Of all that was said so far the homeserver has ciphertext, and the bot's mark in the bot's part of it."""
    events = await raw(house)
    assert {event["type"] for event in events} == {"m.room.encrypted", "m.reaction"}
    mine = [event["content"] for event in events if event["sender"] == house.bot_id]
    assert len(mine) >= 5
    assert all(MARK in content and "body" not in content for content in mine)
    assert "secret" not in json.dumps(events)


async def test_what_she_says_unencrypted_is_passed_over(house: House) -> None:
    """The homeserver could have said it; a redaction of hers counts all the same."""
    house.bot.intake.entries.clear()
    async with house.bot.live():
        said = await house.ann.say(house.room, "mine")
        async with house.ann_plain.make() as other:
            await other._login()
            for number, text in enumerate(("!yes", "!verify yes")):
                path = quote("v3", "rooms", house.room, "send", "m.room.message", f"plain{number}")
                await other._client.call("PUT", path, {"msgtype": "m.text", "body": text})
        await house.ann.redact(house.room, said)
        await house.bot.intake.wait_until(lambda: house.bot.intake.entries[-1].kind is Kind.REDACTION, "all of it")
    found = [(entry.kind, entry.cause) for entry in house.bot.intake.entries]
    assert dict.fromkeys(found) == dict.fromkeys([(Kind.MESSAGE, ""), (Kind.GAP, "UNENCRYPTED"), (Kind.REDACTION, "")])


async def test_whose_words_do_not_count_is_told_so_once(house: House) -> None:
    """Where only verified people are listened to, nobody waits in vain: one notice says why, and so does the doctor."""
    await house.ann.discard_session(house.room)
    entries = house.bot.intake.entries
    entries.clear()

    def notices() -> list[tuple[str, str]]:
        return [(entry.cause, entry.text) for entry in entries if entry.kind is Kind.GAP]

    async with house.bot.live(trust="verified_only") as surface:
        event = await house.ann.say(house.room, "hello?")
        await house.bot.intake.wait_until(lambda: bool(notices()), "the notice")
        said = [line async for line in surface.report("doctor") if event in line]
        assert ["passed over" in line and house.ann.user_id in line for line in said] == [True]
        await house.ann.say(house.room, "is nobody there?")
        await house.ann.redact(house.room, await house.ann.say(house.room, "not for you"))
        await house.bot.intake.wait_until(lambda: entries[-1].kind is Kind.REDACTION, "all of it")
    assert set(notices()) == {("UNTRUSTED", words.UNTRUSTED.text)}
    assert len({entry.event_id for entry in entries if entry.kind is Kind.GAP}) == 1
    assert Kind.MESSAGE not in {entry.kind for entry in entries}
    async with house.bot.live():
        await house.ann.say(house.room, "and now?")
        await house.bot.intake.wait_until(lambda: entries[-1].text == "and now?", "who counts again")


async def test_a_key_that_never_comes_is_said_once(house: House) -> None:
    """What was encrypted for another login can't be read; one notice says so, and what comes later is read."""
    await house.ann.discard_session(house.room)
    await house.ann.say(house.room, "for the old one")
    await house.ann.say(house.room, "and this")
    house.bot.store.rows.pop("login")
    house.bot.intake.entries.clear()
    async with house.bot.live(decrypt_wait_s=0.5):
        await house.bot.intake.wait_until(
            lambda: [entry.kind for entry in house.bot.intake.entries] == [Kind.GAP], "the notice"
        )
        assert house.bot.intake.entries[0].cause == "UNDECRYPTABLE"
        await house.ann.see_device(house.bot_id, "its new device", lambda device: device.device_id == new_device(house))
        await house.ann.say(house.room, "for the new one")
        await house.bot.intake.wait_said(["for the new one"], "what she says later")
    assert [entry.kind for entry in house.bot.intake.entries] == [Kind.GAP, Kind.MESSAGE]


def new_device(house: House) -> str:
    """The bot's device now."""
    return str(json.loads(house.bot.store.rows["login"])["device_id"])
