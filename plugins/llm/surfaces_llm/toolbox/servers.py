"""Owns the MCP servers of the config: what they offer, calls to them, and what becomes of those that fail.

A server costs nobody but its own tools: where it is missing, dies or hangs, a line in the log says so
once, its tools are not offered for a while, and a call to it is a failure that the model hears of.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog
from pydantic import Field, SecretStr, model_validator

import surfaces_core
from surfaces_core import AgentRequest, ToolPolicy
from surfaces_llm.toolbox.usable import Arguments, Failed, Report, Usable

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai.mcp import MCPToolset

SPARED_S = 30.0
"""A server that failed is not asked again for so long."""
READ_S = 300.0
"""A stream that is held open may be silent for so long."""
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class McpServer(surfaces_core.Settings):
    """One MCP server: a program that is started (`command`), or one that runs elsewhere (`url`)."""

    command: str | None = Field(None, description="The program that is started and spoken to over its standard input.")
    args: tuple[str, ...] = Field((), description="Its arguments.")
    env: Mapping[str, SecretStr] = Field({}, description="Its environment, beside `PATH`, `HOME` and the language.")
    url: str | None = Field(None, pattern=r"^https?://", description="Where it serves, over HTTP.")
    headers: Mapping[str, SecretStr] = Field({}, description="What it is told with each request, a key say.")
    policy: ToolPolicy = Field("ask", description="Who may use its tools where no rule under `tools` says anything.")
    start_timeout_s: float = Field(10.0, gt=0, le=300, description="How long it may take to say what it offers.")
    call_timeout_s: float = Field(60.0, gt=0, le=3600, description="How long one call may take.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("say either command or url")
        return self


@dataclass(slots=True)
class _State:
    toolset: MCPToolset[Any]
    client: httpx2.AsyncClient | None
    """With which one that runs elsewhere is asked."""
    offered: Sequence[Usable] | None = None
    spared_until: float = 0.0
    down: bool = False


class Servers:
    """The MCP servers, between `open` and `close`."""

    def __init__(self, settings: Mapping[str, McpServer], log: structlog.typing.FilteringBoundLogger) -> None:
        self._settings = settings
        self._log = log
        self._states: dict[str, _State] = {}
        self._locks = {name: asyncio.Lock() for name in settings}

    async def open(self) -> None:
        """Ask all of them once what they offer, so that those that are missing are told of at the start."""
        if not self._settings:
            return
        mcp = await asyncio.to_thread(import_module, "pydantic_ai.mcp")  # which takes a second
        for name, settings in self._settings.items():
            client = _client(settings) if settings.url is not None else None
            self._states[name] = _State(toolset=_toolset(mcp.MCPToolset, settings, client), client=client)
        async with asyncio.TaskGroup() as group:
            for name in self._settings:
                group.create_task(self.tools(name))

    async def close(self) -> None:
        """Hang up, and end the programs that were started."""
        for name, state in self._states.items():
            with suppress(Exception):
                async with asyncio.timeout(self._settings[name].start_timeout_s):
                    await state.toolset.client.transport.close()
            if state.client is not None:
                await state.client.aclose()
        self._states.clear()

    async def tools(self, server: str) -> Sequence[Usable]:
        """What a server offers now; nothing while it fails."""
        state, now = self._states[server], asyncio.get_running_loop().time
        async with self._locks[server]:
            if state.offered is None and now() >= state.spared_until:
                await self._list(server, state)
        return state.offered or ()

    async def _list(self, server: str, state: _State) -> None:
        settings = self._settings[server]
        try:
            async with asyncio.timeout(settings.start_timeout_s):
                found = await state.toolset.list_tools()
        except Exception as error:  # noqa: BLE001 -- a stranger's program behind a stranger's library
            self._failed(server, error)
            return
        if state.down:
            self._log.info("mcp.back", server=server)
        state.down = False
        state.offered = [self._usable(server, tool) for tool in found if self._fits(server, tool.name)]

    def _fits(self, server: str, tool: str) -> bool:
        """Whether models take the name; one that does not fit would cost every answer that could use it."""
        fits = NAME.fullmatch(f"{server}_{tool}") is not None
        if not fits:
            self._log.warning("mcp.name", server=server, problem="a tool's name does not fit")
        return fits

    def _failed(self, server: str, error: Exception) -> None:
        state = self._states[server]
        state.offered = None
        state.spared_until = asyncio.get_running_loop().time() + SPARED_S
        if not state.down:
            self._log.warning("mcp.unavailable", server=server, error=type(_first(error)).__name__)
        state.down = True

    def _usable(self, server: str, tool: Any) -> Usable:
        settings = self._settings[server]

        async def call(name: str, arguments: Any, request: AgentRequest, report: Report) -> str:
            return await self._call(server, tool.name, arguments)

        return Usable(
            name=f"{server}_{tool.name}",
            description=tool.description or "",
            schema=dict(tool.input_schema if hasattr(tool, "input_schema") else tool.inputSchema),
            check=_any,
            call=call,
            policy=settings.policy,
            timeout_s=settings.call_timeout_s,
        )

    async def _call(self, server: str, tool: str, arguments: Any) -> str:
        from pydantic_ai import ModelRetry, ToolFailed

        state = self._states.get(server)
        if state is None:
            raise Failed("The server of this tool is gone.")
        try:
            return _text(await state.toolset.direct_call_tool(tool, dict(arguments)))
        except ToolFailed as error:
            raise Failed(error.message) from error
        except ModelRetry as error:  # the protocol failed, or the connection
            state.offered = None
            raise Failed("The server of this tool does not answer as it should.") from error
        except Exception as error:
            self._failed(server, error)
            raise Failed("The server of this tool cannot be reached.") from error


def _any(arguments: Arguments) -> Arguments:
    """The server checks what it gets."""
    return arguments


def _toolset(kind: type[MCPToolset[Any]], settings: McpServer, client: httpx2.AsyncClient | None) -> MCPToolset[Any]:
    if settings.url is not None:
        return kind(settings.url, http_client=client, tool_error_behavior="failed", cache_tools=False)
    from fastmcp.client.transports import StdioTransport

    program = StdioTransport(
        settings.command or "",
        list(settings.args),
        env={name: value.get_secret_value() for name, value in settings.env.items()},
        log_file=Path(os.devnull),
    )
    return kind(program, tool_error_behavior="failed", cache_tools=False)


def _client(settings: McpServer) -> httpx2.AsyncClient:
    """As the library would make one, but that no proxy of the environment is told the headers."""
    import httpx2

    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    timeout = httpx2.Timeout(settings.start_timeout_s, read=max(READ_S, settings.call_timeout_s))
    return httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _text(result: Any) -> str:
    """What a server gave, as text for the model."""
    if isinstance(result, str):
        return result
    if isinstance(result, list):
        return "\n".join(_text(part) for part in result)
    if hasattr(result, "media_type"):
        return f"[{result.media_type}, which cannot be shown here]"
    return json.dumps(result, ensure_ascii=False, default=str)
