"""Machines that encrypt for each other, over a homeserver in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from vodozemac import MegolmMessage

from surfaces_core import ConfigError, StateError
from surfaces_matrix.e2ee.crosskeys import CrossSigning
from surfaces_matrix.e2ee.device import Device, Trust
from surfaces_matrix.e2ee.olm import Opened, Undecryptable
from surfaces_matrix.references import Reference

from .keyserver import KeyServer, Party

ROOM = "!room:hs"
ANN, BOT, EVE = "@ann:hs", "@bot:hs", "@eve:hs"


@pytest.fixture
def server() -> KeyServer:
    """A homeserver with Ann and the bot in one room."""
    server = KeyServer()
    server.members[ROOM] = [ANN, BOT]
    return server


@pytest.fixture
async def ann(server: KeyServer) -> Party:
    """Ann's device."""
    party = Party(server, ANN)
    await party.start()
    return party


@pytest.fixture
async def bot(server: KeyServer) -> Party:
    """The bot's."""
    party = Party(server, BOT)
    await party.start()
    return party


async def body_of(party: Party, event: Mapping[str, Any]) -> str:
    """What an event says to somebody."""
    return str((await party.machine.decrypt(ROOM, event))["content"]["body"])


async def unreadable(party: Party, event: Mapping[str, Any]) -> str:
    """Why an event says nothing to somebody."""
    with pytest.raises(Undecryptable) as caught:
        await party.machine.decrypt(ROOM, event)
    return caught.value.code


async def test_they_understand_each_other(ann: Party, bot: Party):
    """The key goes out once, then both ways, and over a restart of one side."""
    first, second = await ann.say(ROOM, "one"), await ann.say(ROOM, "two", 2)
    await bot.sync()
    assert [await body_of(bot, event) for event in (first, second)] == ["one", "two"]
    await bot.machine.keep.flush()
    await bot.start()
    answer, third = await bot.say(ROOM, "three"), await ann.say(ROOM, "four", 3)
    await ann.sync()
    assert (await body_of(ann, answer), await body_of(bot, third)) == ("three", "four")
    assert (await body_of(bot, answer)) == "three", "one's own words can be read"


async def test_what_is_said_leaves_no_trace_outside(ann: Party, bot: Party):
    """Nothing of it is readable beside the ciphertext but the relation."""
    content = {"msgtype": "m.text", "body": "a secret", "m.relates_to": {"rel_type": "m.thread", "event_id": "$1"}}
    sealed = await ann.machine.seal(ROOM, {}, "m.room.message", content, timeout_s=5)
    assert "secret" not in str(sealed)
    assert sealed["m.relates_to"] == content["m.relates_to"]
    await bot.sync()
    event = {"type": "m.room.encrypted", "sender": ANN, "event_id": "$2", "content": sealed}
    assert (await bot.machine.decrypt(ROOM, event))["content"] == content


async def test_a_response_that_comes_again_does_no_harm(ann: Party, bot: Party, server: KeyServer):
    """Nor after a crash in between: what was taken is known again, and nobody is asked for a new session."""
    event = await ann.say(ROOM, "one")
    waiting = copy.deepcopy(server.inboxes[BOT, "DEV"])
    await bot.sync(repeat=2)
    await bot.start()
    await bot.sync(*waiting)
    assert await body_of(bot, event) == "one"
    assert not bot.machine._upkeep._wedged


async def test_a_crash_before_anything_is_kept_loses_nothing(ann: Party, bot: Party, server: KeyServer):
    """The key, the session and the one-time key that it used up are kept together."""
    event = await ann.say(ROOM, "one")
    waiting = copy.deepcopy(server.inboxes[BOT, "DEV"])
    bot.store.full = True
    with pytest.raises(StateError):
        await bot.sync()
    bot.store.full = False
    await bot.start()
    await bot.sync(*waiting)
    assert await body_of(bot, event) == "one"


async def test_only_its_maker_gives_a_key_that_is_waited_for(ann: Party, bot: Party):
    """What a person's own device sends once more is taken, for messages that wait; nobody else's word counts."""
    event = await ann.say(ROOM, "hello")
    bot.server.inboxes.clear()
    (known,) = [await ann.machine.export_session(*one) for one in await ann.machine.sessions()]
    assert known is not None
    maker = {"sender": ANN, "curve25519": ann.machine.curve25519, "ed25519": ann.machine.ed25519}
    claimed = {**known, "sender_claimed_ed25519_key": ann.machine.ed25519}

    async def given(content: Mapping[str, Any], **by: Any) -> None:
        opened = Opened(type="m.forwarded_room_key", content=content, device_keys={}, **{**maker, **by})
        await bot.machine._take_forwarded(opened, None)

    await given(claimed)
    assert await unreadable(bot, event) == "NO_KEY", "nobody waited for it"
    assert await bot.machine.read(ROOM, event, hold=True) is None
    await given(claimed, sender=EVE)
    await given(claimed, curve25519=bot.machine.curve25519)
    await given({**claimed, "sender_key": bot.machine.curve25519})
    assert await unreadable(bot, event) == "NO_KEY"
    await given(claimed)
    assert await body_of(bot, event) == "hello"


async def test_an_index_belongs_to_one_event(ann: Party, bot: Party):
    """For ever: a repeat of an event is the same event, its copy under another id is a replay."""
    event = await ann.say(ROOM, "pay Eve")
    await bot.sync()
    await body_of(bot, event)
    await bot.machine.keep.flush()
    await bot.start()
    assert await body_of(bot, event) == "pay Eve"
    assert await unreadable(bot, {**event, "event_id": "$again"}) == "REPLAYED"


async def test_nobody_speaks_for_another(ann: Party, bot: Party):
    """Whose session it is says who spoke, whatever the homeserver says."""
    event = await ann.say(ROOM, "hello")
    await bot.sync()
    assert await unreadable(bot, {**event, "sender": EVE}) == "FORGED"
    with pytest.raises(Undecryptable, match="NO_KEY"):
        await bot.machine.decrypt("!other:hs", event)


async def test_who_left_can_read_no_more(ann: Party, bot: Party, server: KeyServer):
    """Somebody's going, and a device's, begin a new session."""
    before = (await bot.say(ROOM, "one"))["content"]["session_id"]
    second = Party(server, ANN, "TAB")
    await second.start()
    await bot.sync(device_lists={"changed": [ANN]})
    same = await bot.say(ROOM, "two", 2)
    await second.sync()
    assert (same["content"]["session_id"], await body_of(second, same)) == (before, "two")
    del server.devices[ANN]["TAB"]
    await bot.sync(device_lists={"changed": [ANN]})
    third = await bot.say(ROOM, "three", 3)
    await second.sync()
    assert await unreadable(second, third) == "NO_KEY"
    await ann.sync()
    assert await body_of(ann, third) == "three"


async def test_a_session_is_used_up(ann: Party, bot: Party):
    """After as many events as the room says, within bounds."""
    rules = {"rotation_period_msgs": 2}
    used = []
    for _ in range(4):
        sealed = await bot.machine.seal(ROOM, rules, "m.room.message", {"body": "x"}, timeout_s=5)
        used.append(sealed["session_id"])
    assert [used.index(session) for session in used] == [0, 0, 2, 2]


async def test_no_index_is_used_twice(ann: Party, bot: Party):
    """Not by later lives, nor by one on a restored copy of the state: each begins its own sessions."""
    said = [await bot.say(ROOM, "one", 1), await bot.say(ROOM, "two", 2)]
    earlier = dict(bot.store.rows)
    for number in (3, 4):
        await bot.start()
        said.append(await bot.say(ROOM, "later", number))
    bot.store.rows = earlier
    await bot.start()
    said += [await bot.say(ROOM, "restored", number) for number in (5, 6)]
    sessions = [event["content"]["session_id"] for event in said]
    indexes = [MegolmMessage.from_base64(event["content"]["ciphertext"]).message_index() for event in said]
    assert [sessions.index(session) for session in sessions] == [0, 0, 2, 3, 4, 4]
    assert indexes == [0, 1, 0, 0, 0, 1]
    await ann.sync()
    assert [await body_of(ann, event) for event in said[:4]] == ["one", "two", "later", "later"]


async def test_who_could_not_read_a_restored_bot_can_again(ann: Party, bot: Party):
    """Its old sessions with devices are worn; a device that notices begins anew, and gets the room's key once more."""
    await bot.say(ROOM, "one", 1)
    earlier = dict(bot.store.rows)
    await bot.start()
    await bot.say(ROOM, "two", 2)
    await ann.sync()
    bot.store.rows = earlier
    await bot.start()
    lost = await bot.say(ROOM, "restored", 3)
    await ann.sync()
    assert await unreadable(ann, lost) == "NO_KEY"
    await ann.machine._upkeep._unwedge()
    await bot.sync()
    found = await bot.say(ROOM, "found again", 4)
    await ann.sync()
    assert await body_of(ann, found) == "found again"


async def test_one_time_keys_are_refilled(bot: Party, server: KeyServer):
    """At 0, too, and when the homeserver does not count."""
    counts: dict[str, Any]
    for counts in ({"device_one_time_keys_count": {}}, {"device_one_time_keys_count": {"signed_curve25519": 0}}):
        server.one_time_keys[BOT, "DEV"].clear()
        await bot.sync(**counts)
        await bot.machine._upkeep._publish()
        assert len(server.one_time_keys[BOT, "DEV"]) == 25


async def test_a_wedged_session_is_made_anew_once(ann: Party, bot: Party, server: KeyServer):
    """Whose messages can't be read gets a new session, but not for each of them."""
    await ann.say(ROOM, "one")
    await bot.sync()
    lost = {"type": 1, "body": "A" * 100}
    for number in range(3):
        content = {
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": ann.machine.curve25519,
            "ciphertext": {bot.machine.curve25519: lost},
            "n": number,
        }
        await bot.sync({"type": "m.room.encrypted", "sender": ANN, "content": content})
        await bot.machine._upkeep._unwedge()
    assert [event["type"] for event in server.inboxes[ANN, "DEV"]] == ["m.room.encrypted"]
    await ann.sync()


OLM = "m.olm.v1.curve25519-aes-sha2"
RUBBISH: list[Any] = [
    None,
    7,
    "x",
    [],
    {},
    {"type": 5, "sender": ANN},
    {"type": "m.room.encrypted", "sender": ANN},
    {"type": "m.room.encrypted", "sender": ANN, "content": {"algorithm": OLM, "sender_key": 5, "ciphertext": []}},
    {"type": "m.room.encrypted", "sender": 5, "content": {"algorithm": OLM}},
    {"type": "m.room_key", "sender": ANN, "content": {"algorithm": "m.megolm.v1.aes-sha2", "session_key": "x"}},
    {"type": "m.room_key.withheld", "sender": ANN, "content": {"code": 5, "room_id": [], "session_id": {}}},
    {"type": "m.room_key.withheld", "sender": ANN, "content": {"code": "m.no_olm", "sender_key": "/../"}},
    {"type": "m.forwarded_room_key", "sender": BOT, "content": {"session_key": "x"}},
    {"type": "m.room_key_request", "sender": ANN, "content": {"action": "request", "body": 1}},
    {"type": "x", "sender": ANN, "content": {"f": 1e400}},
]


async def test_whatever_comes_ends_nothing(ann: Party, bot: Party):
    """Rubbish, wrong types, unknown one-time keys; what comes behind it is read."""
    for kind in (0, 1, 2, "0", None):
        for text in ("", "!", "AAAA", "A" * 200, 5, None):
            body: dict[str, Any] = {"algorithm": OLM, "sender_key": ann.machine.curve25519}
            body["ciphertext"] = {bot.machine.curve25519: {"type": kind, "body": text}}
            await bot.sync({"type": "m.room.encrypted", "sender": ANN, "content": body})
    event = await ann.say(ROOM, "hello")
    (first,) = [one for one in bot.server.inboxes[BOT, "DEV"] if one["type"] == "m.room.encrypted"]
    stranger = Party(bot.server, EVE)
    await stranger.start()
    misdirected = copy.deepcopy(first)
    misdirected["content"]["ciphertext"] = {stranger.machine.curve25519: dict(*first["content"]["ciphertext"].values())}
    await stranger.sync(misdirected, *RUBBISH)
    await bot.sync(*RUBBISH)
    lists: Any
    for lists in (None, [], {"changed": 5}, {"changed": [None, 5, ANN]}):
        await bot.sync(device_lists=lists, device_one_time_keys_count=lists)
    assert await body_of(bot, event) == "hello"


async def test_a_handler_with_a_bug_is_not_the_end(ann: Party, bot: Party):
    """Its message is passed over."""

    async def broken(*_: Any) -> None:
        raise KeyError("bug")

    seen: list[tuple[str, Device | None]] = []

    async def good(sender: str, _: Mapping[str, Any], device: Device | None) -> None:
        seen.append((sender, device))

    for handler in (broken, good):
        bot.machine.on_to_device("m.x", handler)
    await ann.machine.send_to_device("m.x", {BOT: {"DEV": {"a": 1}}}, encrypted=True)
    await ann.machine.send_to_device("m.x", {BOT: {"*": {"a": 1}}}, encrypted=False)
    await bot.sync()
    (first, device), (second, nobody) = seen
    assert (first, second, nobody) == (ANN, ANN, None)
    assert device is not None
    assert device.ed25519 == ann.machine.ed25519


async def test_late_keys_open_what_was_held(ann: Party, bot: Party):
    """Over a restart, in order, and each once the host has it no more."""
    events = [await ann.say(ROOM, "one"), await ann.say(ROOM, "two", 2)]
    for event in events:
        assert await bot.machine.read(ROOM, event, hold=True) is None
    await bot.machine.keep.flush()
    assert not await bot.machine.readable()
    await bot.start()
    await bot.sync()
    for _ in range(2):
        late = await bot.machine.readable()
        assert [event["content"]["body"] for _, event in late] == ["one", "two"]
    await bot.machine.settle()
    await bot.start()
    assert not await bot.machine.readable()


async def test_what_was_taken_back_is_not_waited_for(ann: Party, bot: Party):
    """A late key does not bring back a message that was redacted meanwhile."""
    first, second = await ann.say(ROOM, "one"), await ann.say(ROOM, "two", 2)
    for event in (first, second):
        await bot.machine.read(ROOM, event, hold=True)
    bot.machine.taken_back(ROOM, first["event_id"])
    bot.machine.taken_back("!other:hs", second["event_id"])
    await bot.sync()
    assert [event["event_id"] for _, event in await bot.machine.readable()] == [second["event_id"]]


async def test_a_missing_key_is_asked_for_once(ann: Party, bot: Party, server: KeyServer):
    """And given up after its time."""
    event = await ann.say(ROOM, "one")
    again = await ann.say(ROOM, "two", 2)
    for one in (event, again):
        await bot.machine.read(ROOM, one, hold=True)
    for _ in range(2):
        assert not bot.machine.given_up(300, 0)
        await bot.machine._upkeep._request()
    assert [one["type"] for one in server.inboxes[ANN, "DEV"]] == ["m.room_key_request"]
    assert [held.event_id for held in bot.machine.given_up(0, 0)] == [event["event_id"], again["event_id"]]
    await bot.machine.settle()
    assert not bot.machine.given_up(0, 0)


async def test_a_device_keeps_its_keys(ann: Party, bot: Party, server: KeyServer):
    """Others under its name, and unsigned ones, are nobody's."""
    known = (await bot.machine.devices(ANN))["DEV"]
    other = Party(server, ANN)
    await other.start()
    mine = server.devices[ANN]["DEV"]
    keys = {name.replace("DEV", "FAKE"): key for name, key in mine["keys"].items()}
    signatures = {ANN: {"ed25519:FAKE": mine["signatures"][ANN]["ed25519:DEV"]}}
    server.devices[ANN]["FAKE"] = {**mine, "device_id": "FAKE", "keys": keys, "signatures": signatures}
    for _ in range(2):
        await bot.sync(device_lists={"changed": [ANN]})
        devices = await bot.machine.devices(ANN)
        assert {name: device.ed25519 for name, device in devices.items()} == {"DEV": known.ed25519}
    assert known.ed25519 == ann.machine.ed25519 != other.machine.ed25519


@pytest.mark.parametrize(("policy", "reads"), [("tofu", True), ("all", True), ("verified_only", False)])
async def test_the_policy_says_who_gets_keys(ann: Party, server: KeyServer, policy: str, reads: bool):
    """The others are told why; who is verified gets them."""
    bot = Party(server, BOT, trust=policy)
    await bot.start()
    event = await bot.say(ROOM, "one")
    kinds = [one["type"] for one in server.inboxes[ANN, "DEV"]]
    assert kinds == (["m.room.encrypted"] if reads else ["m.room_key.withheld"])
    await bot.machine.set_trust(ANN, "DEV", ann.machine.ed25519, True)
    assert (await bot.machine.devices(ANN))["DEV"].trust is Trust.VERIFIED
    event = await bot.say(ROOM, "two", 2)
    await ann.sync()
    assert await body_of(ann, event) == "two"


async def test_a_new_device_begins_anew(ann: Party, bot: Party, server: KeyServer):
    """A new login makes new keys; what was read before can still be read."""
    event = await ann.say(ROOM, "one")
    await bot.sync()
    before = bot.machine.curve25519
    bot.device_id = "NEW"
    await bot.start()
    assert bot.machine.curve25519 != before
    assert await body_of(bot, event) == "one"
    await ann.sync(device_lists={"changed": [BOT]})
    later = await ann.say(ROOM, "two", 2)
    await bot.sync()
    assert await body_of(bot, later) == "two"


async def test_a_wrong_pickle_key_is_a_wrong_setting(server: KeyServer):
    """It names the setting."""
    bot = Party(server, BOT, secret="one", where="surfaces.work.pickle_key")
    await bot.start()
    bot.options["secret"] = "two"
    with pytest.raises(ConfigError, match="pickle_key"):
        await bot.start()


async def test_sessions_travel(ann: Party, bot: Party, server: KeyServer):
    """In the format of exports; what somebody else made of it is not taken."""
    event = await ann.say(ROOM, "one")
    ((room_id, session_id),) = await ann.machine.sessions()
    exported = await ann.machine.export_session(room_id, session_id)
    assert exported is not None
    second = Party(server, BOT, "NEW")
    await second.start()
    bad = [{}, {**exported, "session_key": "x"}, {**exported, "session_id": "y" * 43}, {**exported, "room_id": 5}]
    assert await second.machine.import_sessions(bad, "backup") == 0
    assert await second.machine.import_sessions([exported, exported], "backup") == 1
    assert await body_of(second, event) == "one"
    assert await second.machine.export_session(room_id, session_id) == exported


async def test_a_copy_that_comes_first_takes_nothing_from_the_event(ann: Party, bot: Party):
    """What its bearer could not have said is not taken for the first of its index."""
    event = await ann.say(ROOM, "hello")
    await bot.sync()
    assert await unreadable(bot, {**event, "sender": EVE, "event_id": "$copy"}) == "FORGED"
    assert await body_of(bot, event) == "hello"


@pytest.mark.parametrize("type_", ["m.room.redaction", "m.room.encrypted"])
async def test_some_things_are_never_inside(ann: Party, bot: Party, type_: str):
    """Who may take back what the homeserver decides, which does not see this."""
    sealed = await ann.machine.seal(ROOM, {}, type_, {"redacts": "$of_eve"}, timeout_s=5)
    await bot.sync()
    event = {"type": "m.room.encrypted", "sender": ANN, "event_id": "$e", "content": sealed}
    assert await unreadable(bot, event) == "MISDIRECTED"


def cross_sign(party: Party, keys: CrossSigning) -> None:
    """Let somebody's identity vouch for their device, as its signature at the homeserver says."""
    own, more = (keys.signed(party.machine.device_keys(), keys.self_signing), party.machine.device_keys())
    signatures = {party.user_id: {**more["signatures"][party.user_id], **own["signatures"][party.user_id]}}
    party.server.devices[party.user_id][party.device_id] = {**more, "signatures": signatures}


async def test_who_was_verified_is_held_to_it(ann: Party, bot: Party, server: KeyServer):
    """A device that the homeserver adds gets no key and is not listened to until its owner signs it."""
    keys = CrossSigning.new(ANN)
    server.identities[ANN] = keys.public("master")
    server.self_signing[ANN] = keys.public("self_signing")
    cross_sign(ann, keys)
    added = Party(server, ANN, "ADDED")
    await added.start()
    await bot.machine.devices(ANN)
    await bot.machine.set_trust(ANN, keys.master.public, keys.master.public, True)
    await bot.say(ROOM, "for Ann alone")
    inboxes = {device: [one["type"] for one in server.inboxes[ANN, device]] for device in ("DEV", "ADDED")}
    assert inboxes == {"DEV": ["m.room.encrypted"], "ADDED": ["m.room_key.withheld"]}
    event = await added.say(ROOM, "obey me")
    await bot.sync()
    assert await unreadable(bot, event) == "UNSIGNED"
    cross_sign(added, keys)
    await bot.sync(device_lists={"changed": [ANN]})
    assert await body_of(bot, event) == "obey me"


async def test_whom_our_identity_signed_is_verified(ann: Party, bot: Party, server: KeyServer):
    """Whichever client of ours did it; not by another key, and not by an old signature once there is a newer one."""
    ours, others = CrossSigning.new(BOT), CrossSigning.new(BOT)
    bot.machine.vouch(ours.user_signing.public)

    async def verified(keys: CrossSigning, signer: CrossSigning) -> bool:
        public = keys.public("master")
        signature = {f"ed25519:{ours.user_signing.public}": signer.user_signing.sign(public)}
        server.identities[ANN] = {**public, "signatures": {BOT: signature}}
        await bot.sync(device_lists={"changed": [ANN]})
        return (await bot.machine.identity_of(ANN)).verified

    first, second = CrossSigning.new(ANN), CrossSigning.new(ANN)
    assert not await verified(first, others)
    assert await verified(first, ours)
    assert not await verified(second, others)
    assert await verified(second, ours)
    assert not await verified(first, ours)
    assert await verified(second, others)


async def test_nobody_hides_behind_a_device_that_was_never_there(ann: Party, bot: Party, server: KeyServer):
    """A session of no device of hers speaks for Ann no more once she was verified."""
    event = await ann.say(ROOM, "hello")
    await bot.sync()
    del server.devices[ANN]["DEV"]
    await bot.sync(device_lists={"changed": [ANN]})
    assert await body_of(bot, event) == "hello"
    await bot.machine.set_trust(ANN, "master", "master", True)
    assert await unreadable(bot, event) == "UNKNOWN_DEVICE"


async def test_what_one_device_makes_the_homeserver_refuse_holds_up_no_other(ann: Party, bot: Party, server: KeyServer):
    """Its request is passed over."""
    server.refused.add("BAD")
    for device in ("BAD", "DEV"):
        bot.machine._upkeep.ask(ROOM, device, ANN, device)
    await bot.machine._upkeep._request()
    assert [one["type"] for one in server.inboxes[ANN, "DEV"]] == ["m.room_key_request"]


def test_no_secret_shows_by_accident():
    """Nor in a traceback with values."""
    keys = CrossSigning.new(ANN)
    reference = Reference(uri="mxc://hs/a", key=b"k" * 32, iv=b"i" * 16, sha256=b"s" * 32)
    assert repr(keys.master.seed) not in repr(keys)
    assert "kkk" not in repr(reference)


async def test_keys_of_strangers_are_not_kept(server: KeyServer):
    """Whoever may not talk to the bot could fill its disk with them."""
    server.members[ROOM] = [ANN, EVE, BOT]
    bot = Party(server, BOT, allowed=lambda person: person == ANN)
    await bot.start()
    for person in (ANN, EVE):
        party = Party(server, person)
        await party.start()
        await party.say(ROOM, "hello")
    await bot.sync()
    assert len(await bot.machine.sessions()) == 1


async def test_keys_that_nobody_has_are_not_remembered(bot: Party):
    """A stranger can name any number of them."""
    for number in range(20):
        body: dict[str, Any] = {"algorithm": OLM, "sender_key": f"key{number}"}
        body["ciphertext"] = {bot.machine.curve25519: {"type": 1, "body": "AAAA"}}
        await bot.sync({"type": "m.room.encrypted", "sender": EVE, "content": body})
    assert not bot.machine._olm._sessions


async def test_nothing_waits_for_telling_why_there_is_no_key(ann: Party, server: KeyServer):
    """Whoever gets none cannot keep the others from theirs."""
    bot = Party(server, BOT, trust="verified_only")
    await bot.start()
    other = Party(server, ANN, "OTHER")
    await other.start()
    server.refused.add("OTHER")
    await bot.machine.devices(ANN)
    await bot.machine.set_trust(ANN, "DEV", ann.machine.ed25519, True)
    event = await bot.say(ROOM, "hello")
    await ann.sync()
    assert await body_of(ann, event) == "hello"
