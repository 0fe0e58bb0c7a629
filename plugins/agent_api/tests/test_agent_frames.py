"""Frames of an agent become events, and whatever else they are becomes one clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_agent_api import words
from surfaces_agent_api.frames import (
    BadFrame,
    Failed,
    Frame,
    Question,
    Status,
    Unknown,
    confirm_result,
    read_frame,
    user_message,
)
from surfaces_agent_api.reply import Reply, joined
from surfaces_core import Agent, AgentRequest, Confirm, End, File, Progress, Text, Tool

AGENT = Agent(id="a", label="A", transport="agent_api", workspace="a")

TABLE: list[tuple[dict[str, Any], Frame]] = [
    ({"type": "STATUS"}, Status()),
    ({"type": "STATUS", "ready": [1]}, Status()),
    ({"type": "AGENT_EVENT_TEXT_CHUNK", "text": "a\nb"}, Text("a\nb")),
    ({"type": "AGENT_EVENT_TEXT_CHUNK", "text": "", "more": 1}, Text("")),
    (
        {"type": "AGENT_EVENT_TOOL_CALL_CHUNK", "tool_name": "web", "args": {}, "id": "7"},
        Tool(name="web", id="7"),
    ),
    ({"type": "AGENT_EVENT_TOOL_CALL_CHUNK", "tool_name": None, "id": 7}, Tool(id="7")),
    ({"type": "AGENT_EVENT_TOOL_RESULT", "tool_name": ["x"], "result": "y"}, Tool(done=True)),
    ({"type": "AGENT_EVENT_CUSTOM_UPDATE"}, Progress()),
    ({"type": "AGENT_EVENT_CUSTOM_UPDATE", "text": "a\nb", "progress": 0.5}, Progress(text="a b", fraction=0.5)),
    ({"type": "AGENT_EVENT_CUSTOM_UPDATE", "message": "m", "progress": 1}, Progress(text="m", fraction=1)),
    ({"type": "AGENT_EVENT_CUSTOM_UPDATE", "text": 5, "progress": True}, Progress()),
    ({"type": "AGENT_EVENT_CUSTOM_UPDATE", "progress": 50}, Progress()),
    ({"type": "AGENT_EVENT_SEND_FILE", "path": "a/b.txt"}, File(path="a/b.txt")),
    ({"type": "AGENT_EVENT_SEND_FILE", "path": "\ud800", "caption": "c"}, File(path="\ufffd", caption="c")),
    ({"type": "AGENT_EVENT_SEND_FILE", "path": "", "caption": 3}, File(path="")),
    (
        {"type": "AGENT_EVENT_CONFIRM", "id": "q", "text": "May I?", "timeout_s": 5},
        Question(event=Confirm(id="q", text="May I?", timeout_s=5), wire_id="q"),
    ),
    (
        {"type": "AGENT_EVENT_CONFIRM", "id": 0, "text": "?", "timeout_s": -1},
        Question(event=Confirm(id="0", text="?"), wire_id=0),
    ),
    ({"type": "AGENT_EVENT_END"}, End()),
    ({"type": "AGENT_EVENT_END", "tokens_used": 12}, End(tokens=12)),
    ({"type": "AGENT_EVENT_END", "tokens_used": "12"}, End()),
    ({"type": "AGENT_EVENT_END", "tokens_used": -1}, End()),
    ({"type": "AGENT_EVENT_END", "tokens_used": True}, End()),
    ({"type": "AGENT_EVENT_END", "tokens_used": 10**100}, End()),
    ({"type": "ERROR"}, Failed(code="", message="")),
    ({"type": "ERROR", "code": 5, "message": "no\nway"}, Failed(code="5", message="no way")),
    ({"type": "agent_event_end"}, Unknown("agent_event_end")),
    ({"type": ""}, Unknown("")),
    ({"type": "x" * 1000}, Unknown("x" * 99 + "…")),
]


@pytest.mark.parametrize(("members", "frame"), TABLE)
def test_table(members: dict[str, Any], frame: Frame):
    """Each frame has one meaning; what only adorns it is dropped when its type is wrong."""
    assert frame == read_frame(json.dumps(members))


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "x",
        "null",
        "7",
        '"STATUS"',
        "[]",
        "{}",
        '{"type": 5}',
        '{"type": null}',
        '{"type": ["STATUS"]}',
        '{"type": "STATUS"',
        '{"type": "STATUS"} x',
        "{'type': 'STATUS'}",
        '{"type": "STATUS", "n": NaN}',
        '{"type": "STATUS", "n": -Infinity}',
        '{"type": "STATUS", "n": ' + "9" * 5000 + "}",
        '{"type": "STATUS", "n": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"a":' * 100_000,
        '{"type": "AGENT_EVENT_TEXT_CHUNK"}',
        '{"type": "AGENT_EVENT_TEXT_CHUNK", "text": null}',
        '{"type": "AGENT_EVENT_TEXT_CHUNK", "text": ["a"]}',
        '{"type": "AGENT_EVENT_SEND_FILE"}',
        '{"type": "AGENT_EVENT_SEND_FILE", "path": 3}',
        '{"type": "AGENT_EVENT_SEND_FILE", "path": "' + "x" * 5000 + '"}',
        '{"type": "AGENT_EVENT_CONFIRM", "text": "?"}',
        '{"type": "AGENT_EVENT_CONFIRM", "id": true, "text": "?"}',
        '{"type": "AGENT_EVENT_CONFIRM", "id": 1.5, "text": "?"}',
        '{"type": "AGENT_EVENT_CONFIRM", "id": "q"}',
    ],
    ids=lambda raw: raw[:40],
)
def test_bad(raw: str):
    """A frame that breaks the protocol is refused in words that repeat nothing of it."""
    with pytest.raises(BadFrame) as refused:
        read_frame(raw)
    assert "x" * 10 not in str(refused.value)


def test_numbers_beyond_floats():
    """Numbers that JSON allows and no float holds are dropped."""
    raw = '{"type": "AGENT_EVENT_CONFIRM", "id": "q", "text": "?", "timeout_s": 1e999}'
    assert read_frame(raw) == Question(event=Confirm(id="q", text="?"), wire_id="q")
    assert read_frame('{"type": "AGENT_EVENT_CUSTOM_UPDATE", "progress": 1' + "0" * 400 + "}") == Progress()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["text", "message", "progress", "path", "caption", "id", "timeout_s", "tokens_used", "code", "tool_name"]
TYPES = [str(members["type"]) for members, _ in TABLE]


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_members(kind: str, members: dict[str, Any]):
    """Whatever the members are, a frame is read or refused, and what is read can be stored as UTF-8."""
    try:
        frame = read_frame(json.dumps({"type": kind, **members}))
    except BadFrame:
        return
    if isinstance(frame, Text):  # its halves of characters may still find each other
        frame = Text(Reply(1000).take(frame.text))
    repr(frame).encode()
    str(getattr(frame, "text", "")).encode()


@given(st.text(max_size=60))
def test_any_text(raw: str):
    """Whatever comes, nothing but `BadFrame` is raised."""
    try:
        read_frame(raw)
    except BadFrame:
        return


def test_user_message():
    """The question goes out with its attachments; with its id only where the agent takes it."""
    request = AgentRequest(turn="t", agent=AGENT, context="1", text="hé\ud800", attachments=("a.txt", "b.txt"))
    plain = {"type": "USER_MESSAGE", "text": "hé\ud800", "attachments": ["a.txt", "b.txt"]}
    assert plain == json.loads(user_message(request, with_id=False))
    assert plain | {"message_id": "t"} == json.loads(user_message(request, with_id=True))
    user_message(request, with_id=True).encode()


def test_confirm_result():
    """The decision carries the question's id as it was spelled."""
    assert json.loads(confirm_result(7, approved=False)) == {"type": "CONFIRM_RESULT", "id": 7, "approved": False}


def test_halves_meet():
    """An emoji that was cut in two between frames is whole again; a half that stays alone is replaced."""
    reply = Reply(100)
    assert [reply.take("a\ud83d"), reply.take(""), reply.take("\ude00b"), reply.take("\ude00")] == [
        "a",
        "",
        "😀b",
        "\ufffd",
    ]
    assert reply.take("\ud83dx") == "\ufffdx"


@given(st.lists(st.text(max_size=10)), st.integers(min_value=1, max_value=40))
def test_limit(pieces: list[str], limit: int):
    """What is passed on is the text up to the limit, and a note exactly when some was left out."""
    reply, whole = Reply(limit), "".join(pieces)
    note = words.note(words.TOO_LONG) if len(whole) > limit else ""
    assert "".join(map(reply.take, pieces)) == whole[:limit] + note


def test_joined():
    """Neighbouring texts become one, empty ones none; everything else keeps its place."""
    file = File(path="a")
    assert list(joined([Text("a"), Text(""), Text("b"), file, file, Text(""), Text("c")])) == [
        Text("ab"),
        file,
        file,
        Text("c"),
    ]
