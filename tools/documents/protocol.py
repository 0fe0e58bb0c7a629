"""The page for authors of agents: AgentApi, as the transport `agent_api` reads and writes it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

from surfaces_agent_api import failures, frames
from surfaces_agent_api.address import socket_address
from surfaces_core import Agent, AgentRequest
from surfaces_core._engine import words
from tools.documents.parts import DOCS, GENERATED, Page, table

MEANINGS = {
    "STATUS": "the first frame after connecting; nothing is sent before it",
    "AGENT_EVENT_TEXT_CHUNK": "a piece of the answer, Markdown",
    "AGENT_EVENT_TOOL_CALL_CHUNK": "the agent is calling a tool; whatever else the frame says of it is passed over",
    "AGENT_EVENT_TOOL_RESULT": "a tool answered; likewise",
    "AGENT_EVENT_CUSTOM_UPDATE": "how far it is: one line, and `progress` from 0 to 1",
    "AGENT_EVENT_SEND_FILE": "send this file of the workspace to the person",
    "AGENT_EVENT_CONFIRM": "ask the person for leave, and wait for `CONFIRM_RESULT`",
    "AGENT_EVENT_END": "the turn is over",
    "ERROR": "the turn failed; the message is shown",
}
OURS = {
    "USER_MESSAGE": "starts a turn; `attachments` are paths relative to the workspace, `message_id` is there where "
    "the agent's entry has `send_message_id: true`",
    "CONFIRM_RESULT": "the answer to `AGENT_EVENT_CONFIRM`",
    "CANCEL": "stop the turn; only where `supports_cancel: true`, else the socket is closed",
}
FAILS = {
    failures.UNREACHABLE: "refuses the connection, or answers the upgrade with 4xx or 5xx",
    failures.NO_STATUS: "sends no `STATUS` in `status_timeout_s`",
    failures.TIMEOUT: "is silent for `idle_timeout_s` in a turn; pings and unknown types are silence",
    failures.OVERTIME: "goes on for `turn_timeout_s`, however much comes; while a person is asked no time counts",
    failures.CUT_OFF: "drops the socket in a turn",
    failures.PROTOCOL: "sends broken JSON, no object, a frame that lacks what it must have, a binary or compressed "
    "frame, a frame over `max_frame_bytes`, more than 100 questions",
    failures.ERROR: "sends `ERROR` without a message of its own",
    failures.CLOSED: "is in a turn when this side hangs up: its context was forgotten, or the host ends",
    failures.NOT_ASKED: "is to hear an answer to a question that it no longer asks",
}
ADDRESSES = (("http://agents.example:7000/agent_17", 41), ("https://a.example", 7), ("wss://a.example/v1/agent_ws/", 8))


def agent_api_page() -> Page:
    """The protocol: its prose stands in a file beside this one, its tables are the code's."""
    prose = (DOCS.parent / "tools/documents/agent-api.md").read_text()
    tables = {"addresses": _addresses, "theirs": _theirs, "ours": _ours, "fails": _fails}
    for line in prose.splitlines():
        place = line.removeprefix("<!-- table ").removesuffix(" -->")
        yield from tables[place]() if line != place else (line,)
        if line.startswith("# "):
            yield from ("", GENERATED)


def _addresses() -> Page:
    yield from table(
        ("`base_url`", "context", "address"),
        *((f"`{base}`", str(context), f"`{socket_address(base, str(context))}`") for base, context in ADDRESSES),
    )


def _theirs() -> Page:
    _same(MEANINGS, frames.READERS)
    rows = [(f"`{kind}`", _members(reader), MEANINGS[kind]) for kind, reader in frames.READERS.items()]
    yield from table(("type", "members", "meaning"), *rows)


def _ours() -> Page:
    agent = Agent(id="a", label="a", transport="t", workspace="w")
    request = AgentRequest(turn="t", agent=agent, context="1", text="x")
    sent = [frames.user_message(request, with_id=True), frames.confirm_result("q", True), frames.CANCEL]
    made = {members.pop("type"): members for members in map(json.loads, sent)}
    _same(OURS, made)
    rows = [(f"`{kind}`", ", ".join(f"`{name}`" for name in made[kind]), OURS[kind]) for kind in made]
    yield from table(("type", "members", "meaning"), *rows)


def _fails() -> Page:
    _same(FAILS, failures.PUBLIC)
    waiting = f"{words.WAITING()} In the end: {words.GAVE_UP()}"
    said = {code: sentence() for code, sentence in failures.PUBLIC.items()}
    said |= dict.fromkeys((failures.UNREACHABLE, failures.NO_STATUS), waiting)  # asked again by itself
    rows = [(FAILS[code], said[code], f"`{code}`") for code in failures.PUBLIC]
    yield from table(("the agent…", "the person reads, behind what came", "code"), *rows)


def _same(told: Any, there: Any) -> None:
    """Whatever the code knows is told, and nothing else."""
    if set(told) != set(there):
        raise SystemExit(f"tools/documents/protocol.py: tell of {sorted(set(told) ^ set(there))}")


def _members(reader: Callable[[Any], object]) -> str:
    names = list(dict.fromkeys(_asked(reader)))
    return ", ".join(f"`{name}`{'' if _needed(reader, names, name) else '?'}" for name in names)


def _asked(reader: Callable[[Any], object]) -> Iterator[str]:
    """The members that a reader asks for, in its order: `members.get("x")` and `_required(members, "x")`."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(reader))) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        if "members" in {ast.unparse(part) for part in call.args[:1]} or ast.unparse(call.func) == "members.get":
            words = [part.value for part in call.args if isinstance(part, ast.Constant)]
            yield from (word for word in words if isinstance(word, str))


def _needed(reader: Callable[[Any], object], names: list[str], name: str) -> bool:
    """Whether a frame without it is refused."""
    try:
        reader({other: "x" for other in names if other != name})
    except frames.BadFrame:
        return True
    return False
