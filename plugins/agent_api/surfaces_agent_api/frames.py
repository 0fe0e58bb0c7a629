"""Owns the frames of AgentApi: reads what an agent sends, builds what it is sent (spec: agent-api, Frames).

Members that carry an answer must have their type; those that only adorn it are dropped when they don't.
"""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never

from surfaces_core import AgentEvent, AgentRequest, Confirm, End, File, Progress, Text, Tool

_LARGE = 1 << 16
_LEAST_ANSWER_S = 5.0
"""No person answers sooner, so a question waits at least so long."""
_MAX_NAME = 100
_MAX_LINE = 500
_MAX_PATH = 4096
_MAX_CAPTION = 4000
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]+")


class BadFrame(Exception):
    """A frame breaks the protocol; the message says how, without content."""


@dataclass(frozen=True, slots=True)
class Status:
    """The agent is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The agent gave up; `message` is one clean line for the person, or empty."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The agent asks for leave; `wire_id` is the question's id as the agent spelled it."""

    event: Confirm
    wire_id: str | int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame of a type that this side does not know."""

    type: str


Frame = AgentEvent | Status | Failed | Question | Unknown
Members = Mapping[str, Any]


def read_frame(raw: str) -> Frame:
    """The meaning of one text frame. Raises `BadFrame`."""
    members = load_object(raw)
    kind = members.get("type")
    if not isinstance(kind, str):
        raise BadFrame("a frame without a type")
    reader = READERS.get(kind)
    return Unknown(_line(kind, _MAX_NAME)) if reader is None else reader(members)


def load_object(raw: str) -> Members:
    """A JSON object, by the letter of RFC 8259. Raises `BadFrame`."""
    try:
        value = _loads(raw)
    except RecursionError:
        raise BadFrame("JSON nested too deeply") from None
    except ValueError:  # also of a number with thousands of digits
        raise BadFrame("broken JSON") from None
    if not isinstance(value, dict):
        raise BadFrame("a JSON value that is no object")
    return value


def user_message(request: AgentRequest, *, with_id: bool) -> str:
    """The frame that starts a turn."""
    members = {"type": "USER_MESSAGE", "text": request.text, "attachments": list(request.attachments)}
    return json.dumps(members | ({"message_id": request.turn} if with_id else {}))


def confirm_result(wire_id: str | int, approved: bool) -> str:
    """The frame that answers `AGENT_EVENT_CONFIRM`."""
    return json.dumps({"type": "CONFIRM_RESULT", "id": wire_id, "approved": approved})


CANCEL = json.dumps({"type": "CANCEL"})


def _loads(raw: str) -> object:
    if len(raw) < _LARGE:
        return json.loads(raw, parse_constant=_no_constant)
    # The collector would look through a million new objects again and again, none of which is garbage yet.
    collects = gc.isenabled()
    gc.disable()
    try:
        return json.loads(raw, parse_constant=_no_constant)
    finally:
        if collects:
            gc.enable()


def _no_constant(name: str) -> Never:
    raise ValueError(name)


def _status(members: Members) -> Status:
    return Status()


def _text(members: Members) -> Text:
    return Text(_required(members, "text"))


def _tool_call(members: Members) -> Tool:
    return Tool(name=_name(members, "tool_name"), id=_name(members, "id"))


def _tool_result(members: Members) -> Tool:
    return Tool(name=_name(members, "tool_name"), id=_name(members, "id"), done=True)


def _progress(members: Members) -> Progress:
    text = members.get("text") or members.get("message")
    return Progress(text=_line(text, _MAX_LINE), fraction=_fraction(members.get("progress")))


def _file(members: Members) -> File:
    path = _whole(_required(members, "path"))
    if len(path) > _MAX_PATH:
        raise BadFrame("a path of more than 4,096 characters")
    caption = members.get("caption")
    return File(path=path, caption=_whole(caption)[:_MAX_CAPTION] if isinstance(caption, str) else "")


def _confirm(members: Members) -> Question:
    identity = members.get("id")
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise BadFrame("a question without an id")
    text = _whole(_required(members, "text"))[:_MAX_CAPTION]
    event = Confirm(id=_whole(str(identity)), text=text, timeout_s=_seconds(members.get("timeout_s")))
    return Question(event=event, wire_id=identity)


def _end(members: Members) -> End:
    tokens = members.get("tokens_used")
    usable = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens < 1 << 53
    return End(tokens=tokens if usable else None)


def _error(members: Members) -> Failed:
    return Failed(code=_name(members, "code"), message=_line(members.get("message"), _MAX_LINE))


READERS: Mapping[str, Callable[[Members], Frame]] = {
    "STATUS": _status,
    "AGENT_EVENT_TEXT_CHUNK": _text,
    "AGENT_EVENT_TOOL_CALL_CHUNK": _tool_call,
    "AGENT_EVENT_TOOL_RESULT": _tool_result,
    "AGENT_EVENT_CUSTOM_UPDATE": _progress,
    "AGENT_EVENT_SEND_FILE": _file,
    "AGENT_EVENT_CONFIRM": _confirm,
    "AGENT_EVENT_END": _end,
    "ERROR": _error,
}


def _required(members: Members, name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise BadFrame(f"a frame whose {name} is no text")
    return value


def _whole(text: str) -> str:
    """With halves of characters replaced: they could not be stored or sent (JSON allows them as `\\ud800`)."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _line(value: object, limit: int) -> str:
    """One clean line; empty for what is no text."""
    if not isinstance(value, str):
        return ""
    line = " ".join(_CONTROLS.sub(" ", value[: limit * 4]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _name(members: Members, name: str) -> str:
    value = members.get(name)
    return _line(str(value) if isinstance(value, int) else value, _MAX_NAME)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None  # 1e999 is JSON


def _fraction(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _seconds(value: object) -> float | None:
    number = _number(value)
    return max(number, _LEAST_ANSWER_S) if number is not None and number > 0 else None
