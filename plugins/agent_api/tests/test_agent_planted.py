"""The contract checks see faults that are planted into AgentApi."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from surfaces_agent_api import AgentApi
from surfaces_core import Agent, AgentEvent, AgentRequest, End, Health, Rejected, Text, Unavailable
from surfaces_core.testing import planted

from .test_agent_contract import test_contract as contract

RUN = AgentApi.run


def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn just stops."""
    _through(monkeypatch, lambda event: None if isinstance(event, End) else event)


def no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the agent says is left out."""
    _through(monkeypatch, lambda event: None if isinstance(event, Text) else event)


def frames_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are passed on as plain strings."""
    _through(monkeypatch, lambda event: event.text if isinstance(event, Text) else event)


def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question is answered with yes, by nobody."""

    async def run(self: AgentApi, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in RUN(self, request):
            if type(event).__name__ == "Confirm":
                await self.answer(request, event.id, True)  # type: ignore[union-attr]
            else:
                yield event

    monkeypatch.setattr(AgentApi, "run", run)


def gives_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that cannot be reached is not tried again."""

    async def run(self: AgentApi, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        try:
            async for event in RUN(self, request):
                yield event
        except Unavailable as error:
            raise Rejected(str(error), public="No.") from error

    monkeypatch.setattr(AgentApi, "run", run)


def one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """All conversations talk in the same context."""

    async def run(self: AgentApi, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in RUN(self, replace(request, context="1")):
            yield event

    monkeypatch.setattr(AgentApi, "run", run)


def always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every agent is said to be reachable."""

    async def check(self: AgentApi, agent: Agent) -> Health:
        return Health(reachable=True)

    monkeypatch.setattr(AgentApi, "check", check)


def no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why an agent is away is not said."""
    original = AgentApi.check

    async def check(self: AgentApi, agent: Agent) -> Health:
        return Health(reachable=(await original(self, agent)).reachable)

    monkeypatch.setattr(AgentApi, "check", check)


def repeats_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every agent is said to know repeats, also one that counts them."""
    monkeypatch.setattr(AgentApi, "repeatable", lambda self, agent: True)


def perhaps_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether an agent knows repeats is not said."""
    monkeypatch.setattr(AgentApi, "repeatable", lambda self, agent: None)


def settings_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown settings are passed over."""
    monkeypatch.setitem(AgentApi.AgentSettings.model_config, "extra", "ignore")


def _through(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    async def run(self: AgentApi, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in RUN(self, request):
            changed = change(event)
            if changed is not None:
                yield changed

    monkeypatch.setattr(AgentApi, "run", run)


test_planted = planted.are_caught(
    contract,
    {
        no_end: "answer",
        no_text: "answer",
        frames_as_they_come: "turn_after_turn",
        no_questions: "confirm",
        gives_up_at_once: "unreachable",
        one_context: "memory",
        always_there: "health",
        no_reason: "health",
        repeats_are_fine: "repeatable",
        perhaps_repeatable: "repeatable",
        settings_of_any_kind: "made_quietly",
    },
    send_message_id=False,
)
