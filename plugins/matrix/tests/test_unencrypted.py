"""What comes into an encrypted room without being encrypted: the homeserver could have written it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from surfaces_core import Address, CommandError, ConfigError, Inbound, Kind, Opening
from surfaces_matrix import words

from .conftest import ANN, ROOM, Bot, Stage, batch, message, outbound

MEGOLM = {
    "type": "m.room.encryption",
    "state_key": "",
    "sender": ANN,
    "event_id": "$e",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}
PLAIN = "!plain:hs"
"""Another room, which is not encrypted: what is said there shows that all before it was read."""


@pytest.fixture(autouse=True)
def rooms(stage: Stage) -> None:
    """One room of each kind."""
    stage.snapshot["rooms"]["join"] = {ROOM: {"state": {"events": [MEGOLM]}}, PLAIN: {}}


def reaction(event_id: str, key: str = "👍") -> dict[str, Any]:
    """A reaction, which clients never encrypt."""
    relation = {"rel_type": "m.annotation", "event_id": "$question", "key": key}
    return {**message(event_id, ""), "type": "m.reaction", "content": {"m.relates_to": relation}}


def edit(event_id: str, text: str) -> dict[str, Any]:
    """An edit of something."""
    content = {"msgtype": "m.text", "body": f"* {text}", "m.new_content": {"msgtype": "m.text", "body": text}}
    relation = {"rel_type": "m.replace", "event_id": "$said"}
    return {**message(event_id, ""), "content": {**content, "m.relates_to": relation}}


def redaction(event_id: str) -> dict[str, Any]:
    """A message is taken back."""
    return {**message(event_id, ""), "type": "m.room.redaction", "redacts": "$said", "content": {}}


async def taken(stage: Stage, bot: Bot, *events: Any) -> list[tuple[Kind, str]]:
    """Kinds and causes of what the host gets of these events in an encrypted room."""
    await stage.live(*(batch(f"s{number}", event) for number, event in enumerate(events, 1)))
    await stage.live(batch("end", message("$end", "the end"), room=PLAIN))
    await bot.intake.wait_said(["the end"], "what is said elsewhere")
    return [(entry.kind, entry.cause) for entry in bot.intake.entries[:-1]]


@pytest.mark.parametrize("trust", ["all", "tofu", "verified_only"])
@pytest.mark.parametrize("forged", [message("$f", "!verify yes"), message("$f", "!yes"), edit("$f", "pay him")])
async def test_plain_words_reach_nobody(stage: Stage, bot: Bot, trust: str, forged: dict[str, Any]):
    """Whatever the policy says of devices: there is none that said it."""
    async with bot.live(encryption=True, trust=trust):
        assert await taken(stage, bot, forged) == [(Kind.GAP, "UNENCRYPTED")]
    assert bot.intake.entries[0].text == words.UNENCRYPTED.text


async def test_it_is_said_once_in_a_room(stage: Stage, bot: Bot):
    """All that is passed over there has one name for the host, which takes it once."""
    async with bot.live(encryption=True):
        await taken(stage, bot, message("$1", "one"), message("$2", "two"), edit("$3", "three"))
    assert len({entry.event_id for entry in bot.intake.entries if entry.kind is Kind.GAP}) == 1


async def test_without_encryption_of_its_own_the_bot_reads_nothing_there(stage: Stage, bot: Bot):
    """What it could not answer is no question either."""
    async with bot.live(encryption=False):
        assert await taken(stage, bot, message("$1", "hello")) == [(Kind.GAP, "UNENCRYPTED")]


async def test_what_is_taken_back_is_gone(stage: Stage, bot: Bot):
    """Redactions are never encrypted: the homeserver carries them out itself."""
    async with bot.live(encryption=True, trust="verified_only"):
        assert await taken(stage, bot, redaction("$r")) == [(Kind.REDACTION, "")]


@pytest.mark.parametrize(
    ("trust", "verified", "counts"),
    [("all", True, True), ("tofu", False, True), ("tofu", True, False), ("verified_only", False, False)],
)
async def test_a_reaction_says_no_more_than_an_unknown_device(
    stage: Stage, bot: Bot, trust: str, verified: bool, counts: bool
):
    """Where the homeserver could add a device that speaks for somebody it gains nothing; elsewhere it would."""
    async with bot.live(encryption=True, trust=trust) as surface:
        machine = surface._encryption.machine
        assert machine is not None
        if verified:
            await machine.set_trust(ANN, "master", "master", True)
        found = await taken(stage, bot, reaction("$r"))
    assert found == ([(Kind.REACTION, "")] if counts else [(Kind.GAP, "UNENCRYPTED")])
    assert counts or bot.intake.entries[0].text == words.UNENCRYPTED_REACTION.text


async def test_a_forged_message_is_not_quoted(stage: Stage, bot: Bot):
    """What a reply replies to is fetched from the homeserver, which could have written it."""
    reply = message("$reply", "what?")
    reply["content"]["m.relates_to"] = {"m.in_reply_to": {"event_id": "$old"}}
    await stage.then("/event/%24old", message("$old", "forged"), message("$old", "said"))
    async with bot.live(encryption=True) as surface:
        quotes = surface._sync.quotes
        for room, words_there in ((ROOM, ""), (PLAIN, "said")):
            address = Address(surface="work", conversation=room)
            entry = Inbound(address=address, event_id="$reply", sender=ANN, sent_at=1.0, text="what?")
            quotes.heard(entry, reply)
            (filled,) = await quotes.filled([entry])
            assert filled.quote == words_there


async def test_a_new_room_is_encrypted_whatever_the_homeserver_makes_of_it(stage: Stage, bot: Bot):
    """It drops the room's encryption, says that there is none, and shows none in a later life: nothing goes plain."""
    made = Address(surface="work", conversation="!made:hs")
    settings: dict[str, Any] = {"encryption": True, "encrypt_new_rooms": True}
    await stage.then("createRoom", {"room_id": "!space:hs"}, {"room_id": made.conversation})
    await stage.then("made%3Ahs/members", {"chunk": []}, {"chunk": []})
    opening = Opening(
        key="k",
        surface="work",
        owner=ANN,
        owner_name="Ann",
        number=1,
        name="C1",
        agent="17",
        context="42",
        created_at=1.0,
    )
    async with bot.live(**settings) as surface:
        assert await surface.conversations.open(opening) == made
        await surface.send(outbound("a secret", address=made))
    stage.snapshot["rooms"]["join"] = {made.conversation: {}, PLAIN: {}}
    async with bot.live(**settings) as surface:
        await surface.send(outbound("another", part=1, address=made))
        await stage.live(batch("s1", message("$f", "forged"), room=made.conversation))
        assert await taken(stage, bot) == [(Kind.GAP, "UNENCRYPTED")]
    space, room = (sent.body["initial_state"] for sent in stage.sent("createRoom"))
    assert [MEGOLM["content"]] == [event["content"] for event in room if event["type"] == "m.room.encryption"]
    assert not any(event["type"] == "m.room.encryption" for event in space)
    assert (stage.count("/send/m.room.encrypted/"), stage.count("/send/m.room.message/")) == (2, 0)


@pytest.mark.parametrize("name", ["encryption", "encrypt_new_rooms"])
def test_without_the_extra_its_settings_are_refused(bot: Bot, monkeypatch: pytest.MonkeyPatch, name: str):
    """In one line that says what to install; nobody believes in an encryption that is not there."""
    monkeypatch.setitem(sys.modules, "vodozemac", None)
    with pytest.raises(ConfigError) as caught:
        bot.make(**{"encryption": None, name: True})
    assert str(caught.value) == f"surfaces.work.{name}: needs the extra: pip install 'surfaces-matrix[e2ee]'"


def test_new_rooms_cannot_be_encrypted_by_a_bot_that_may_not(bot: Bot):
    """The two settings contradict each other."""
    with pytest.raises(ConfigError, match=r"encrypt_new_rooms: needs `encryption`"):
        bot.make(encryption=False, encrypt_new_rooms=True)


@pytest.mark.parametrize(("args", "answer"), [((), "not encrypted"), (("yes",), "not encrypted"), (("no",), "begins")])
async def test_nobody_is_verified_in_the_clear(stage: Stage, bot: Bot, args: tuple[str, ...], answer: str):
    """Where only verified people count, the homeserver must not be able to say that pictures match."""
    async with bot.live(encryption=True, trust="verified_only") as surface:
        (command,) = surface.commands()
        address = Address(surface="work", conversation=PLAIN)
        said = Inbound(address=address, event_id="$v", sender=ANN, sent_at=1.0, text="!verify")
        call: Any = SimpleNamespace(args=args, message=said)
        with pytest.raises(CommandError, match=answer):
            await command.handler(call)
