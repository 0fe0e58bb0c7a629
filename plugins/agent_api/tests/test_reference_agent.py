"""The reference agent does what demos, tests and agent authors expect of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_agent_api.reference import ReferenceAgent
from surfaces_agent_api.reference.behaviours import BEHAVIOURS, say
from surfaces_agent_api.reference.memory import ContextMemory
from surfaces_core import Agent, End, File, Progress, Text, Tool


async def test_remembers_each_context(talking: Any):
    """It repeats what was said in the same context, over sockets, and knows nothing in a new one."""
    async with talking(keepalive_s=0) as talk:
        assert (await talk.ask("I like plums")).text == "You said: I like plums. (message 1 in this context)"
        await talk.ask("and pears")
        assert (await talk.ask("What did I say?")).text == "You said: I like plums; and pears."
        assert (await talk.ask("what do you remember", "2")).text == "You have said nothing yet."


async def test_remembers_across_restarts(tmp_path: Path, talking: Any):
    """With a memory file it remembers what another process of it was told."""
    async with talking() as talk:
        for text, answer in (
            ("plums", "You said: plums. (message 1 in this context)"),
            ("what did I say?", "You said: plums."),
        ):
            async with ReferenceAgent(memory_file=tmp_path / "memory.json") as peer:
                agent = replace(talk.agent, options={"base_url": peer.base_url})
                assert (await talk.ask(text, agent=agent)).text == answer


async def test_repeats_are_answered_alike(talking: Any):
    """A message id that comes again gets the same answer and is remembered once."""
    async with talking(options={"send_message_id": True}) as talk:
        request = talk.request("plums")
        first = await talk.hear(request)
        assert (await talk.hear(request)).text == first.text
        assert (await talk.ask("what did I say?")).text == "You said: plums."


async def test_interrupted_repeats_are_answered_anew(talking: Any):
    """A message whose answer was cut off is answered when it comes again, and remembered once."""
    async with talking(options={"send_message_id": True}) as talk:
        request = talk.request("count to 4000")
        turn = talk.transport.run(request)
        await anext(turn)
        await turn.aclose()
        assert (await talk.hear(request)).text.endswith(" 4000 ")
        assert (await talk.ask("what did I say?")).text == "You said: count to 4000."


async def test_a_newer_socket_ends_the_older(talking: Any):
    """A host that died without a goodbye asks anew: what the agent says on the old socket ends."""
    question = json.dumps({"type": "USER_MESSAGE", "text": "ask me", "attachments": [], "message_id": "m"})
    async with talking() as talk, aiohttp.ClientSession() as http:
        address = f"{talk.peer.base_url}v1/agent_ws/7/"
        async with http.ws_connect(address) as older:
            await older.receive()
            await older.send_str(question)
            assert (await older.receive_json())["type"] == "AGENT_EVENT_CONFIRM"
            async with http.ws_connect(address) as newer:
                assert (await older.receive_json())["type"] == "AGENT_EVENT_END"
                await newer.receive()
                await newer.send_str(question)
                assert (await newer.receive_json())["id"] == "7-1"


async def test_makes_a_file(tmp_path: Path, talking: Any):
    """It writes a file into its workspace and sends it."""
    async with talking() as talk:
        heard = await talk.ask("please make a file")
    (file,) = [event for event in heard.events if isinstance(event, File)]
    assert (tmp_path / file.path).read_text() == "You asked: please make a file\n"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.txt", b"first\nsecond\n", "a.txt (13 bytes), first line: first"),
        ("b.bin", b"\0\1", "b.bin (2 bytes)"),
        ("empty", b"", "empty (0 bytes)"),
        ("missing", None, "missing cannot be read"),
        ("../../etc/passwd", None, "../../etc/passwd is outside my workspace"),
    ],
)
async def test_describes_attachments(name: str, content: bytes | None, line: str, tmp_path: Path, talking: Any):
    """It reads what is attached, and nothing outside its workspace."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    async with talking() as talk:
        heard = await talk.ask("look", attachments=(name,))
    assert heard.text == f"I got {line}.\n\nYou said: look. (message 1 in this context)"


async def test_uses_a_tool(talking: Any):
    """It shows a tool at work."""
    async with talking() as talk:
        events = (await talk.ask("use a tool")).events
    tool = Tool(name="calculator", id="call-1")
    assert [event for event in events if isinstance(event, Tool)] == [tool, replace(tool, done=True)]


async def test_reports_progress(talking: Any):
    """It says how far it is."""
    async with talking() as talk:
        events = (await talk.ask("show me progress")).events
    assert [event.fraction for event in events if isinstance(event, Progress)] == [0.25, 0.5, 0.75, 1]


async def test_counts(talking: Any):
    """It counts, for answers as long as one likes."""
    async with talking() as talk:
        assert (await talk.ask("count to 5")).text == "1 2 3 4 5 "


async def test_cancel_ends_the_turn(talking: Any):
    """CANCEL stops the running answer, which still gets its END."""
    async with (
        talking() as talk,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{talk.peer.base_url}v1/agent_ws/1/") as host,
    ):
        assert (await host.receive_json())["type"] == "STATUS"
        await host.send_json({"type": "USER_MESSAGE", "text": "ask me", "attachments": []})
        assert (await host.receive_json())["type"] == "AGENT_EVENT_CONFIRM"
        await host.send_json({"type": "CANCEL"})
        assert (await host.receive_json())["type"] == "AGENT_EVENT_END"


def test_table_ends_with_the_default():
    """Whatever is said, something answers."""
    assert BEHAVIOURS[-1][0] == ""


@given(st.text())
def test_words_join_to_the_text(text: str):
    """Streaming by words changes no character between the first word and the last."""
    assert "".join(frame["text"] for frame in say(text)).strip() == text.strip()


def test_memory_of_ids_is_bounded():
    """Old message ids are forgotten, messages are not."""
    memory = ContextMemory()
    for number in range(500):
        memory.hear("x", str(number))
    assert (len(memory.turns), len(memory.messages)) == (200, 500)
    assert memory.hear("x", "499").number == 500


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """`python -m surfaces_agent_api.reference`, and what its READY line says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "surfaces_agent_api.reference", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        yield process, json.loads(ready.removeprefix("READY ")) if ready else {}
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.slow
async def test_program(tmp_path: Path, talking: Any):
    """The program says where it serves, serves there, and stops when told."""
    async with talking() as talk, program("--prefix", "/agent_3", "--workspace", str(tmp_path)) as (process, ready):
        assert ready["base_url"] == f"http://127.0.0.1:{ready['port']}/agent_3/"
        agent = Agent(id="3", label="3", transport="agent_api", workspace="3", options={"base_url": ready["base_url"]})
        assert (await talk.ask("hello", agent=agent)).events[-1] == End()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.slow
async def test_program_misbehaves(talking: Any):
    """Faults and speed come from the command line."""
    async with talking() as talk, program("--misbehave", "drop-midway", "--words-per-second", "5") as (_, ready):
        heard = await talk.ask(agent=replace(talk.agent, options={"base_url": ready["base_url"]}))
        assert (heard.events, heard.code) == ([Text("half an ")], "AGENT_CUT_OFF")


@pytest.mark.slow
async def test_program_knows_its_faults():
    """An unknown fault is wrong usage."""
    async with program("--misbehave", "nothing-like-it") as (process, ready):
        assert ready == {}
        assert await process.wait() == 2
