"""The real program is killed while a person is asked about a tool: a yes in its next life runs that call once."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from surfaces_testing.models import Asked, ModelServer, Reply, ToolUse

pytestmark = pytest.mark.slow
CONFIG = """
storage: {{use: sqlite, path: ./surfaces.db}}
surfaces: {{terminal: {{socket: ./t.sock}}}}
hooks: [context, tools]
transports:
  llm:
    models: {{m: {{provider: openai, model: small, base_url: "{url}"}}}}
    tools: {{execute_command: {{workspaces: "{agents}"}}}}
agents: [{{id: a, transport: llm, model: m, tools: {{execute_command: ask}}}}]
"""


@pytest.fixture
def house() -> Iterator[Path]:
    """A folder with a workspace of an ordinary user's, where that user can come."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        house = Path(folder)
        house.chmod(0o755)
        (house / "agents/a").mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(house / "agents/a", 65534, 65534)
        yield house


@asynccontextmanager
async def program(house: Path, *arguments: str) -> AsyncIterator[Process]:
    """`surfaces`, killed at the end whatever it does."""
    command = (sys.executable, "-m", "surfaces_core.cli", *arguments, "-c", "surfaces.yaml")
    errors = DEVNULL if arguments[0] == "run" else STDOUT
    process = await asyncio.create_subprocess_exec(*command, cwd=house, stdin=PIPE, stdout=PIPE, stderr=errors)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(process: Process, said: bytes) -> None:
    """Until the program has said it."""
    assert process.stdout is not None
    heard = b""
    async with asyncio.timeout(60):
        while said not in heard:
            piece = await process.stdout.read(4096)
            assert piece, heard.decode()
            heard += piece


async def say(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    await process.stdin.drain()


async def test_killed_at_the_question_it_runs_once_in_the_next_life(house: Path):
    """SIGKILL between question and answer: the approved call runs once, as it was asked about, and the model, which
    would want another one by now, is not asked anew.
    """
    wanted: list[str] = []

    def brain(asked: Asked) -> Reply:
        last = asked.body["messages"][-1]
        if last["role"] == "tool":
            return Reply(text=f"Printed: {last['content']}")
        wanted.append(f"echo run{len(wanted) + 1} >> log; cat log")
        return Reply(tools=(ToolUse(name="execute_command", arguments={"command": wanted[-1]}),))

    async with ModelServer(brain=brain) as server:
        config = CONFIG.format(url=server.base_url, agents=house / "agents")
        await asyncio.to_thread((house / "surfaces.yaml").write_text, config)
        async with program(house, "run") as host:
            await until(host, b"READY")
            async with program(house, "chat", "--plain") as chat:
                await say(chat, "do it")
                await until(chat, b"Number 1-")
            host.kill()
            await host.wait()
        async with program(house, "run") as host:
            await until(host, b"READY")
            async with program(house, "chat", "--plain") as chat:
                await say(chat, "!yes")
                await until(chat, b"[exit code 0]")
    log = await asyncio.to_thread((house / "agents/a/log").read_text)
    assert (log, len(wanted)) == ("run1\n", 1)
