"""The client of another family, against the real homeserver: two of them talk, verify each other and recover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from surfaces_demo.synapse import Account, Synapse
from surfaces_testing.js_client import JsClient, JsMessage, NotSeen, Refused

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("js_client")]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two people with a client each, in one encrypted room."""

    homeserver: str
    account: Account
    """The first one's."""
    jane: JsClient
    june: JsClient
    room: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(synapse: Synapse) -> AsyncIterator[Pair]:
    """Made once: starting clients takes seconds."""
    jane, june = await synapse.register("js_jane"), await synapse.register("js_june")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(JsClient(synapse.url, jane.user_id, jane.password))
        second = await stack.enter_async_context(JsClient(synapse.url, june.user_id, june.password))
        room = await first.create_room(
            invite=[second.user_id], encrypted=True, name="Two", options={"preset": "private_chat"}
        )
        await second.see_invitation()
        await second.join(room)
        await first.see_joined(room, second.user_id)
        yield Pair(homeserver=synapse.url, account=jane, jane=first, june=second, room=room)


async def test_they_read_each_other(pair: Pair) -> None:
    """What one says in the encrypted room shows decrypted at the other, edits and relations included."""
    first = await pair.jane.say(pair.room, "first")
    seen = await pair.june.see_text(pair.room, pair.jane.user_id, "first")
    assert seen.encrypted
    await pair.jane.edit(pair.room, first, "second")
    reply = await pair.june.reply(pair.room, first, "a reply")
    await pair.june.react(pair.room, first, "👍")
    await pair.june.say_in_thread(pair.room, first, "in a thread")
    message = await pair.jane.see(pair.room, "the reaction", lambda known: bool(known.reactions))
    assert [(reaction.key, reaction.sender) for reaction in message.reactions] == [("👍", pair.june.user_id)]
    assert message.versions == ("first", "second")
    threaded = await pair.jane.see_text(pair.room, pair.june.user_id, "in a thread")
    assert threaded.thread == first
    assert (await pair.jane.see_text(pair.room, pair.june.user_id, "a reply")).reply_to == first
    await pair.june.redact(pair.room, reply)
    await pair.jane.see(pair.room, "the redaction", lambda known: known.event_id == reply and known.redacted)


async def test_files_are_encrypted(pair: Pair) -> None:
    """A file of an encrypted room lies unreadable on the homeserver and comes out as it went in."""
    sent = await pair.jane.send_file(pair.room, "a.txt", b"very secret", "text/plain")
    message = await pair.june.see(pair.room, "the file", lambda known: known.event_id == sent and known.file)
    assert "url" not in message.content
    assert await pair.june.download(pair.room, sent) == b"very secret"
    assert b"secret" not in await pair.june.download_raw(message.content["file"]["url"])


async def test_voice_and_polls_have_their_form(pair: Pair) -> None:
    """Voice messages and polls are sent in the form of today's clients."""
    voice = await pair.jane.send_voice(pair.room, b"OggS", 1500)
    poll = await pair.jane.send_poll(pair.room, "Tea or coffee?", ["tea", "coffee"])
    heard = await pair.june.see(pair.room, "the voice message", lambda known: known.event_id == voice)
    assert "org.matrix.msc3245.voice" in heard.content
    asked = await pair.june.see(pair.room, "the poll", lambda known: known.event_id == poll)
    assert asked.type == "org.matrix.msc3381.poll.start"


async def test_typing_and_reading_show(pair: Pair) -> None:
    """One sees that the other types, and how far they have read."""
    sent = await pair.jane.say(pair.room, "read me")
    await pair.june.see_text(pair.room, pair.jane.user_id, "read me")
    await pair.june.read(pair.room, sent)
    await pair.jane.see_reader(pair.room, sent, pair.june.user_id)
    await pair.june.set_typing(pair.room)
    await pair.jane.see_typing(pair.room, pair.june.user_id)
    await pair.june.set_typing(pair.room, False)
    await pair.jane.see_typing(pair.room, pair.june.user_id, False)


async def test_emoji_verification(pair: Pair) -> None:
    """Two people compare emoji in their room; from then on each trusts the other's signed device."""
    for client in (pair.jane, pair.june):
        await client.bootstrap_cross_signing()
    assert (await pair.jane.own_trust()).cross_signing_ready
    assert not (await pair.june.user_trust(pair.jane.user_id)).verified
    await verify(pair.jane, pair.june, room=pair.room)
    await pair.june.see_user_verified(pair.jane.user_id)
    device = await pair.june.see_device(pair.jane.user_id, "a trusted device", lambda device: device.verified)
    assert (device.device_id, device.signed_by_owner) == (pair.jane.device_id, True)
    await pair.jane.say(pair.room, "trusted")
    assert (await pair.june.see_text(pair.room, pair.jane.user_id, "trusted")).shield == "none"


async def test_a_broken_off_verification_shows(pair: Pair) -> None:
    """A verification that is sent to a device and declined shows as cancelled on both sides."""
    name = await pair.june.request_verification(user=pair.jane.user_id, device=pair.jane.device_id)
    asked = await pair.jane.see_verification(
        "the request", lambda known: known.phase == "requested" and known.room is None
    )
    await pair.jane.cancel_verification(asked.name)
    await pair.june.see_phase(name, "cancelled")


async def test_a_new_device_recovers(pair: Pair) -> None:
    """With the recovery key a new device is signed by its owner and reads what was said before it existed."""
    sent = await pair.june.say(pair.room, "from before")
    await pair.jane.see(pair.room, "the message", lambda known: known.event_id == sent and known.text != "")
    recovery_key = await pair.jane.bootstrap_secret_storage()
    await pair.jane.see_backed_up()
    async with JsClient(pair.homeserver, pair.account.user_id, pair.account.password) as other:
        await other.see(pair.room, "the message", lambda known: known.event_id == sent)
        restored = await other.recover(recovery_key)
        assert restored.imported == restored.total > 0
        assert (await other.own_trust()).cross_signing_ready

        def readable(known: JsMessage) -> bool:
            return known.event_id == sent and known.text == "from before"

        await other.see(pair.room, "the message in clear", readable)
        await pair.jane.see_device(
            pair.account.user_id,
            "the new device, signed",
            lambda device: device.device_id == other.device_id and device.signed_by_owner,
        )


async def test_what_fails_is_said(pair: Pair) -> None:
    """A refusal carries the homeserver's code; what does not show is named."""
    with pytest.raises(Refused) as refused:
        await pair.june.set_state(pair.room, "m.room.name", {"name": "Mine"})
    assert refused.value.code == "M_FORBIDDEN"
    with pytest.raises(NotSeen, match="a unicorn"):
        await pair.june.see(pair.room, "a unicorn", lambda known: "unicorn" in known.text, within_s=0.1)
    assert {verb for verb, _ in pair.june.timings} >= {"login", "start", "set_state"}


async def verify(asking: JsClient, asked: JsClient, *, room: str) -> None:
    """Both sides go through the emoji and confirm."""
    mine = await asking.request_verification(user=asked.user_id, room=room)
    request = await asked.see_verification("the request", lambda known: known.phase == "requested" and not known.own)
    await asked.accept_verification(request.name)
    await asking.see_phase(mine, "ready")
    await asking.start_sas(mine)
    await asked.see_phase(request.name, "started")
    await asked.start_sas(request.name)
    assert await asking.see_emoji(mine) == await asked.see_emoji(request.name)
    await asking.confirm_sas(mine)
    await asked.confirm_sas(request.name)
    for client, name in ((asking, mine), (asked, request.name)):
        await client.see_phase(name, "done")
