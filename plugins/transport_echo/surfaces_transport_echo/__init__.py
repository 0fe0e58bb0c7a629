"""A transport without an agent: it says back what it hears, for demos, tests and as an example of the contract."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator

from pydantic import Field

from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    End,
    Health,
    Settings,
    Text,
    Transport,
    TransportContext,
    Unavailable,
)

HISTORY = "history"
"""The question that is answered with what was said in its context."""
REMEMBERED = 20
"""Messages of a context, the newest."""


class EchoSettings(Settings):
    """What `transports:` may say."""

    delay_s: float = Field(default=0.0, ge=0, le=60, description="Seconds before each word, to see answers stream.")


class EchoAgentSettings(Settings):
    """What the registry entry of an agent may say."""

    away: bool = Field(default=False, description="It cannot be reached, to see what people are told then.")


class Echo(Transport):
    """Says each message back word by word, and each attachment by its name; `history` tells what was said before."""

    Settings = EchoSettings
    AgentSettings = EchoAgentSettings

    settings: EchoSettings

    def __init__(self, settings: EchoSettings, context: TransportContext) -> None:
        super().__init__(settings, context)
        self._said: dict[tuple[str, str], dict[str, str]] = {}
        """Text by turn, so that a turn that is asked again counts once; by agent and context."""

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn."""
        if self._is_away(request.agent):
            raise Unavailable(f"agent {request.agent.id} is said to be away")
        for word in _words(self._answer(request)):
            await asyncio.sleep(self.settings.delay_s)
            yield Text(word)
        yield End()

    def _answer(self, request: AgentRequest) -> str:
        said = self._said.setdefault((request.agent.id, request.context), {})
        before = [text for turn, text in said.items() if turn != request.turn]
        if request.text.strip().casefold() == HISTORY:
            return "\n".join(f"{number}. {text}" for number, text in enumerate(before, 1)) or "1. …"
        said[request.turn] = request.text
        if len(said) > REMEMBERED:
            del said[next(iter(said))]
        files = [f"- {path}" for path in request.attachments]
        return "\n\n".join(filter(None, [request.text, "\n".join(files)])) or "…"

    async def forget(self, agent: Agent, context: str) -> None:
        """The context is over."""
        self._said.pop((agent.id, context), None)

    async def rest(self, agent: Agent, context: str) -> None:
        """Nothing is open; what was said stays for when the conversation comes back."""

    async def check(self, agent: Agent) -> Health:
        """Always there, unless it is said to be away."""
        return Health(reachable=False, code="AGENT_UNREACHABLE") if self._is_away(agent) else Health(reachable=True)

    def repeatable(self, agent: Agent) -> bool:
        """A turn that is asked again is answered alike, and counts once."""
        return True

    def _is_away(self, agent: Agent) -> bool:
        return self.AgentSettings.model_validate(dict(agent.options)).away


def _words(text: str) -> Iterator[str]:
    """A text in pieces that join to it again, each a word with the space behind it."""
    return iter(re.findall(r"\s*\S+\s*", text))
