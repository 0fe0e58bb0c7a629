"""Owns what a turn can call: a tool of a plugin or of an MCP server, in one shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from surfaces_core import AgentRequest, AgentTool, Progress, ToolCall, ToolPolicy

Arguments = Mapping[str, Any]
"""As the model wrote them."""
Report = Callable[[Progress], None]


class BadArguments(ValueError):
    """The model's arguments do not fit; it may try again."""


class Failed(Exception):
    """A tool could not do what it was asked; the message is for the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """One tool that a turn can call."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON Schema of its arguments."""
    check: Callable[[Arguments], Any]
    """What the handler gets. Raises `BadArguments`."""
    call: Callable[[str, Any, AgentRequest, Report], Awaitable[str]]
    """Raises `Failed`, `DriverError` or `CommandError` for what the model may know."""
    policy: ToolPolicy
    """The tool's own, where the operator says nothing."""
    timeout_s: float


def of_plugin(tool: AgentTool, settings: BaseModel) -> Usable:
    """A tool of a plugin, with what the operator set."""

    def check(arguments: Arguments) -> BaseModel:
        try:
            return tool.arguments.model_validate(arguments)
        except ValidationError as error:
            raise BadArguments(str(error)) from error

    async def call(name: str, arguments: Any, request: AgentRequest, report: Report) -> str:
        return await tool.handler(
            ToolCall(id=name, arguments=arguments, request=request, settings=settings, progress=report)
        )

    return Usable(
        name=tool.name,
        description=tool.description,
        schema=tool.arguments.model_json_schema(),
        check=check,
        call=call,
        policy=tool.policy,
        timeout_s=tool.timeout_s,
    )


def of_plugins(tools: Mapping[str, AgentTool], settings: Mapping[str, BaseModel]) -> Mapping[str, Usable]:
    """The tools of plugins whose settings are complete."""
    return {name: of_plugin(tool, settings[name]) for name, tool in tools.items() if name in settings}
