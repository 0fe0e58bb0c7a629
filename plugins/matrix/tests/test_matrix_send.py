"""Sending: what leaves for the homeserver, and that it shows once whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest

from surfaces_core import FileKind, Rejected, Unavailable
from surfaces_matrix import drafts, words

from .conftest import Bot, Stage, Workspace, a_file, draft, outbound

SEND = "/send/m.room.message/"
MENTIONS = {"m.mentions": {}, "io.surfaces.id": {"turn": "turn", "part": 0}}


def txns(stage: Stage) -> list[str]:
    """The transaction ids of the messages sent, in order."""
    return [request.path.rpartition("/")[2] for request in stage.sent(SEND)]


def bodies(stage: Stage) -> list[str]:
    """What a client shows for each message or edit sent, in order."""
    return [request.body.get("m.new_content", request.body)["body"] for request in stage.sent(SEND)]


# Text


async def test_a_plain_answer_is_one_request(stage: Stage, bot: Bot):
    """One PUT under the part's key, and nothing else."""
    async with bot.live() as surface:
        before = len(stage.requests)
        receipt = await surface.send(outbound("hello"))
        aside = ("/sync", "/account_data/")
        [sent] = [r for r in stage.requests[before:] if not any(part in r.path for part in aside)]
    assert sent.method == "PUT"
    assert sent.path == "/_matrix/client/v3/rooms/%21room%3Ahs/send/m.room.message/turn.0"
    assert sent.body == {"msgtype": "m.text", "body": "hello", **MENTIONS}
    assert receipt.remote_id == "$of-turn.0"


async def test_markdown_is_sent_as_html_too(stage: Stage, bot: Bot):
    """Clients show the HTML, everybody else the text as written."""
    async with bot.live() as surface:
        await surface.send(outbound("**bold**"))
    body = stage.sent(SEND)[0].body
    assert (body["body"], body["format"]) == ("**bold**", "org.matrix.custom.html")
    assert "<strong>bold</strong>" in body["formatted_body"]


async def test_the_host_speaks_in_notices(stage: Stage, bot: Bot):
    """Other bots must not answer what the host says."""
    async with bot.live() as surface:
        await surface.send(outbound("busy", notice=True))
    assert stage.sent(SEND)[0].body["msgtype"] == "m.notice"


@pytest.mark.parametrize("text", ["half \ud83d of a pair", "a\0b", "\udcff**x**\0"])
async def test_text_that_json_can_not_hold_is_sent_all_the_same(stage: Stage, bot: Bot, text: str):
    """Agents say what they like."""
    async with bot.live() as surface:
        await surface.send(outbound(text))
    sent = stage.sent(SEND)[0].body
    assert "\0" not in str(sent)
    assert sent["body"].encode()


@pytest.mark.parametrize("trouble", [(500, "x"), (502, "<html>"), (429, {"errcode": "M_LIMIT_EXCEEDED"}), (200, {})])
async def test_trouble_is_for_the_host_to_repeat(stage: Stage, bot: Bot, trouble: Any):
    """The repeat has the same transaction id and the same content, so it shows once."""
    async with bot.live() as surface:
        await stage.then(SEND, trouble)
        with pytest.raises(Unavailable):
            await surface.send(outbound("once"))
        await surface.send(outbound("once"))
    first, second = stage.sent(SEND)
    assert (first.path, first.body) == (second.path, second.body)


async def test_the_homeservers_wait_reaches_the_host(stage: Stage, bot: Bot):
    """How long to wait is the homeserver's to say."""
    async with bot.live() as surface:
        await stage.then(SEND, (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 4500}))
        with pytest.raises(Unavailable) as caught:
            await surface.send(outbound("once"))
    assert caught.value.retry_after == 4.5


@pytest.mark.parametrize("status", [400, 403, 404, 413])
async def test_a_refusal_is_rejected(stage: Stage, bot: Bot, status: int):
    """Repeating it would not help."""
    async with bot.live() as surface:
        await stage.then(SEND, (status, {"errcode": "M_FORBIDDEN"}))
        with pytest.raises(Rejected):
            await surface.send(outbound("never"))


async def test_a_lost_token_is_trouble_for_the_sender(stage: Stage, bot: Bot):
    """The receiving side gets a new one; until then the part waits."""
    async with bot.live() as surface:
        await stage.then(SEND, (401, {"errcode": "M_UNKNOWN_TOKEN"}))
        with pytest.raises(Unavailable):
            await surface.send(outbound("later"))


# Streaming


async def test_drafts_are_one_message_that_is_edited(stage: Stage, bot: Bot):
    """The first draft makes it under the answer's key, later ones edit it, the final edit is exact."""
    async with bot.live() as surface:
        await surface.show(draft("one", version=1))
        await surface.show(draft("one two", version=2))
        receipt = await surface.send(outbound("one two *three*", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0.d1.2", "turn.0.f"]
    assert bodies(stage) == ["one …", "one two …", "one two *three*"]
    final = stage.sent(SEND)[-1].body
    assert final["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$of-turn.0"}
    assert final["m.new_content"]["io.surfaces.id"] == final["io.surfaces.id"] == {"turn": "turn", "part": 0}
    assert final["m.new_content"]["m.mentions"] == final["m.mentions"] == {}
    assert receipt.remote_id == "$of-turn.0"


async def test_a_draft_of_an_earlier_life_is_replaced(stage: Stage, bot: Bot):
    """Without knowing the draft, the key finds it: the homeserver answers a repeat with its event."""
    async with bot.live() as surface:
        await surface.send(outbound("final", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0.f"]
    assert stage.sent(SEND)[1].body["m.relates_to"]["event_id"] == "$of-turn.0"


async def test_a_later_try_edits_what_an_earlier_one_left(stage: Stage, bot: Bot):
    """The repeat under the key only finds the message, an edit then shows the new text."""
    async with bot.live() as surface:
        await surface.show(draft("again", version=1, attempt=2))
        await surface.show(draft("again and", version=2, attempt=2))
    assert txns(stage) == ["turn.0", "turn.0.d2.1", "turn.0.d2.2"]


async def test_the_same_draft_is_not_sent_twice(stage: Stage, bot: Bot):
    """Once the first part of a long answer is full, its edits end."""
    async with bot.live() as surface:
        long = "word " * 20_000
        for version in (1, 2, 3):
            await surface.show(draft(long + "more " * version, version=version))
    assert txns(stage) == ["turn.0"]
    assert len(bodies(stage)[0]) < 40_000


async def test_what_the_agent_does_is_the_last_line(stage: Stage, bot: Bot):
    """In italics, whatever is in it."""
    async with bot.live() as surface:
        await surface.show(draft("so far", status="Using *search_web*"))
        await surface.show(draft("", version=2, status="Thinking"))
    first = stage.sent(SEND)[0].body
    assert first["body"] == "so far …\n\n*Using \\*search\\_web\\**"
    assert "<em>Using *search_web*</em>" in first["formatted_body"]
    assert bodies(stage)[1] == "*Thinking*"


async def test_an_edit_whose_answer_was_lost_can_not_come_behind_the_final_text(stage: Stage, bot: Bot):
    """It is repeated under its own transaction id first, so that the homeserver is done with it."""
    async with bot.live() as surface:
        await surface.show(draft("one", version=1))
        await stage.then(SEND, (504, "the proxy gave up"))
        with pytest.raises(Unavailable):
            await surface.show(draft("one two", version=2))
        await surface.send(outbound("final", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0.d1.2", "turn.0.d1.2", "turn.0.f"]


async def test_a_first_draft_whose_answer_was_lost_is_found_again(stage: Stage, bot: Bot):
    """Its repeat names the message that the final text replaces."""
    async with bot.live() as surface:
        await stage.then(SEND, (504, "the proxy gave up"))
        with pytest.raises(Unavailable):
            await surface.show(draft("one", version=1))
        await surface.show(draft("one two", version=2))
        await surface.send(outbound("final", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0", "turn.0.d1.2", "turn.0.f"]


async def test_a_draft_may_be_forgotten_while_it_is_settled(stage: Stage, bot: Bot, monkeypatch: pytest.MonkeyPatch):
    """Very many others begin just then (here one, for the bound is lowered); the final text follows all the same."""
    monkeypatch.setattr(drafts, "MOST_SHOWN", 1)
    async with bot.live() as surface:
        await stage.then(SEND, (504, "the proxy gave up"))
        with pytest.raises(Unavailable):
            await surface.show(draft("one"))

        def meanwhile(_request: Any) -> dict[str, str]:
            surface._drafts._remembered(draft("another", part=1))
            return {"event_id": "$of-turn.0"}

        await stage.then(SEND, meanwhile)
        await surface.send(outbound("final", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0", "turn.0.f"]


async def test_a_final_text_that_failed_is_repeated_whole(stage: Stage, bot: Bot):
    """The host sends it again; the same transaction ids make it the same messages."""
    async with bot.live() as surface:
        await surface.show(draft("one", version=1))
        await stage.then("turn.0.f", (502, "x"))
        with pytest.raises(Unavailable):
            await surface.send(outbound("final", streamed=True))
        await surface.send(outbound("final", streamed=True))
    assert txns(stage) == ["turn.0", "turn.0.f", "turn.0", "turn.0.f"]
    assert bodies(stage)[-1] == "final"


async def test_a_refused_draft_is_left_out(stage: Stage, bot: Bot):
    """What becomes of the answer is decided when it is sent."""
    async with bot.live() as surface:
        await stage.then(SEND, (403, {"errcode": "M_FORBIDDEN"}))
        await surface.show(draft("one", version=1))
        await surface.send(outbound("final", streamed=True))
    assert bodies(stage)[-1] == "final"


# Typing


async def test_typing_is_said_and_taken_back(stage: Stage, bot: Bot):
    """It costs one request when it begins, none while it lasts, one when it ends."""
    async with bot.live() as surface:
        for _ in range(3):
            await surface.show(draft(version=0))
        await surface.show(draft(version=0, done=True))
        await surface.show(draft(version=0, done=True))
    assert [request.body for request in stage.sent("/typing/")] == [
        {"typing": True, "timeout": 30_000},
        {"typing": False},
    ]
    assert txns(stage) == []


async def test_typing_that_is_refused_is_no_matter(stage: Stage, bot: Bot):
    """Nobody misses it."""
    await stage.then("/typing/", (403, {"errcode": "M_FORBIDDEN"}))
    async with bot.live() as surface:
        await surface.show(draft(version=0))
    assert [request.body for request in stage.sent("/typing/")][:1] == [{"typing": True, "timeout": 30_000}]


def test_pace_comes_from_the_settings(bot: Bot):
    """Without streaming only typing is shown."""
    pace = bot.make(stream_interval_s=2, stream_first_chars=5, stream_first_s=3, stream_budget=7).pace
    assert pace is not None
    assert (pace.interval_s, pace.first_chars, pace.first_s, pace.budget) == (2, 5, 3, 7)
    quiet = bot.make(streaming=False).pace
    assert quiet is not None
    assert quiet.budget == 0


# Files


async def test_a_file_is_uploaded_then_said(stage: Stage, bot: Bot, workspace: Workspace):
    """The content goes up as a stream of known length, the event says what clients need to show it."""
    bot.files = workspace
    file = a_file("pic.png", 300_000, mime="image/png", kind=FileKind.IMAGE, width=4, height=3)
    workspace.put(file, b"p" * 300_000)
    async with bot.live() as surface:
        await surface.send(outbound("a *picture*", file=file))
    upload = stage.sent("/upload")[0]
    assert (upload.method, upload.path, upload.query) == ("POST", "/_matrix/media/v3/upload", {"filename": "pic.png"})
    assert upload.body == b"p" * 300_000
    assert (upload.headers["Content-Length"], upload.headers["Content-Type"]) == ("300000", "image/png")
    said = stage.sent(SEND)[0].body
    assert said["info"] == {"size": 300_000, "mimetype": "image/png", "w": 4, "h": 3}
    assert (said["msgtype"], said["url"], said["filename"]) == ("m.image", "mxc://hs/up1", "pic.png")
    assert (said["body"], "<em>picture</em>" in said["formatted_body"]) == ("a *picture*", True)
    assert said["io.surfaces.id"] == {"turn": "turn", "part": 0}


@pytest.mark.parametrize(
    ("kind", "msgtype"),
    [(FileKind.AUDIO, "m.audio"), (FileKind.VIDEO, "m.video"), (FileKind.OTHER, "m.file")],
)
async def test_files_have_their_kinds(stage: Stage, bot: Bot, workspace: Workspace, kind: FileKind, msgtype: str):
    """Without a caption the name is the body."""
    bot.files = workspace
    file = a_file("dir/data.bin", 3, kind=kind, duration_ms=1500)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await surface.send(outbound(file=file))
    said = stage.sent(SEND)[0].body
    assert (said["msgtype"], said["body"], said["info"]["duration"]) == (msgtype, "data.bin", 1500)


async def test_an_upload_is_used_again(stage: Stage, bot: Bot, workspace: Workspace):
    """A repeat after a failure or a crash says the same content under the same key."""
    bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await stage.then(SEND, (502, "x"))
        with pytest.raises(Unavailable):
            await surface.send(outbound(file=file))
    async with bot.live() as surface:
        await surface.send(outbound(file=file))
    assert stage.count("/upload") == 1
    first, second = stage.sent(SEND)
    assert (first.path, first.body) == (second.path, second.body)
    assert [key for key in bot.store.rows if key not in ("instance", "login")] == []


async def test_a_file_too_big_for_the_homeserver_is_said(stage: Stage, bot: Bot, workspace: Workspace):
    """Its refusal has a sentence for the person."""
    bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await stage.then("/upload", (413, {"errcode": "M_TOO_LARGE"}))
        with pytest.raises(Rejected) as caught:
            await surface.send(outbound(file=file))
    assert caught.value.public == words.FILE_TOO_BIG_OUT()
    assert stage.count(SEND) == 0


@pytest.mark.parametrize("answer", [(502, "x"), (200, {}), (200, {"content_uri": 5})])
async def test_a_failed_upload_is_for_the_host_to_repeat(stage: Stage, bot: Bot, workspace: Workspace, answer: Any):
    """Nothing is said then."""
    bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await stage.then("/upload", answer)
        with pytest.raises(Unavailable):
            await surface.send(outbound(file=file))
    assert stage.count(SEND) == 0


async def test_a_file_that_is_refused_here_is_rejected(bot: Bot, workspace: Workspace):
    """What the files plugin says reaches the host as it is."""
    bot.files = workspace
    async with bot.live() as surface:
        with pytest.raises(Rejected, match="no such file"):
            await surface.send(outbound(file=a_file("gone.txt", 3)))
