"""Owns the driver: what the host sees of it. The model libraries are imported when it is opened, not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel

from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    Finding,
    Health,
    Section,
    Transport,
    TransportContext,
    Unavailable,
)
from surfaces_llm import words
from surfaces_llm.examining import examine
from surfaces_llm.settings import LlmOptions, LlmSettings, options_of
from surfaces_llm.toolbox.policy import check_name, parted
from surfaces_llm.toolbox.usable import of_plugins

if TYPE_CHECKING:
    from surfaces_llm.speaking import Speaking


class Llm(Transport):
    """Talks to language models, and keeps what was said in the host's storage.

    `Unavailable` means that no model gave anything and nothing was kept: models know nothing of a
    question once it is answered, so asking again is harmless, and every agent is `repeatable`. A turn
    that was answered and comes again gets the answer that is kept. What does not end well is not kept.

    Codes of its errors: `Unavailable` with LLM_UNREACHABLE, LLM_BUSY or LLM_TIMEOUT; `Rejected` with
    LLM_CUT_OFF, LLM_OVERTIME, LLM_PROTOCOL, LLM_SETUP, LLM_QUOTA, LLM_REFUSED, LLM_FILTERED, LLM_TOO_LONG
    or LLM_CLOSED.
    """

    Settings: ClassVar[type[BaseModel]] = LlmSettings
    AgentSettings: ClassVar[type[BaseModel]] = LlmOptions

    settings: LlmSettings
    context: TransportContext

    def __init__(self, settings: LlmSettings, context: TransportContext) -> None:
        super().__init__(settings, context)
        self._rules, tool_settings = parted(settings.tools, context.tools, settings.mcp)
        self._usable = of_plugins(context.tools, tool_settings)
        self.AgentSettings = options_of(lambda tool: check_name(tool, context.tools, settings.mcp))  # type: ignore[misc]
        self._speaking: Speaking | None = None

    async def __aenter__(self) -> Self:
        speaking, box = [
            await asyncio.to_thread(import_module, f"surfaces_llm.{name}")  # which takes a second or two
            for name in ("speaking", "toolbox.box")
        ]
        toolbox = box.Toolbox(self.settings, self._rules, self._usable, self.context)
        self._speaking = speaking.Speaking(self.settings, self.context, toolbox)
        await self._open().open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        speaking, self._speaking = self._open(), None
        await speaking.close()

    def _open(self) -> Speaking:
        if self._speaking is None:
            raise Unavailable("the driver is not open", code="LLM_CLOSED")
        return self._speaking

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn."""
        async with aclosing(self._open().run(request, _options(request.agent))) as events:
            async for event in events:
                yield event

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """Whether a tool may be used."""
        self._open().answer(request, question, approved)

    async def forget(self, agent: Agent, context: str) -> None:
        """Remove what is kept of a context."""
        await self._open().forget(agent, context)

    async def rest(self, agent: Agent, context: str) -> None:
        """Nothing is kept open for a context."""

    async def check(self, agent: Agent) -> Health:
        """Ask the providers of the agent's models for their list of models, until one answers."""
        return await self._open().check(agent, _options(agent))

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """Whether the agents' models are there."""
        return list(examine(self.settings, agents))

    async def describe(self, agent: Agent) -> Sequence[Section]:
        """Which models answer, and what they remember."""
        options = _options(agent)
        names = ", ".join(f"`{name}`" for name in self._open().models(options).values())
        kept = words.KEPT() if options.mode == "kept" else words.STATELESS(options.history_messages)
        tools = ", ".join(f"`{name}`" for name in options.tools)
        lines = (words.MODELS(names=names), kept, *((words.TOOLS(names=tools),) if tools else ()))
        return (Section(title=words.MODEL(), lines=lines),)

    def history(self, agent: Agent) -> int:
        """As many messages as a stateless agent is to read again."""
        options = _options(agent)
        return options.history_messages if options.mode == "stateless" else 0

    def repeatable(self, agent: Agent) -> bool:
        """Always: see above."""
        return True


def _options(agent: Agent) -> LlmOptions:
    return LlmOptions.model_validate(dict(agent.options))
