"""Encrypted rooms where encryption is off or not installed: nothing that the bot would say leaves for one."""

from __future__ import annotations

from typing import Any

import pytest

from surfaces_core import Address, Rejected, Unavailable
from surfaces_matrix.errors import Encrypted

from .conftest import ANN, ME, ROOM, Bot, Stage, Workspace, a_file, batch, draft, message, outbound

ASK = "GET /_matrix/client/v3/rooms/%21room%3Ahs/state/m.room.encryption"
NEW = Address(surface="work", conversation="!new:hs")
ASK_NEW = ASK.replace("room%3A", "new%3A")
SENDS = ("/send/", "/upload")
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "sender": "@ann:hs", "content": {"algorithm": "m.x"}}


def said(stage: Stage) -> int:
    """How many requests carried words or files."""
    return sum(stage.count(part) for part in SENDS)


async def test_a_room_that_is_new_to_the_bot_is_asked_once(stage: Stage, bot: Bot):
    """Its own state says whether it is encrypted; every later answer is one request again."""
    async with bot.live() as surface:
        await surface.send(outbound("one", address=NEW))
        await surface.send(outbound("two", part=1, address=NEW))
    assert (stage.count(ASK_NEW), said(stage)) == (1, 2)


@pytest.mark.parametrize("errcode", ["M_NOT_FOUND", "M_UNRECOGNIZED"])
async def test_a_room_without_encryption_is_told_in_more_than_one_way(stage: Stage, bot: Bot, errcode: str):
    """Not every homeserver knows the path of a state that nobody set, and none with a slash at its end."""
    await stage.then(ASK_NEW, (404, {"errcode": errcode}))
    async with bot.live() as surface:
        await surface.send(outbound("one", address=NEW))
    assert said(stage) == 1
    assert [request.path.rpartition("/")[2] for request in stage.sent(ASK_NEW)] == ["m.room.encryption"]


@pytest.mark.parametrize("answer", [(404, ""), (404, {}), (404, {"errcode": "M_UNKNOWN"})])
async def test_a_bare_404_counts_where_the_path_is_good(stage: Stage, bot: Bot, answer: Any):
    """The same path shows that the room was made: then the homeserver itself says that it is not encrypted."""
    await stage.then(ASK_NEW, answer)
    await stage.then("new%3Ahs/state/m.room.create", {"room_version": "11"})
    async with bot.live() as surface:
        await surface.send(outbound("one", address=NEW))
    assert (stage.count(ASK_NEW), said(stage)) == (1, 1)


async def test_a_proxy_that_finds_nothing_is_no_leave_to_talk(stage: Stage, bot: Bot):
    """It finds no room either; once it lets the homeserver answer, what waited is said."""
    await stage.then(ASK_NEW, (404, "<html>"))
    await stage.then("new%3Ahs/state/m.room.create", (404, "<html>"))
    async with bot.live() as surface:
        with pytest.raises(Unavailable):
            await surface.send(outbound("one", address=NEW))
        assert said(stage) == 0
        await surface.send(outbound("one", address=NEW))
    assert said(stage) == 1


@pytest.mark.parametrize("answer", [(403, {"errcode": "M_FORBIDDEN"}), (404, {"errcode": "M_UNKNOWN"})])
async def test_another_refusal_is_no_leave_to_talk(stage: Stage, bot: Bot, answer: Any):
    """It says nothing about the room's encryption."""
    await stage.then(ASK_NEW, answer)
    async with bot.live() as surface:
        with pytest.raises(Rejected):
            await surface.send(outbound("a secret", address=NEW))
    assert said(stage) == 0


async def test_a_room_that_the_snapshot_shows_is_not_asked(stage: Stage, bot: Bot):
    """A snapshot holds all state that matters."""
    async with bot.live() as surface:
        await surface.send(outbound("one"))
    assert (stage.count(ASK), said(stage)) == (0, 1)


@pytest.mark.parametrize("part", ["state", "timeline"])
async def test_nothing_is_said_in_a_room_that_the_snapshot_shows_as_encrypted(stage: Stage, bot: Bot, part: str):
    """It is refused for good, with a reason that an operator can read, and said so once in the log."""
    stage.snapshot["rooms"]["join"][ROOM] = {part: {"events": [ENCRYPTION]}}
    async with bot.live() as surface:
        with pytest.raises(Rejected, match="encrypted") as caught:
            await surface.send(outbound("a secret"))
    assert (caught.value.code, said(stage)) == ("ENCRYPTED", 0)


@pytest.mark.parametrize("content", [{"algorithm": "m.megolm.v1.aes-sha2"}, {"algorithm": ""}])
async def test_nothing_is_said_in_a_room_whose_state_says_encrypted(
    stage: Stage, bot: Bot, log: Any, content: dict[str, str]
):
    """Whatever the event holds: who overwrites it cannot make a room readable again."""
    await stage.then(ASK_NEW, content)
    async with bot.live() as surface:
        for part in range(3):
            with pytest.raises(Encrypted):
                await surface.send(outbound("a secret", part=part, address=NEW))
    assert (stage.count(ASK_NEW), said(stage)) == (1, 0)
    assert [entry["room"] for entry in log if entry["event"] == "room.encrypted"] == ["!new:hs"]


async def test_an_answer_of_nothing_says_nothing(stage: Stage, bot: Bot):
    """The answer waits, until the sync shows that somebody overwrote the event."""
    await stage.then(ASK_NEW, {}, {})
    async with bot.live() as surface:
        with pytest.raises(Unavailable):
            await surface.send(outbound("a secret", address=NEW))
        await stage.live(batch("s1", {**ENCRYPTION, "event_id": "$e", "content": {}}, room="!new:hs"))
        await stage.until(lambda: any(sync.query["since"] == "s1" for sync in stage.live_syncs()))
        with pytest.raises(Encrypted):
            await surface.send(outbound("a secret", address=NEW))
    assert said(stage) == 0


async def test_a_room_may_become_encrypted(stage: Stage, bot: Bot):
    """From the sync on that shows it nothing goes out."""
    async with bot.live() as surface:
        await surface.send(outbound("one"))
        await stage.live(batch("s1", {**ENCRYPTION, "event_id": "$e"}))
        await stage.until(lambda: any(sync.query["since"] == "s1" for sync in stage.live_syncs()))
        with pytest.raises(Encrypted):
            await surface.send(outbound("two", part=1))
    assert said(stage) == 1


async def test_drafts_and_files_stay_here_too(stage: Stage, bot: Bot, workspace: Workspace):
    """Neither a running answer nor a file is shown; typing says nothing."""
    bot.files = workspace
    file = a_file("a.txt", 1)
    workspace.put(file, b"x")
    stage.snapshot["rooms"]["join"][ROOM] = {"state": {"events": [ENCRYPTION]}}
    async with bot.live() as surface:
        await surface.show(draft("a secret"))
        with pytest.raises(Encrypted):
            await surface.send(outbound(streamed=True))
        with pytest.raises(Encrypted):
            await surface.send(outbound(part=1, file=file))
    assert said(stage) == 0


async def test_not_knowing_is_no_leave_to_talk(stage: Stage, bot: Bot):
    """While the homeserver does not tell, the answer waits."""
    await stage.then(ASK_NEW, (502, "<html>"), {"algorithm": "m.megolm.v1.aes-sha2"})
    async with bot.live() as surface:
        with pytest.raises(Unavailable):
            await surface.send(outbound("a secret", address=NEW))
        with pytest.raises(Encrypted):
            await surface.send(outbound("a secret", address=NEW))
    assert said(stage) == 0


async def test_the_filters_ask_for_the_encryption_of_rooms(stage: Stage, bot: Bot):
    """Both the snapshot and the live sync, in state and timeline."""
    async with bot.live():
        await stage.until(lambda: bool(stage.live_syncs()))
    filters = [request.query["filter"] for request in stage.sent("/sync")]
    assert len(filters) == 2
    assert all(one.count("m.room.encryption") == 2 for one in filters)


async def test_whatever_comes_to_the_device_ends_nothing(stage: Stage, bot: Bot):
    """Keys, requests and rubbish alike."""
    rubbish: list[object] = [
        None,
        7,
        [],
        {},
        {"type": 5},
        {"type": "m.room_key", "content": "x"},
        {"type": "m.room.encrypted"},
    ]
    async with bot.live():
        sections: tuple[object, ...] = (None, [], {"events": 5}, {"events": rubbish})
        for number, to_device in enumerate(sections):
            await stage.live({**batch(f"s{number}", message(f"${number}", "hello")), "to_device": to_device})
        await bot.intake.wait_said(["hello"] * 4, "what people said beside it")


@pytest.mark.parametrize("where", ["room", "device"])
async def test_who_wants_to_verify_the_bot_is_named_in_the_log(stage: Stage, bot: Bot, log: Any, where: str):
    """Once for each person: their client waits in vain, and whoever runs the bot can know why."""
    request = {**message("$v", ""), "content": {"msgtype": "m.key.verification.request", "to": ME, "body": "x"}}
    device = {"type": "m.key.verification.request", "sender": ANN, "content": {"from_device": "D"}}
    asked = batch("s1", request) if where == "room" else {"next_batch": "s1", "to_device": {"events": [device, device]}}
    async with bot.live():
        await stage.live(asked, {**asked, "next_batch": "s2"}, batch("s3", message("$1", "hello")))
        await bot.intake.wait_said(["hello"], "what came behind it")
    told = [(entry["sender"], entry["room"]) for entry in log if entry["event"] == "verification.unanswered"]
    assert told == [(ANN, ROOM if where == "room" else "")]


async def test_only_state_makes_a_room_encrypted(stage: Stage, bot: Bot):
    """An event of that type that is no state, or another state, can be sent by anybody: it silences nobody."""
    plain = {name: value for name, value in ENCRYPTION.items() if name != "state_key"}
    async with bot.live() as surface:
        await stage.live(batch("s1", {**plain, "event_id": "$e"}, {**ENCRYPTION, "state_key": "x", "event_id": "$f"}))
        await stage.until(lambda: any(sync.query["since"] == "s1" for sync in stage.live_syncs()))
        await surface.send(outbound("one"))
    assert said(stage) == 1


async def test_a_file_does_not_stay_plain_in_a_room_that_became_encrypted_meanwhile(
    stage: Stage, bot: Bot, workspace: Workspace
):
    """It goes out once more, encrypted and without its name."""
    bot.files = workspace
    file = a_file("a.txt", 1)
    workspace.put(file, b"x")

    async def slow(_: Any) -> Any:
        event = {**ENCRYPTION, "event_id": "$e", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        await stage.live(batch("s1", event))
        await stage.until(lambda: any(sync.query["since"] == "s1" for sync in stage.live_syncs()))
        return {"content_uri": "mxc://hs/plain"}

    await stage.then("/upload", slow, {"content_uri": "mxc://hs/sealed"})
    await stage.then("/members", {"chunk": []})
    async with bot.live(encryption=True) as surface:
        await surface.send(outbound(file=file))
    assert [upload.query.get("filename") for upload in stage.sent("media/v3/upload")] == ["a.txt", None]
    assert stage.count("/send/m.room.encrypted/") == 1
