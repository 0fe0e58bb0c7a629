"""People and agents: who has which, what they are told of it, and conversations that move to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest

from surfaces_commands_context import ops
from surfaces_core import AgentRequest, Section, Text
from surfaces_core._config.settings import HostSettings
from surfaces_core.events import Agent, End, Kind
from surfaces_core.testing.bot import AGENT, TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

OTHER = Agent(id="agent-1", label="Agent 1", transport="scripted", workspace="/agents/1")
MOVED = "**Agent 1** answers here from now on. It remembers nothing of what was said before."
DEFAULT = "No agent of your own is set up for you, so **Agent 0** answers."


def named(request: AgentRequest) -> Sequence[Step]:
    """Says who answers what, in which context."""
    return [Text(f"{request.agent.id}: {request.text}"), End()]


def world(**options: Any) -> TestBot:
    """Two agents, and somebody who has one of them."""
    options.setdefault("people", {"@bob": "agent-0"})
    return TestBot(agents=(AGENT, OTHER), transport=ScriptedTransport.answering(named), **options)


def requests(bot: TestBot) -> list[tuple[str, str]]:
    """Agent and context of every question that was asked."""
    assert isinstance(bot.transport, ScriptedTransport)
    return [(request.agent.id, request.context) for request in bot.transport.requests]


def finals(bot: TestBot, conversation: str = "home") -> list[str]:
    """Everything that was said in a conversation."""
    return [shown.text for shown in bot.messenger.shown.values() if shown.conversation == conversation]


async def test_who_has_the_default_agent_is_told_once() -> None:
    """A person without an entry is told with their first answer, in no later life again; others are not told."""
    bot = world()
    for life in ("first", "second"):
        async with bot.running():
            await bot.push(life)
            await bot.messenger.until(lambda: f"agent-0: {life}" in finals(bot))  # noqa: B023
            await bot.push("hello", conversation="bob's", sender="@bob")
            assert await bot.pop("bob's") == "agent-0: hello"
    async with bot.running():
        await bot.push("hello", conversation="second")
        assert await bot.pop("second") == "agent-0: hello"
    assert finals(bot).count(DEFAULT) == 1
    assert finals(bot, "bob's") == ["agent-0: hello"] * 2
    assert finals(bot, "second") == ["agent-0: hello"]


async def test_the_greeting_tells_it_too() -> None:
    """Where a conversation begins with a greeting, it is told there."""
    bot = world(rooms=True)
    async with bot.running():
        await bot.messenger.say(kind=Kind.START, conversation="entry")
        await bot.messenger.until(lambda: len(bot.messenger.rooms) == 1)
        (room,) = bot.messenger.rooms
        assert "Agent 0" in await bot.pop(room)
        assert await bot.pop(room) == DEFAULT
        await bot.push("hello", conversation=room)
        assert await bot.pop(room) == "agent-0: hello"


async def test_who_has_no_agent_is_told_whom_to_ask() -> None:
    """With `none` nobody is let in who has no entry, be their conversation older than that."""
    bot = world(default_agent=None, settings=HostSettings(contact="ops@example.org"))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "No agent is set up for you. Please ask ops@example.org."
        await bot.push("hello", conversation="bob's", sender="@bob")
        assert await bot.pop("bob's") == "agent-0: hello"
        bot.people = {"@cay": "agent-0"}
        await bot.engine.reload(bot.registry())
        await bot.push("hello", conversation="bob's", sender="@bob")
        assert await bot.pop("bob's") == "No agent is set up for you. Please ask ops@example.org."
    assert len(requests(bot)) == 1


async def test_conversations_move_at_the_next_start() -> None:
    """When a person gets an agent, their conversation goes to it with a fresh context; that is said once."""
    bot = world()
    async with bot.running():
        await bot.push("one")
        await bot.pop()
    bot.people = {"@ann": "agent-1"}
    for _ in range(2):
        async with bot.running():
            await bot.messenger.until(lambda: MOVED in finals(bot))
    async with bot.running():
        await bot.push("two")
        await bot.messenger.until(lambda: "agent-1: two" in finals(bot))
    (first, old), (second, new) = requests(bot)
    assert (first, second) == ("agent-0", "agent-1")
    assert old != new
    assert finals(bot).count(MOVED) == 1


@pytest.mark.parametrize("gone", [False, True], ids=["moved", "removed"])
async def test_conversations_move_while_the_host_runs(gone: bool) -> None:
    """A reload moves who has another agent now, or whose agent is gone, behind the answer that runs; nobody else."""
    gate, both_ask = asyncio.Event(), asyncio.Event()
    bot = world(people={"@ann": "agent-0", "@bob": "agent-1"})

    def slowly(request: AgentRequest) -> Iterator[Step]:
        if len(requests(bot)) == 2:
            both_ask.set()
        yield gate
        yield from named(request)

    bot.transport = ScriptedTransport.answering(slowly)
    async with bot.running():
        await bot.push("one")
        await bot.push("one", conversation="bob's", sender="@bob")
        await both_ask.wait()
        if gone:
            bot.agents = (OTHER,)
            bot.default_agent = "agent-1"
        bot.people = {"@bob": "agent-1"} if gone else {"@ann": "agent-1", "@bob": "agent-1"}
        await bot.engine.reload(bot.registry())
        await bot.push("two")
        gate.set()
        assert await bot.pop() == "agent-0: one"
        await bot.messenger.until(lambda: {"agent-1: two", MOVED} <= set(finals(bot)))
        assert await bot.pop("bob's") == "agent-1: one"
    assert finals(bot).count(MOVED) == 1
    assert finals(bot, "bob's") == ["agent-1: one"]


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_moves_once_and_says_it_once(side: Literal["before", "after"]) -> None:
    """Wherever the process dies on the way, in the end the conversation was moved once and that was said once."""
    died = 0
    for crash_at in range(1, 12):
        bot = world(people={"@ann": "agent-0"}, rooms=True)
        async with bot.running():
            await bot.messenger.say(kind=Kind.START, conversation="entry")
            await bot.messenger.until(lambda: len(bot.messenger.rooms) == 1)  # noqa: B023
            (room,) = bot.messenger.rooms
            await bot.push("one", conversation=room)
            await bot.messenger.until(lambda: "agent-0: one" in finals(bot, room))  # noqa: B023
        bot.people = {"@ann": "agent-1"}
        storage = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=crash_at, side=side)
        try:
            async with asyncio.timeout(5), bot.running(storage):
                await bot.messenger.until(lambda: MOVED in finals(bot, room) or storage.crashed)  # noqa: B023
                await bot.engine.deliveries["memory"].lanes.drained()
        except* Crash:
            died += 1
        async with bot.running():
            await bot.push("two", conversation=room)
            await bot.messenger.until(lambda: "agent-1: two" in finals(bot, room))  # noqa: B023
        assert finals(bot, room).count(MOVED) == 1, crash_at
        assert len(requests(bot)) == 2
    assert died >= 5


CHOOSING = HostSettings(agent_choice="per_conversation")


async def test_a_fixed_agent_is_not_chosen() -> None:
    """By default there is no `!agent`."""
    bot = world(open_to={"agent-1": ["@ann"]})
    async with bot.running():
        await bot.push("!agent agent-1")
        assert (await bot.pop()).startswith("I don't know `!agent`.")


async def test_a_conversation_gets_the_agent_that_was_chosen() -> None:
    """The list marks the present one; choosing moves this conversation, for good, and no other."""
    bot = world(people={"@ann": "agent-0"}, settings=CHOOSING, open_to={"agent-1": ["@a*"]})
    async with bot.running():
        await bot.push("!agent")
        assert (await bot.pop()).splitlines()[:2] == ["1. Agent 0 (`agent-0`) **(this one)**", "2. Agent 1 (`agent-1`)"]
        await bot.push("!agent 2")
        assert await bot.pop() == MOVED
        await bot.push("!agent Agent 1")
        assert await bot.pop() == "**Agent 1** answers here already."
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "agent-1: hello"
        await bot.push("hello", conversation="second")
        assert await bot.pop("second") == "agent-0: hello"


async def test_a_person_gets_the_agent_that_they_chose() -> None:
    """Under `per_person` all conversations of the person move, and new ones begin with it."""
    bot = world(
        people={"@ann": "agent-0"}, settings=HostSettings(agent_choice="per_person"), open_to={"agent-1": ["@ann"]}
    )
    async with bot.running():
        await bot.push("hello", conversation="second")
        assert await bot.pop("second") == "agent-0: hello"
        await bot.push("!agent agent-1")
        assert await bot.pop() == MOVED
        assert await bot.pop("second") == MOVED
        await bot.push("hello", conversation="third")
        assert await bot.pop("third") == "agent-1: hello"


@pytest.mark.parametrize("choice", ["per_person", "per_conversation"])
async def test_nobody_chooses_an_agent_that_is_not_open_to_them(choice: Any) -> None:
    """What the registry does not give a person they neither see nor get; what it takes back they lose."""
    bot = world(people={"@ann": "agent-0"}, settings=HostSettings(agent_choice=choice))
    async with bot.running():
        await bot.push("!agent")
        assert "agent-1" not in await bot.pop()
        await bot.push("!agent agent-1")
        assert await bot.pop() == "There is no such agent for you; `!agent` lists them."
        bot.open_to = {"agent-1": ["@ann"]}
        await bot.engine.reload(bot.registry())
        await bot.push("!agent agent-1")
        assert await bot.pop() == MOVED
        bot.open_to = {}
        await bot.engine.reload(bot.registry())
        await bot.push("hello")
        assert await bot.pop() == MOVED.replace("Agent 1", "Agent 0")
        assert await bot.pop() == "agent-0: hello"


class Describing(ScriptedTransport):
    """An agent that publishes what it is."""

    async def describe(self, agent: Agent) -> Sequence[Section]:
        """One section, or a bug."""
        if agent.id == "agent-1":
            raise ZeroDivisionError
        return [Section(title="Persona", lines=("friendly",))]


async def test_settings_show_what_applies() -> None:
    """`!settings` says what applies here with what the agent publishes; an agent that can't is left out."""
    bot = world(people={"@ann": "agent-0", "@bob": "agent-1"})
    bot.transport = Describing()
    async with bot.running():
        await bot.push("!settings")
        assert await bot.pop() == (
            "**Settings**\n- language: English\n- agent: Agent 0\n- answers appear when they are complete\n"
            "- the tool that the agent is using is shown\n- files waiting: 0 of at most 20\n\n**Persona**\n- friendly"
        )
        await bot.push("!settings", conversation="bob's", sender="@bob")
        assert "Agent 1" in await bot.pop("bob's")


async def test_operators_see_how_the_host_is() -> None:
    """`!status` is for operators alone."""
    bot = world(settings=HostSettings(operators=("@ops",)), hooks=[ops])
    async with bot.running():
        await bot.push("!status")
        assert await bot.pop() == "You may not use `!status` here."
        await bot.push("!status", conversation="desk", sender="@ops")
        said = await bot.pop("desk")
    assert said.splitlines()[:5] == [
        "**Status**",
        "- running turns: 1",
        "- messages waiting: 0",
        "- parts of answers to send: 0",
        "- dead letters: 0",
    ]
    assert said.splitlines()[-1] == "- memory: all is well"
