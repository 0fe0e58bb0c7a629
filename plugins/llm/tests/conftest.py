"""A transport, the server that it talks to, and no way to any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from pydantic_ai import models

from surfaces_core import Agent, AgentEvent, AgentRequest, DriverError, End, Text
from surfaces_core.testing.driver_contexts import MemoryStore, transport_context
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_llm import Llm, LlmSettings
from surfaces_testing.models import ModelServer

_turns = count(1)
models.ALLOW_MODEL_REQUESTS = False
"""No test asks a model unless it asks for our server."""


@pytest.fixture(autouse=True)
def strange_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key or address of the environment is used: what is configured is all there is."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "http://leak.invalid/")


@pytest.fixture
def local() -> Iterator[None]:
    """Requests to our own server are model requests, too."""
    with models.override_allow_model_requests(True):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of a turn."""

    events: list[AgentEvent] = field(default_factory=list)
    failure: DriverError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def pieces(self) -> int:
        return sum(isinstance(event, Text) for event in self.events)

    @property
    def tokens(self) -> int | None:
        end = self.events[-1] if self.events else None
        return end.tokens if isinstance(end, End) else None

    @property
    def code(self) -> str:
        return self.failure.code if self.failure else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A transport, the server it talks to, and an agent's entry in the registry."""

    transport: Llm
    server: ModelServer
    agent: Agent
    store: MemoryStore
    files: MemoryFiles

    def request(self, text: str = "hello", context: str = "1", **members: Any) -> AgentRequest:
        request = AgentRequest(turn=f"turn-{next(_turns)}", agent=self.agent, context=context, text=text)
        return replace(request, **members)

    async def hear(self, request: AgentRequest) -> Heard:
        events: list[AgentEvent] = []
        try:
            async with aclosing(self.transport.run(request)) as turn:
                async for event in turn:
                    events.append(event)  # noqa: PERF401 -- what came before a failure counts
        except DriverError as error:
            return Heard(events=events, failure=error)
        return Heard(events=events)

    async def ask(self, text: str = "hello", context: str = "1", **members: Any) -> Heard:
        return await self.hear(self.request(text, context, **members))

    @property
    def last(self) -> list[tuple[str, str]]:
        """The conversation as the model got it the last time."""
        return self.server.record.asked[-1].said

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The same, as it went to a server that speaks as OpenAI's does."""
        return list(self.server.record.asked[-1].body["messages"])


OpenTalk = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture
def talking(local: None) -> OpenTalk:
    """`async with talking(options={…}, models={…}, store=…, tools=[…]) as talk`: one life of the transport.

    `models` change what is said of `small` and `large`, two models of one server.
    """

    @asynccontextmanager
    async def talk(
        *,
        options: dict[str, object] | None = None,
        models: dict[str, dict[str, object]] | None = None,
        store: MemoryStore | None = None,
        server: ModelServer | None = None,
        tools: Any = (),
        **settings: object,
    ) -> AsyncIterator[Talk]:
        store, files = store or MemoryStore(), MemoryFiles()
        context = transport_context("llm", store=store, files=files, tools=tools)
        async with server or ModelServer() as peer:
            base: dict[str, object] = {"provider": "openai", "base_url": peer.base_url}
            entries = {name: {**base, "model": name, **(models or {}).get(name, {})} for name in ("small", "large")}
            parsed = LlmSettings.model_validate({"models": entries, **settings})
            async with Llm(parsed, context) as transport:
                agent = Agent(
                    id="a", label="A", transport="llm", workspace="w", options={"model": "small", **(options or {})}
                )
                yield Talk(transport=transport, server=peer, agent=agent, store=store, files=files)

    return talk
