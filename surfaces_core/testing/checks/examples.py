"""Owns examples of what hooks are handed: messages, requests and events as they come, odd ones among them."""

from __future__ import annotations

from surfaces_core.events import (
    Accepted,
    Address,
    Agent,
    AgentRequest,
    Attachment,
    Confirm,
    Delivered,
    End,
    File,
    Inbound,
    Observed,
    Outbound,
    Postponed,
    Progress,
    Receipt,
    StepEnded,
    Text,
    Tool,
    TurnEnded,
    TurnEvent,
)

HERE = Address(surface="work", conversation="!room:example.org")
AGENT = Agent(id="agent-0", label="Agent 0", transport="agents", workspace="/agents/0", options={"tags": ["a", "b"]})
TEXTS = ("hello", "!help", "", " ", "two\nlines", "👩‍👩‍👧 тест 测试 \u202eabc", "lone \ud800 half", "long " * 20_000)


def _message(number: int, text: str, *attachments: Attachment) -> Inbound:
    return Inbound(
        address=HERE,
        event_id=f"$event-{number}",
        sender="@ann:example.org",
        sender_name="Ann",
        sent_at=1_700_000_000.0 + number,
        text=text,
        attachments=attachments,
    )


_FILE = Attachment(ref="mxc://example.org/1", name="photo.jpg", mime="image/jpeg", size=None)
MESSAGES = (
    *(_message(number, text) for number, text in enumerate(TEXTS)),
    _message(100, "", _FILE),
    _message(101, "what is this?", _FILE, _FILE),
)
REQUESTS = tuple(
    AgentRequest(
        turn=f"turn-{number}",
        agent=AGENT,
        context="1",
        text=message.text,
        attachments=tuple(f"in/{file.name}" for file in message.attachments),
    )
    for number, message in enumerate(MESSAGES)
)
_SAID = (
    Text("hello"),
    Tool(name="search", id="1"),
    Tool(id="1", done=True),
    Progress(text="half", fraction=0.5),
    File(path="out/chart.png"),
    Confirm(id="q", text="May I?"),
    End(tokens=7),
    End(),
)
_OUTCOMES = ("answered", "command", "refused", "failed", "stopped", "dead", "done")
OBSERVED: tuple[Observed, ...] = (
    *(Accepted(message=message, turn="turn-0") for message in MESSAGES),
    *(TurnEvent(turn="turn-0", address=HERE, event=event) for event in _SAID),
    *(TurnEnded(turn="turn-0", address=HERE, outcome=outcome, seconds=0.1) for outcome in _OUTCOMES),
    StepEnded(turn="turn-0", address=HERE, step="wait", seconds=0.5),
    StepEnded(turn="turn-0", address=HERE, step="files_in", seconds=0.2, files=2),
    StepEnded(turn="turn-0", address=HERE, step="ask", seconds=2.0, agent=AGENT, first_s=0.3),
    StepEnded(turn="turn-0", address=HERE, step="ask", seconds=0.0, attempt=2, agent=AGENT, error="AGENT_UNREACHABLE"),
    StepEnded(turn="turn-0", address=HERE, step="send", seconds=0.1, part=0, files=1, error="CANCELLED"),
    Postponed(turn="turn-0", address=HERE, part=None, reason="AGENT_UNREACHABLE", tries=1, wait_s=1.0),
    Delivered(
        outbound=Outbound(key="turn-0.0", turn="turn-0", part=0, address=HERE, text="hello"),
        receipt=Receipt(remote_id="$said"),
    ),
)
