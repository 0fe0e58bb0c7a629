"""The agent that misbehaves on purpose behaves until then, does what each fault says, and keeps the truth."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from surfaces_testing.agent import (
    ENDLESS,
    FAULTS,
    STATUS,
    FakeAgent,
    Fault,
    Faults,
    busiest_second,
    chunk,
    lay_bad_files,
    sends,
)

END = "AGENT_EVENT_END"


@asynccontextmanager
async def socket(agent: FakeAgent | str, context: str = "7") -> AsyncIterator[ClientWebSocketResponse]:
    """A host's socket."""
    base_url = agent if isinstance(agent, str) else agent.base_url
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{base_url}v1/agent_ws/{context}/", timeout=aiohttp.ClientWSTimeout(ws_close=0.1)) as opened,
    ):
        yield opened


async def asked(opened: ClientWebSocketResponse, text: str, **members: object) -> str:
    """The whole answer to a question."""
    await opened.send_json({"type": "USER_MESSAGE", "text": text, "attachments": [], **members})
    answer = ""
    while (frame := await opened.receive_json())["type"] != END:
        answer += frame["text"]
    return answer


async def test_it_behaves():
    """It greets, answers word by word, counts its questions by context, and records them."""
    async with FakeAgent() as agent, socket(agent) as one, socket(agent, "8") as other:
        assert await one.receive_json() == await other.receive_json() == STATUS
        assert await asked(one, "a") == "You said: a. (message 1 in this context)"
        assert await asked(one, "count to 3") == "1 2 3"
        assert await asked(other, "b") == "You said: b. (message 1 in this context)"
        assert agent.record.texts("7") == ["a", "count to 3"]
        assert [made.context for made in agent.record.connections] == ["7", "8"]
        await one.ping()
        assert await asked(one, "c") == "You said: c. (message 3 in this context)"


async def test_a_repeat_is_answered_and_not_worked_on():
    """A message id that comes again gets the first answer; the record tells the repeat and how often work was done."""
    async with FakeAgent() as agent:
        for _ in range(2):
            async with socket(agent) as opened:
                await opened.receive()
                assert await asked(opened, "a", message_id="m") == "You said: a. (message 1 in this context)"
        assert agent.record.work == {("7", "a"): 1}
        assert agent.record.repeats() == {("7", "m"): 2}


async def test_without_ids_every_question_is_worked_on():
    """The same text without an id is a new question."""
    async with FakeAgent() as agent, socket(agent) as opened:
        await opened.receive()
        for number in (1, 2):
            assert await asked(opened, "a") == f"You said: a. (message {number} in this context)"
        assert agent.record.work == {("7", "a"): 2}
        assert agent.record.repeats() == {}


async def test_it_goes_and_comes_back():
    """Refusing cuts what is open; accepting listens at the same port; what was said is still known."""
    async with FakeAgent() as agent:
        async with socket(agent) as opened:
            await opened.receive()
            await asked(opened, "a")
            await agent.refuse()
            assert (await opened.receive()).type is WSMsgType.CLOSED
        with pytest.raises(aiohttp.ClientConnectorError):
            async with socket(agent):
                pass
        await agent.accept()
        async with socket(agent) as opened:
            await opened.receive()
            assert await asked(opened, "b") == "You said: b. (message 2 in this context)"
        await agent.until(lambda: agent.open == 0)


def test_faults_come_as_they_are_told():
    """By a script in its order, always, in one context or any, until they are cleared."""
    faults = Faults()
    faults.script("fin", "reset", times=2, context="7")
    faults.always("binary")
    names = [(faults.next("answer", "7") or ("", None))[0] for _ in range(5)]
    assert names == ["fin", "reset", "fin", "reset", "binary"]
    assert faults.next("greet", "7") is None
    assert (faults.next("answer", "8") or ("",))[0] == "binary"
    faults.clear()
    assert faults.next("answer", "7") is None


def test_a_script_waits_for_its_stage():
    """What is to go wrong with an answer doesn't strike at the greeting, and holds back what comes behind it."""
    faults = Faults()
    faults.script("fin", "no-status")
    assert faults.next("greet", "7") is None
    assert faults.next("answer", "7") == ("fin", FAULTS["fin"])
    assert faults.next("greet", "7") == ("no-status", FAULTS["no-status"])


def test_chance_is_repeatable():
    """The same seed gives the same faults, about as many as are asked for, none of them endless."""

    def drawn(seed: int) -> list[str]:
        faults = Faults()
        faults.random(seed, 0.5)
        return [(faults.next("answer", "7") or ("",))[0] for _ in range(200)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 60 < drawn(1).count("") < 140
    assert not ENDLESS & set(drawn(1))


def test_the_busiest_second():
    """The most within any second, wherever it begins."""
    assert busiest_second([]) == 0
    assert busiest_second([0.0, 0.9, 1.0, 1.8, 5.0]) == 3


@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_strikes_and_passes(name: str):
    """Each does something else than an agent should, ends when the host has gone, and the next is served well."""
    async with FakeAgent() as agent:
        agent.faults.always(name)
        assert await outcome(agent, FAULTS[name].stage) != "fine"
        agent.cut()
        await agent.until(lambda: agent.open == 0)
        agent.faults.clear()
        assert await outcome(agent, "greet") == "fine"


async def outcome(agent: FakeAgent, stage: str) -> str:
    """How one question goes, as far as an impatient host can tell; `fine` where it all goes as it should."""
    try:
        async with asyncio.timeout(0.3), socket(agent) as opened:
            if await opened.receive_json() != STATUS:
                return "no status"
            answer = await asked(opened, "a")
            if not answer.startswith("You said: a."):
                return "another answer"
            if stage == "answer":
                return "more than an answer"
            await opened.ping()
            again = await asked(opened, "b")
            return "fine" if again.startswith("You said: b.") else "leftovers"
    except (aiohttp.ClientError, OSError, TimeoutError, TypeError, ValueError, KeyError, RecursionError) as error:
        return repr(error)


async def test_a_fault_of_ones_own():
    """Tests may plant what the table doesn't have."""
    async with FakeAgent() as agent, socket(agent) as opened:
        agent.faults.script(Fault(stage="answer", act=sends(chunk("mine"), {"type": END})))
        await opened.receive()
        assert await asked(opened, "a") == "mine"
        assert agent.record.questions()[0].fault == "custom"


async def test_it_is_watched():
    """Watchers hear at once what happens, so that a test can strike at that very moment."""
    seen: list[str] = []
    async with FakeAgent() as agent:
        agent.watchers.append(lambda what, context: seen.append(what))
        async with socket(agent) as opened:
            await opened.receive()
            await asked(opened, "count to 2")
        await agent.until(lambda: agent.open == 0)
    assert seen == ["connected", "asked", "said", "said", "said", "ended"]


async def test_bad_files_are_laid_again_and_again(tmp_path: Any):
    """What `bad-files` names can be laid into a folder more than once."""
    for _ in range(2):
        lay_bad_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.bin", "folder", "link.txt", "pipe"]


@pytest.mark.slow
async def test_it_is_a_process_of_its_own():
    """It prints where it is, misbehaves from the start where asked, and is driven from outside."""
    command = (sys.executable, "-m", "surfaces_testing.agent", "--always", "no-text")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    ready = json.loads((await process.stdout.readline()).decode().removeprefix("READY "))
    async with aiohttp.ClientSession() as http, socket(ready["base_url"]) as opened:

        async def control(verb: str, **body: object) -> Any:
            async with http.post(f"{ready['control']}/{verb}", json=body) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        await opened.receive()
        assert await asked(opened, "a") == ""
        await control("clear")
        await control("fault", names=["second-end"], times=1, context="7")
        assert await asked(opened, "b") == "answer"
        record = await control("record")
        assert [got["fault"] for got in record["frames"]] == ["no-text", "second-end"]
        await control("always", name="upgrade-404")
        await control("cut")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with socket(ready["base_url"], "9"):
                pass
        await control("refuse")
        await control("accept")
    process.terminate()
    assert await process.wait() == 0
