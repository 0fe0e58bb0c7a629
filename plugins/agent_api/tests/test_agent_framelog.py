"""Frames are logged only when asked for, and never with secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from surfaces_agent_api.framelog import frame_logger, shown, without_secrets
from surfaces_agent_api.reference.faults import END, Fault, sends

SECRET = "hunter2-9f8e7d6c5b4a"


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"a": [{"API_KEY": SECRET}]},
        {"apiKey": SECRET},
        {"access_token": SECRET},
        {"accessToken": SECRET},
        {"token": {"value": SECRET}},
        {"Authorization": f"Bearer {SECRET}"},
        {"set-cookie": SECRET},
        {"client_secret": SECRET},
        {"text": f"curl -H 'Authorization: Bearer {SECRET}'"},
        {"text": f"password={SECRET} and more"},
        {"text": f'{{"api_key": "{SECRET}"}}'},
        {"text": f"https://ann:{SECRET}@a.example/x"},
        {"text": f"https://{SECRET}@a.example/x"},
        {"text": f"https://a.example/x?b=1&X-Amz-Signature={SECRET}&key={SECRET}"},
        {"text": f"Cookie: a=1; b={SECRET}"},
        {"text": f"sk-{SECRET}"},
        {"text": f"my syt_{SECRET} here"},
        {"text": f"eyJhbGciOiJIUzI1NiJ9.eyJ{SECRET}.x{SECRET}"},
        {"text": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----"},
        {"text": f"-----BEGIN PRIVATE KEY-----\n{SECRET}"},
        {"x": {"y": {"z": {"a": {"b": {"c": {"d": {"e": SECRET}}}}}}}},
    ],
)
def test_secrets(value: object):
    """What is named or looks like a secret is cut out."""
    assert SECRET not in json.dumps(without_secrets(value))
    assert SECRET not in json.dumps(shown(json.dumps(value)))


@pytest.mark.parametrize(
    "value",
    [{"type": "AGENT_EVENT_END", "tokens_used": 12}, {"text": "The key to success, keyboard and monkey.", "id": "7"}],
)
def test_the_rest(value: object):
    """What is no secret can be read."""
    assert value == without_secrets(value)


def test_a_secret_in_a_text_that_streams(monkeypatch: pytest.MonkeyPatch):
    """A chunk may hold the secret that the one before it named; both may hold half of it."""
    monkeypatch.setenv("SURFACES_DEBUG_WS", "1")
    with capture_logs() as logs:
        tap = frame_logger(structlog.get_logger(), agent="a", context="1", turn=lambda: "t")
        for piece in ("It is {", '"api_key": ', f'"{SECRET[:9]}', f'{SECRET[9:]}"}} as ', "you see."):
            tap("in", json.dumps({"type": "AGENT_EVENT_TEXT_CHUNK", "text": piece}))
    said = "".join(line["frame"]["text"] for line in logs)
    assert SECRET[:9] not in said
    assert SECRET[9:] not in said
    assert said.endswith("as you see.")
    assert {line["turn_id"] for line in logs} == {"t"}


def test_unreadable():
    """A frame that is no JSON object is not shown at all."""
    assert SECRET not in str(shown(f'{{"password": "{SECRET}"'))
    assert SECRET not in str(shown('{"a":' * 5000 + SECRET))


FRAMES = Fault(answer=sends({"type": "AGENT_EVENT_TEXT_CHUNK", "text": "hello", "api_key": SECRET}, END))


async def test_on_request(talking: Any, monkeypatch: pytest.MonkeyPatch):
    """With SURFACES_DEBUG_WS=1 every frame of both sides is logged, without its secrets."""
    monkeypatch.setenv("SURFACES_DEBUG_WS", "1")
    async with talking(FRAMES) as talk:
        with capture_logs() as logs:
            await talk.ask(f"my password: {SECRET}")
    frames = [(line["direction"], line["frame"]["type"]) for line in logs if line["event"] == "agent_frame"]
    assert frames == [
        ("in", "STATUS"),
        ("out", "USER_MESSAGE"),
        ("in", "AGENT_EVENT_TEXT_CHUNK"),
        ("in", "AGENT_EVENT_END"),
    ]
    assert {(line["agent"], line["context"]) for line in logs} == {("agent-17", "1")}
    assert SECRET not in str(logs)


@pytest.mark.parametrize("value", [None, "0", ""])
async def test_otherwise(value: str | None, talking: Any, monkeypatch: pytest.MonkeyPatch):
    """Without it nothing of a frame is logged."""
    if value is None:
        monkeypatch.delenv("SURFACES_DEBUG_WS", raising=False)
    else:
        monkeypatch.setenv("SURFACES_DEBUG_WS", value)
    async with talking(FRAMES) as talk:
        with capture_logs() as logs:
            await talk.ask()
    assert logs == []
