"""The contract checks see faults that are planted into the echo."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from surfaces_core import Agent, AgentEvent, AgentRequest, End, Health
from surfaces_core.testing import contract, planted
from surfaces_transport_echo import Echo


def forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context that is over is still known."""

    async def forget(self: Echo, agent: Agent, context: str) -> None:
        """Nothing."""

    monkeypatch.setattr(Echo, "forget", forget)


def contexts_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said in one context is known in all."""
    original = Echo._answer
    monkeypatch.setattr(Echo, "_answer", lambda self, request: original(self, replace(request, context="one")))


def ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a turn is not said."""
    original = Echo.run

    async def run(self: Echo, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in original(self, request):
            if not isinstance(event, End):
                yield event

    monkeypatch.setattr(Echo, "run", run)


def always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is away is said to be there."""

    async def check(self: Echo, agent: Agent) -> Health:
        return Health(reachable=True)

    monkeypatch.setattr(Echo, "check", check)


test_planted = planted.are_caught(
    contract.transport(Echo, unreachable={"away": True}, recall="history", forgets=True),
    {forgets_nothing: "forget", contexts_are_one: "memory", ends_in_silence: "answer", always_there: "health"},
)
