"""MCP servers: real ones, as a program and over HTTP, and those that are missing, crash, hang or lie."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from pydantic import ValidationError
from structlog.testing import capture_logs

from surfaces_core import AgentRequest
from surfaces_llm import LlmSettings
from surfaces_llm.toolbox.servers import McpServer, Servers
from surfaces_llm.toolbox.usable import Failed, Usable
from surfaces_testing.models import Reply, ToolUse

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
TINY = str(Path(__file__).with_name("tiny_mcp.py"))


@asynccontextmanager
async def running(**settings: dict[str, Any]) -> AsyncIterator[Servers]:
    parsed = {name: McpServer.model_validate(said) for name, said in settings.items()}
    servers = Servers(parsed, structlog.get_logger("mcp"))
    await servers.open()
    try:
        yield servers
    finally:
        await servers.close()


def program(**more: object) -> dict[str, object]:
    return {"command": sys.executable, "args": [TINY], "start_timeout_s": 30, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny() -> AsyncIterator[Servers]:
    async with running(tiny=program(env={"TOKEN": "t"})) as servers:
        yield servers


@pytest.fixture(scope="module")
def http() -> Iterator[str]:
    """The same server over HTTP on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, TINY, str(port)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def use(servers: Servers, tool: str, **arguments: object) -> str:
    """One call, by the name that the model knows."""
    found = await _tool(servers, tool)
    request: Any = AgentRequest.__new__(AgentRequest)
    async with asyncio.timeout(found.timeout_s):
        return await found.call("1", arguments, request, lambda step: None)


async def _tool(servers: Servers, tool: str) -> Usable:
    return next(each for each in await servers.tools(tool.partition("_")[0]) if each.name == tool)


async def test_a_program_is_started_and_its_tools_have_its_name(tiny: Servers):
    """Its tools come with description and schema under `server_tool`; a name that models refuse is left out."""
    tools = {each.name: each for each in await tiny.tools("tiny")}
    assert sorted(tools) == ["tiny_add", "tiny_crash", "tiny_fail", "tiny_hang", "tiny_variables"]
    assert (tools["tiny_add"].description, tools["tiny_add"].policy) == ("Adds two numbers.", "ask")
    assert set(tools["tiny_add"].schema["properties"]) == {"a", "b"}
    assert await use(tiny, "tiny_add", a=1, b=2) == "3"


async def test_it_sees_nothing_of_the_hosts_environment(tiny: Servers, monkeypatch: pytest.MonkeyPatch):
    """A program gets what the config gives it and a few harmless names."""
    assert set((await use(tiny, "tiny_variables")).split()) <= {
        *("HOME", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TOKEN", "USER"),
    }


async def test_what_a_tool_says_of_its_failure_reaches_the_model(tiny: Servers):
    """A failed call, and one with arguments that are wrong, is a failure with the server's words."""
    with pytest.raises(Failed, match="fail"):
        await use(tiny, "tiny_fail")
    with pytest.raises(Failed, match="valid integer"):
        await use(tiny, "tiny_add", a="x", b=2)


async def test_a_server_that_crashes_is_there_again(tiny: Servers):
    """The call that ends it fails; the next one finds it started anew."""
    with pytest.raises(Failed, match="server of this tool"):
        await use(tiny, "tiny_crash")
    assert await use(tiny, "tiny_add", a=2, b=2) == "4"


async def test_a_call_that_hangs_harms_no_other(tiny: Servers):
    """While one call never ends, another one is answered, and it can be given up."""
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(use(tiny, "tiny_hang"))
        assert await use(tiny, "tiny_add", a=3, b=2) == "5"
        hanging.cancel()
    assert await use(tiny, "tiny_add", a=3, b=3) == "6"


async def test_over_http(http: str, monkeypatch: pytest.MonkeyPatch):
    """A server that runs elsewhere is asked over HTTP, past proxies, and one that starts late is found then."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running(far={"url": http, "headers": {"Authorization": "Bearer s"}, "policy": "allow"}) as servers:
        async with asyncio.timeout(30):
            while not await servers.tools("far"):
                servers._states["far"].spared_until = 0
                await asyncio.sleep(0.1)
        assert await use(servers, "far_add", a=4, b=4) == "8"
        assert (await _tool(servers, "far_add")).policy == "allow"


async def test_those_that_are_missing_are_told_of_once(monkeypatch: pytest.MonkeyPatch):
    """A program that is not there, a port where nobody listens, one that says nothing: a line each, and a host that
    starts; they are spared for a while and then asked again without another line.
    """
    with capture_logs() as logs:
        async with running(
            gone={"command": "/none/there"},
            shut={"url": "http://127.0.0.1:9/mcp"},
            mute={"command": "/bin/cat", "start_timeout_s": 0.2},
            wrong={"command": "/bin/echo", "args": ["hello"], "start_timeout_s": 2},
        ) as servers:
            assert [await servers.tools(name) for name in ("gone", "shut", "mute", "wrong")] == [(), (), (), ()]
            assert servers._states["gone"].spared_until > asyncio.get_running_loop().time()
            servers._states["gone"].spared_until = 0
            assert await servers.tools("gone") == ()
    told = [line["server"] for line in logs if line["event"] == "mcp.unavailable"]
    assert sorted(told) == ["gone", "mute", "shut", "wrong"]


async def test_its_end_is_the_drivers_end():
    """When the driver is closed, the program that it started is gone."""
    before = _children()
    async with running(tiny=program()) as servers:
        assert await use(servers, "tiny_add", a=1, b=1) == "2"
        assert len(_children() - before) == 1
    assert not _children() - before


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_a_model_uses_one(talking: Any):
    """Through the whole transport: offered by its prefixed name, allowed by the server's pattern, used, told."""
    options = {"tools": {"tiny_*": "allow"}}
    async with talking(options=options, mcp={"tiny": program()}) as talk:
        talk.server.brain = lambda asked: (
            Reply(text=asked.body["messages"][-1]["content"])
            if asked.body["messages"][-1]["role"] == "tool"
            else Reply(tools=(ToolUse(name="tiny_add", arguments={"a": 20, "b": 22}),))
        )
        assert (await talk.ask(sender="@ann")).text == "42"
        offered = [each["function"]["name"] for each in talk.server.record.asked[0].body["tools"]]
    assert "tiny_add" in offered


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tiny": {}}, "either command or url"),
        ({"tiny": {"command": "x", "url": "http://x"}}, "either command or url"),
        ({"tiny": {"url": "ftp://x"}}, "pattern"),
        ({"Tiny_": {"command": "x"}}, "pattern"),
    ],
)
async def test_settings_that_cannot_work(wrong: dict[str, Any], said: str):
    """They are refused at start."""
    model = {"provider": "ollama", "model": "m"}
    with pytest.raises(ValidationError, match=said):
        LlmSettings.model_validate({"models": {"m": model}, "mcp": wrong})


async def test_without_the_library_it_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """Where the extra is not installed, the config says which."""
    monkeypatch.setattr("surfaces_llm.settings._is_installed", lambda library: False)
    with pytest.raises(ValidationError, match=r"surfaces-llm\[mcp\]"):
        LlmSettings.model_validate(
            {"models": {"m": {"provider": "ollama", "model": "m"}}, "mcp": {"tiny": {"command": "x"}}}
        )
