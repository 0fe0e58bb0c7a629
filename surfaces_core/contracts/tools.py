"""Contract of tools that agents use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from surfaces_core.contracts.driver import Settings
from surfaces_core.events import AgentRequest, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One use of a tool by an agent. It ends early by cancellation: of the turn, or when its time is up."""

    id: str
    """The agent's own name for this call, unique within its turn."""
    arguments: Any
    """An instance of the tool's `arguments`, checked."""
    request: AgentRequest
    """The turn that it belongs to."""
    settings: Any = field(default_factory=Settings)
    """An instance of the tool's `settings`: what the operator said, checked at start."""
    progress: Callable[[Progress], None] = lambda step: None
    """Shows how far it is; may be called at any time."""


ToolHandler = Callable[[ToolCall], Awaitable[str]]


ToolPolicy = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTool:
    """Something that agents may do, where their transport gives them tools.

    The handler's answer goes to the agent. So does the sentence of a `DriverError` or `CommandError`, as
    a failure that it can act on; any other exception is a bug, and the agent is told that the tool failed.
    A turn may be run again after a crash, and with it the handler.
    """

    name: str
    """1 to 64 characters of `a-z0-9_-`, unique over all plugins."""
    description: str
    """For the agent, in English: what it does and when to use it."""
    arguments: type[BaseModel]
    """Its fields' descriptions are for the agent too."""
    handler: ToolHandler
    policy: ToolPolicy = "ask"
    """Where the operator says nothing else: `ask` asks the person each time."""
    settings: type[BaseModel] = Settings
    """What the operator may say of it under `tools:` of a transport. With a required one it is off until they do."""
    timeout_s: float = 60.0
