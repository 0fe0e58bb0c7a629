"""A model uses tools in a chat: people are asked, answers are bound to what was asked, and nothing runs twice."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
import structlog
from pydantic import BaseModel, ValidationError
from pydantic_ai import models

import surfaces_tools
from surfaces_core import Agent, AgentTool, ConfigError, Pace, Progress, Storage, ToolCall, Transport, TransportContext
from surfaces_core._config.discovery import make
from surfaces_core._config.settings import HostSettings, Instance
from surfaces_core._config.sources import Source
from surfaces_core._engine import words
from surfaces_core._engine.store import InstanceStore
from surfaces_core._host.lifecycle import Engine
from surfaces_core.testing.bot import AGENT, TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_llm import Llm, LlmSettings
from surfaces_testing.models import Asked, ModelServer, Reply, ToolUse

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHORT = HostSettings(shutdown_grace_s=0.1)
PACE = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=50)
PAID = "Number 1-"


class Payment(BaseModel):
    """What is to be paid."""

    to: str
    euros: int


@dataclass
class Purse:
    """A tool that must not run twice, and what it did."""

    paid: list[str] = field(default_factory=list)
    during: Callable[[ToolCall], Any] | None = None
    timeout_s: float = 30.0

    async def pay(self, call: ToolCall) -> str:
        self.paid.append(f"{call.arguments.euros} to {call.arguments.to}")
        if self.during is not None:
            await self.during(call)
        return "paid"

    def tool(self) -> AgentTool:
        return AgentTool(name="pay", description="Pays.", arguments=Payment, handler=self.pay, timeout_s=self.timeout_s)


@dataclass
class Mind:
    """A model that pays what it is told to, and says at the end what the tools gave; it may change its mind."""

    payments: list[list[dict[str, object]]] = field(default_factory=lambda: [[{"to": "Bob", "euros": 5}]])
    """For each time that it is asked something new, what it pays."""
    asked: int = 0
    text: str = "Let me see."
    tool: str = "pay"

    def __call__(self, asked: Asked) -> Reply:
        messages = asked.body["messages"]
        if messages[-1]["role"] == "tool":
            return Reply(text="Results: " + ", ".join(m["content"] for m in messages if m["role"] == "tool") + ".")
        self.asked += 1
        wanted = self.payments[min(self.asked, len(self.payments)) - 1]
        return Reply(
            text=self.text,
            tools=tuple(ToolUse(name=self.tool, arguments=one, id=f"c{n}") for n, one in enumerate(wanted)),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelServer]:
    with models.override_allow_model_requests(True):
        async with ModelServer() as peer:
            yield peer


@dataclass(kw_only=True)
class Chat(TestBot):
    """A host whose agents are models with one tool; the tool and the model outlive it."""

    __test__ = False

    server: ModelServer
    mind: Mind = field(default_factory=Mind)
    purse: Purse = field(default_factory=Purse)
    tools: Mapping[str, Any] = field(default_factory=lambda: {"pay": {}})
    more: Mapping[str, Any] = field(default_factory=dict)
    turn_timeout_s: float = 60.0
    also: Sequence[AgentTool] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server.brain = self.mind
        options = {"model": "small", "tools": self.tools, "turn_timeout_s": self.turn_timeout_s}
        self.agents = [Agent(id=AGENT.id, label="A", transport=AGENT.transport, workspace="w", options=options)]

    def build(self, storage: Storage | None = None) -> Engine:
        """A host with a transport that keeps what it keeps in the host's own storage."""
        engine = super().build(storage)
        model = {"provider": "openai", "base_url": self.server.base_url, "model": "small"}
        context = TransportContext(
            name="llm",
            log=structlog.get_logger("llm"),
            store=InstanceStore(engine.journal, "llm", kind="transport"),
            files=self.files,
            tools={tool.name: tool for tool in (self.purse.tool(), *self.also)},
        )
        settings = LlmSettings.model_validate({"models": {"small": model}, **self.more})
        engine.drivers.transports[AGENT.transport] = Llm(settings, context)  # type: ignore[index]
        return engine

    def finals(self) -> list[str]:
        return [m.text for m in self.messenger.shown.values() if m.final]

    async def asked(self, number: int = 1) -> str:
        """The number-th question whether a tool may be used, when it stands there."""
        await self.messenger.until(lambda: len(self.questions()) >= number, timeout_s=10)
        return self.questions()[number - 1]

    def questions(self) -> list[str]:
        return [text for text in self.finals() if "May I use" in text]

    async def until_said(self, text: str, count: int = 1) -> None:
        await self.messenger.until(lambda: sum(text in said for said in self.finals()) >= count, timeout_s=10)


async def test_a_person_is_asked_and_says_yes(server: ModelServer):
    """The question shows the tool and its exact arguments; on a yes it runs once and the model goes on."""
    chat = Chat(server=server)
    async with chat.running():
        await chat.push("pay Bob 5")
        asked = await chat.asked()
        assert "**pay**" in asked
        assert '{\n  "euros": 5,\n  "to": "Bob"\n}' in asked
        assert chat.purse.paid == []
        await chat.push("!yes")
        await chat.until_said("Results: paid.")
    assert chat.purse.paid == ["5 to Bob"]
    assert any("Let me see." in text for text in chat.finals())


async def test_a_no_runs_nothing(server: ModelServer):
    """On a no nothing runs, and the model hears of it."""
    chat = Chat(server=server)
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.asked()
        await chat.push("!no")
        await chat.until_said("did not allow")
    assert chat.purse.paid == []


async def test_nobody_else_can_allow_it(server: ModelServer):
    """Only the person who asked the model may say yes; somebody else's yes finds nothing to answer."""
    chat = Chat(server=server)
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.asked()
        await chat.push("!yes", sender="@eve")
        await chat.until_said(words.NO_QUESTION())
        assert chat.purse.paid == []
        await chat.push("!yes")
        await chat.until_said("Results: paid.")
    assert chat.purse.paid == ["5 to Bob"]


async def test_how_long_a_person_takes_is_not_the_turns_time(server: ModelServer):
    """A turn that may last no longer than its person takes to answer goes on all the same."""
    chat = Chat(server=server, turn_timeout_s=0.4)
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.asked()
        await asyncio.sleep(0.5)  # the time that is not to count
        await chat.push("!yes")
        await chat.until_said("Results: paid.")


async def test_policy_is_by_person(server: ModelServer):
    """One person is asked, another is not, a third has no such tool."""
    rule = {"policy": "ask", "people": {"@bob": "allow", "@eve": "deny"}}
    chat = Chat(server=server, tools={"pay": rule})
    async with chat.running():
        await chat.push("pay", sender="@bob", conversation="bobs")
        await chat.messenger.until(lambda: chat.purse.paid == ["5 to Bob"], timeout_s=10)
        await chat.until_said("Results: paid.")
        await chat.push("pay", sender="@eve", conversation="eves")
        await chat.until_said("no such tool")
        assert "tools" not in server.record.asked[-1].body
        await chat.push("pay")
        await chat.asked()
        assert chat.purse.paid == ["5 to Bob"]
        await chat.push("!no")
        await chat.until_said("did not allow")


async def test_two_questions_one_after_the_other(server: ModelServer):
    """Each call has a question of its own, the same call twice included; a yes is good for one of them."""
    twice = [{"to": "Bob", "euros": 5}, {"to": "Bob", "euros": 5}]
    chat = Chat(server=server, mind=Mind(payments=[twice]))
    async with chat.running():
        await chat.push("pay Bob twice")
        first = await chat.asked(1)
        await chat.push("!yes")
        second = await chat.asked(2)
        assert chat.purse.paid == ["5 to Bob"]
        assert first != second
        await chat.push("!no")
        await chat.until_said("did not allow")
    assert any("Results: paid, " in text for text in chat.finals())
    assert chat.purse.paid == ["5 to Bob"]


async def test_time_to_answer_ends(server: ModelServer):
    """A question that nobody answers in time is a no; a yes that comes later counts for nothing."""
    chat = Chat(server=server, more={"ask_timeout_s": 0.05})
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.until_said("did not allow")
        await chat.push("!yes")
        await chat.until_said(words.NO_QUESTION())
    assert chat.purse.paid == []


async def test_a_yes_after_a_restart_runs_what_was_asked_about(server: ModelServer):
    """The host ends while the person is asked: a yes in its next life runs that very call, though the model
    would want something else by now, and the model is not asked anew.
    """
    mind = Mind(payments=[[{"to": "Bob", "euros": 5}], [{"to": "Eve", "euros": 5000}]])
    chat = Chat(server=server, mind=mind, settings=SHORT)
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.asked()
    async with chat.running():
        await chat.push("!yes")
        await chat.until_said("Results: paid.")
    assert (chat.purse.paid, mind.asked, len(chat.questions())) == (["5 to Bob"], 1, 1)


async def test_other_arguments_are_another_question(server: ModelServer):
    """Where the model is asked anew after a restart and wants something else, the yes does not count for that."""
    mind = Mind(payments=[[{"to": "Bob", "euros": 5}], [{"to": "Eve", "euros": 5000}]])
    chat = Chat(server=server, mind=mind, settings=SHORT)
    async with chat.running():
        await chat.push("pay Bob 5")
        await chat.asked()
    for row in [row for row in chat.disk.rows if b"calls/" in row]:  # as if its messages had been too long to keep
        del chat.disk.rows[row]
    async with chat.running():
        await chat.push("!yes")
        assert '"Eve"' in await chat.asked(2)
        assert chat.purse.paid == []
        await chat.push("!no")
        await chat.until_said("did not allow")
    assert chat.purse.paid == []


async def test_a_stop_stops_the_tool(server: ModelServer):
    """`!stop` ends a tool that runs."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(call: ToolCall) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    chat = Chat(server=server, purse=Purse(during=endless), tools={"pay": "allow"})
    async with chat.running():
        await chat.push("pay")
        await began.wait()
        await chat.push("!stop")
        await asyncio.wait_for(ended.wait(), 5)


async def test_what_a_tool_does_shows(server: ModelServer):
    """The tool's name and its progress show while it runs; a bug of it shows nothing of our insides."""
    shown = asyncio.Event()

    async def slow(call: ToolCall) -> None:
        call.progress(Progress(text="half of it", fraction=0.5))
        await shown.wait()
        raise KeyError("secret")

    chat = Chat(server=server, mind=Mind(text=""), purse=Purse(during=slow), tools={"pay": "allow"}, pace=PACE)
    async with chat.running():
        await chat.push("pay")
        drafts = chat.messenger.shown
        await chat.messenger.until(
            lambda: any("half of it 50%" in str(draft) for draft in drafts.values()), timeout_s=10
        )
        shown.set()
        await chat.until_said("The tool failed.")
    assert "secret" not in str(chat.messenger.shown)


async def test_a_tool_takes_no_longer_than_it_may(server: ModelServer):
    """A tool that hangs is stopped, and the model says so."""

    async def endless(call: ToolCall) -> None:
        await asyncio.Event().wait()

    chat = Chat(server=server, purse=Purse(during=endless, timeout_s=0.05), tools={"pay": "allow"})
    async with chat.running():
        await chat.push("pay")
        await chat.until_said("took longer than 0.05 s")


async def test_a_slip_in_the_rules_stops_the_start():
    """A rule for a tool that is not there is one line that names it, of the transport and of an agent."""
    context = TransportContext(name="llm", log=structlog.get_logger(), store=None, files=None)  # type: ignore[arg-type]
    model = {"provider": "openai", "base_url": "http://127.0.0.1:9", "model": "small"}
    place = Source(file="surfaces.yaml", lines={("transports", "llm", "tools"): 7})
    instance = Instance(
        name="llm",
        use="llm",
        options={"models": {"m": model}, "tools": {"pai": "ask"}},
        source=place,
        place=("transports", "llm"),
    )
    with pytest.raises(ConfigError, match=r"^transports.llm.tools.pai: no such tool; there are: none .*:7\)$"):
        make("surfaces.transport", Transport, instance, context)
    transport = Llm(LlmSettings.model_validate({"models": {"m": model}}), context)
    with pytest.raises(ValidationError, match="pai: no such tool"):
        transport.AgentSettings.model_validate({"model": "m", "tools": ["pai"]})


def _workspace(folder: Path) -> Path:
    """An agent's folder of an ordinary user's, where that user can come."""
    folder.chmod(0o755)
    workspace = folder / "w"
    workspace.mkdir()
    if os.geteuid() == 0:
        os.chown(workspace, 65534, 65534)
    return workspace


@pytest.mark.slow
async def test_a_command_is_asked_about_and_runs_in_the_sandbox(server: ModelServer):
    """From the config to the sandbox: the person sees the command, and what it printed comes back."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        workspace = _workspace(Path(folder))
        chat = Chat(
            server=server,
            mind=Mind(tool="execute_command", payments=[[{"command": "echo $((6*7)) > made; cat made; ls /"}]]),
            tools={"execute_command": "ask"},
            more={"tools": {"execute_command": {"workspaces": folder}}},
            also=surfaces_tools.surfaces_tools(),
        )
        async with chat.running():
            await chat.push("make it")
            assert "echo $((6*7)) > made" in await chat.asked()
            assert not (workspace / "made").exists()
            await chat.push("!yes")
            await chat.until_said("Results: 42")
        assert (workspace / "made").read_text() == "42\n"
    (said,) = [text for text in chat.finals() if "Results" in text]
    assert "home" not in said
    assert "[exit code 0]" in said


# The crash sweep ------------------------------------------------------------------------------------


async def swept(server: ModelServer, crash_at: int | None, side: Literal["before", "after"]) -> tuple[Chat, int]:
    """A life that dies at its n-th transaction and a clean one; the person says yes whenever they are asked."""
    chat, writes = Chat(server=server, settings=SHORT), 0
    await chat.push("pay Bob 5")
    for number in (crash_at, None):
        storage = FaultyStorage(MemoryStorage(disk=chat.disk), crash_at=number, side=side)
        try:
            async with asyncio.timeout(20), chat.running(storage):
                await chat.asked()
                if len(chat.messenger.incoming) == 1:
                    await chat.push("!yes")
                await chat.until_said("Results: ")
                await _idle(chat)
        except* Crash:
            pass
        writes = writes or storage.writes
    return chat, writes


async def _idle(chat: Chat) -> None:
    while any(row.startswith((b"out\0", b"in\0", b"ask\0")) for row in chat.disk.rows):  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_anywhere_pays_at_most_once(server: ModelServer, side: Literal["before", "after"]):
    """For every n: die at the n-th transaction, live again: asked once, and run exactly once but where the crash
    fell between the note that it begins and the note of its result: then the model hears that nobody knows.
    """
    _, count = await swept(server, None, side)
    unknown = 0
    for number in range(1, count + 1):
        chat, _ = await swept(server, number, side)
        where = f"crash {side} transaction {number}"
        assert len(chat.questions()) == 1, where
        assert chat.purse.paid in ([], ["5 to Bob"]), where
        cut = [text for text in chat.finals() if "cut off by a restart" in text]
        unknown += len(cut)
        assert chat.purse.paid == ["5 to Bob"] or cut, where
        assert sum("Results: " in text for text in chat.finals()) == 1, where
    assert unknown <= 2
