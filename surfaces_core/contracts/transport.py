"""Contract of a transport: the way to agents of one protocol."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel

from surfaces_core.contracts.driver import Context, Driver, Section, Settings, Store
from surfaces_core.contracts.files import Files
from surfaces_core.contracts.tools import AgentTool
from surfaces_core.errors import Rejected
from surfaces_core.events import Agent, AgentEvent, AgentRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportContext(Context):
    """What a transport is handed beside its settings."""

    store: Store
    """Durable; what is kept for one context is removed in `Transport.forget`."""
    files: Files
    """To open the attachments of a request in `agent.workspace`."""
    tools: Mapping[str, AgentTool] = field(default_factory=dict)
    """What plugins contributed for agents to use, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a look at an agent found."""

    reachable: bool | None
    """None: this transport cannot tell without asking a question."""
    code: str = ""
    """Why not, as a stable word like `AGENT_UNREACHABLE`."""
    detail: str = ""
    """The same for whoever reads the log; no secrets."""


class Transport(Driver):
    """Talks to agents. It never learns which surface asked."""

    context: TransportContext

    AgentSettings: ClassVar[type[BaseModel]] = Settings
    """What the registry entry of an agent of this transport may say beside id, label and workspace.

    The host checks `Agent.options` against it at start; parse it again with
    `self.AgentSettings.model_validate(agent.options)`.
    """

    @abstractmethod
    def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn; ends with `End`. Closing it early stops the agent's work.

        `Unavailable` only while the agent has seen nothing of the request; afterwards every failure
        is `Rejected`, and what came before it stays said.
        """

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """Answer a `Confirm` of a running turn. `Rejected` when it can't; its turn is then cut off."""
        raise Rejected("this transport asks nothing")

    async def forget(self, agent: Agent, context: str) -> None:
        """The context is over and never comes back: close what is kept open for it, and remove what is stored."""

    async def rest(self, agent: Agent, context: str) -> None:
        """The conversation was put away or left, and may come back with this context: close what is open."""
        await self.forget(agent, context)

    async def check(self, agent: Agent) -> Health:
        """Whether an agent can be reached, without asking it anything; raises nothing but bugs."""
        return Health(reachable=None)

    async def describe(self, agent: Agent) -> Sequence[Section]:
        """What an agent publishes of itself (skills, persona), for `!settings`. `Unavailable` or `Rejected`."""
        return ()

    def history(self, agent: Agent) -> int:
        """How many earlier messages a request to this agent carries, read again from the messenger each time."""
        return 0

    def repeatable(self, agent: Agent) -> bool:
        """Whether an agent recognises a repeated `AgentRequest.turn`, so that asking again is harmless."""
        return False
