"""Owns the tools that a model is offered, and their use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from pydantic import ValidationError
from pydantic_ai.messages import ToolCallPart, ToolReturnPart
from pydantic_ai.tools import ToolDefinition
from structlog.typing import FilteringBoundLogger

from surfaces_core import AgentEvent, AgentRequest, AgentTool, CommandError, DriverError, Tool, ToolCall
from surfaces_llm.settings import LlmOptions

LONGEST_RESULT = 50_000
"""Characters of a result that the model gets."""


class Toolbox:
    """The tools that plugins contributed, for those agents whose entries name them."""

    def __init__(self, tools: Mapping[str, AgentTool], log: FilteringBoundLogger) -> None:
        self._tools = tools
        self._log = log

    def offered(self, options: LlmOptions) -> Sequence[ToolDefinition]:
        """What the model is told of an agent's tools."""
        return [
            ToolDefinition(
                name=tool.name,
                description=tool.description,
                parameters_json_schema=tool.arguments.model_json_schema(),
            )
            for tool in self._allowed(options)
        ]

    def _allowed(self, options: LlmOptions) -> Sequence[AgentTool]:
        named = [self._tools[name] for name in options.tools if name in self._tools]
        return [tool for tool in named if tool.policy == "allow"]

    async def use(
        self, call: ToolCallPart, request: AgentRequest, options: LlmOptions
    ) -> AsyncGenerator[AgentEvent | ToolReturnPart, None]:
        """Use a tool: what shows of it, and at last what the model is told."""
        yield Tool(name=call.tool_name, id=call.tool_call_id)
        result = await self._result(call, request, options)
        yield Tool(name=call.tool_name, id=call.tool_call_id, done=True)
        yield ToolReturnPart(tool_name=call.tool_name, content=result[:LONGEST_RESULT], tool_call_id=call.tool_call_id)

    async def _result(self, call: ToolCallPart, request: AgentRequest, options: LlmOptions) -> str:
        tool = next((tool for tool in self._allowed(options) if tool.name == call.tool_name), None)
        if tool is None:
            return "There is no such tool."
        try:
            arguments = tool.arguments.model_validate(call.args_as_dict())
        except (ValidationError, ValueError) as error:
            return f"The arguments are wrong: {error}"
        try:
            async with asyncio.timeout(tool.timeout_s):
                return await tool.handler(ToolCall(id=call.tool_call_id, arguments=arguments, request=request))
        except TimeoutError:
            return "The tool took too long and was stopped."
        except (DriverError, CommandError) as error:
            return error.public
        except Exception:  # noqa: BLE001 -- a bug in a tool must not end the turn that it helps
            self._log.exception("tool.bug", tool=tool.name)
            return "The tool failed."
