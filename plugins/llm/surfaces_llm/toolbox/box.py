"""Owns the tools of a transport: those of plugins and of MCP servers, for each turn those that it may use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, RetryPromptPart, ToolCallPart, ToolReturnPart
from pydantic_ai.tools import ToolDefinition

from surfaces_core import AgentEvent, AgentRequest, Rejected, ToolPolicy, TransportContext
from surfaces_llm.toolbox.ledger import Ledger, prefix
from surfaces_llm.toolbox.policy import Rules, decide
from surfaces_llm.toolbox.servers import Servers
from surfaces_llm.toolbox.usable import BadArguments, Failed, Usable
from surfaces_llm.toolbox.use import Limits, Use

if TYPE_CHECKING:
    from surfaces_llm.settings import LlmOptions, LlmSettings

Result = ToolReturnPart | RetryPromptPart
"""What the model is told of a call."""


class Stopped(Exception):
    """The driver ends, and with it what ran."""


class Toolbox:
    """All tools there are, between `open` and `close`."""

    def __init__(
        self, settings: LlmSettings, rules: Rules, usable: Mapping[str, Usable], context: TransportContext
    ) -> None:
        self._rules = rules
        self._plugins = usable
        self._servers = Servers(settings.mcp, context.log)
        self._names = tuple(settings.mcp)
        self._limits = Limits(
            calls=settings.max_tool_calls, result_chars=settings.max_result_chars, answer_s=settings.ask_timeout_s
        )
        self._store = context.store
        self._log = context.log
        self._stack = AsyncExitStack()
        self._running: dict[str, TurnTools] = {}

    async def open(self) -> None:
        """Look at the servers."""
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.push_async_callback(self._servers.close)
        await self._servers.open()

    async def close(self) -> None:
        """Stop what runs, and hang up."""
        for turn in [*self._running.values()]:
            turn.stop()
        await self._stack.aclose()

    async def of_turn(self, request: AgentRequest, options: LlmOptions, asked: str) -> TurnTools:
        """What one turn may use, and where an earlier life of it was cut off. `asked` tells what it asks."""
        usable = {name: tool for name, tool in self._plugins.items() if self._policy(tool, request, options) != "deny"}
        for server in self._names:
            if any(name.startswith(f"{server}_") for name in options.tools):
                usable = {**{tool.name: tool for tool in await self._servers.tools(server)}, **usable}
        ledger = Ledger(self._store, request, asked)
        await ledger.open()
        turn = TurnTools(ledger=ledger, request=request, group=self._group)
        turn.use = Use(
            request,
            usable,
            lambda tool: self._policy(tool, request, options),
            ledger,
            turn.events.put_nowait,
            self._limits,
            self._log,
        )
        self._running[request.turn] = turn
        return turn

    def _policy(self, tool: Usable, request: AgentRequest, options: LlmOptions) -> ToolPolicy:
        return decide(tool.name, tool.policy, request, options.tools, self._rules)

    def over(self, turn: TurnTools) -> None:
        """A turn runs no longer."""
        if self._running.get(turn.request.turn) is turn:
            del self._running[turn.request.turn]

    def answer(self, request: AgentRequest, asked: str, approved: bool) -> None:
        """A person's answer to what a turn asked. `Rejected` where nobody waits for it."""
        turn = self._running.get(request.turn)
        if turn is None:
            raise Rejected("the turn is over")
        turn.use.answer(asked, approved)

    async def forget(self, agent: str, context: str) -> None:
        """Remove what turns of a context left; one that runs there leaves nothing."""
        for turn in self._running.values():
            if (turn.request.agent.id, turn.request.context) == (agent, context):
                turn.ledger.forgotten = True
        rows = await self._store.scan(prefix(agent, context))
        if rows:
            await self._store.write(dict.fromkeys(rows))


@dataclass(kw_only=True, eq=False)
class TurnTools:
    """What one turn may use."""

    ledger: Ledger
    request: AgentRequest
    group: asyncio.TaskGroup
    events: asyncio.Queue[AgentEvent | None] = field(default_factory=asyncio.Queue)
    use: Use = field(init=False)
    task: asyncio.Task[list[Result] | Exception] | None = None

    def definitions(self) -> Sequence[ToolDefinition]:
        """What the model is told of them."""
        return [
            ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.schema)
            for tool in self.use.offered.values()
        ]

    def before(self) -> list[ModelMessage]:
        """What had come of the question when an earlier life of the turn was cut off; the last of it calls tools."""
        try:
            return ModelMessagesTypeAdapter.validate_json(self.ledger.kept) if self.ledger.kept else []
        except ValidationError:  # of another version: the turn begins anew, and what ran is not run again
            return []

    def stop(self) -> None:
        """Stop what runs."""
        if self.task is not None:
            self.task.cancel()

    async def run(
        self, calls: Sequence[ToolCallPart], messages: list[ModelMessage]
    ) -> AsyncGenerator[AgentEvent | list[Result], None]:
        """Use tools, one after the other: what shows of it, and at last what the model is told.

        `messages` are all that came of the question so far. Closing it early stops what runs.
        """
        kept = ModelMessagesTypeAdapter.dump_json(messages)
        self.task = task = self.group.create_task(self._results(calls, kept))
        try:
            while (event := await self.events.get()) is not None:
                yield event
            await asyncio.wait([task])
            if task.cancelled():
                raise Stopped
            results = task.result()
            if isinstance(results, Exception):
                raise results
            yield results
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _results(self, calls: Sequence[ToolCallPart], kept: bytes) -> list[Result] | Exception:
        try:
            return [await self._result(call, kept) for call in calls]
        except Exception as error:  # noqa: BLE001 -- of the store, say: raised again where it is waited for
            return error
        finally:
            self.events.put_nowait(None)

    async def _result(self, call: ToolCallPart, kept: bytes) -> Result:
        name, own = call.tool_name, call.tool_call_id
        try:
            arguments = call.args_as_dict(raise_if_invalid=True)
            result = await self.use.use(name, arguments, name=own, messages=kept)
        except (BadArguments, ValueError, AssertionError) as error:
            return RetryPromptPart(content=str(error), tool_name=name, tool_call_id=own)
        except Failed as failure:
            return ToolReturnPart(tool_name=name, content=str(failure), tool_call_id=own, outcome="failed")
        return ToolReturnPart(tool_name=name, content=result, tool_call_id=own)
