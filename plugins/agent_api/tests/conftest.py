"""A transport and a reference agent that talk over a real socket on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from surfaces_agent_api import AgentApi, AgentApiSettings
from surfaces_agent_api.reference import ReferenceAgent
from surfaces_agent_api.reference.faults import FAULTS, Fault
from surfaces_core import Agent, AgentEvent, AgentRequest, DriverError, End, Text
from surfaces_core.testing.driver_contexts import transport_context

_turns = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of a turn."""

    events: list[AgentEvent] = field(default_factory=list)
    failure: DriverError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def ended(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], End)

    @property
    def code(self) -> str:
        return self.failure.code if self.failure else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A transport, the agent it talks to, and that agent's entry in the registry."""

    transport: AgentApi
    peer: ReferenceAgent
    agent: Agent

    def request(self, text: str = "hello", context: str = "1", **members: object) -> AgentRequest:
        request = AgentRequest(turn=f"turn-{next(_turns)}", agent=self.agent, context=context, text=text)
        return replace(request, **members)  # type: ignore[arg-type]

    async def hear(self, request: AgentRequest) -> Heard:
        events: list[AgentEvent] = []
        try:
            async with aclosing(self.transport.run(request)) as turn:
                async for event in turn:
                    events.append(event)  # noqa: PERF401 -- what came before a failure counts
        except DriverError as error:
            return Heard(events=events, failure=error)
        return Heard(events=events)

    async def ask(self, text: str = "hello", context: str = "1", **members: object) -> Heard:
        return await self.hear(self.request(text, context, **members))

    def sent(self, kind: str) -> list[dict[str, object]]:
        """The frames of this type that the agent got."""
        return [got.frame for got in self.peer.received if got.frame["type"] == kind]


OpenTalk = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
def talking(tmp_path: Path) -> OpenTalk:
    """`async with talking(fault, status_timeout_s=…, options={…}) as talk`; keywords are settings."""

    @asynccontextmanager
    async def talk(
        fault: str | Fault | None = None, *, options: dict[str, object] | None = None, **settings: object
    ) -> AsyncIterator[Talk]:
        planted = FAULTS[fault] if isinstance(fault, str) else fault
        async with (
            ReferenceAgent(prefix="/agent_17", workspace=tmp_path, fault=planted) as peer,
            AgentApi(AgentApiSettings.model_validate(settings), transport_context("agent_api")) as transport,
        ):
            entry = {"base_url": peer.base_url, **(options or {})}
            agent = Agent(id="agent-17", label="Agent 17", transport="agent_api", workspace="17", options=entry)
            yield Talk(transport=transport, peer=peer, agent=agent)

    return talk
