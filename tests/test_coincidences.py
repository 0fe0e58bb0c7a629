"""What the simulation found: things that happen at one instant, and what is left over by them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from surfaces_core import (
    Address,
    AgentRequest,
    Draft,
    End,
    Inbound,
    Kind,
    Observed,
    Pace,
    Shaper,
    Text,
    TurnEnded,
    Unavailable,
    hookimpl,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.journal import Journal, key
from surfaces_core._operating.letters import Letters
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)


class StopsAtOnce:
    """Stops the turn in the instant between its beginning and its first word to the agent."""

    def __init__(self) -> None:
        self.bot: TestBot

    @hookimpl
    def surfaces_shapers(self) -> Sequence[Shaper]:
        def shape(request: AgentRequest, message: Inbound) -> AgentRequest:
            asyncio.get_running_loop().call_soon(self.bot.engine.turns.stop, message)
            return request

        return [shape]


async def test_a_turn_that_is_stopped_before_it_listens_ends() -> None:
    """What shows drafts ends with the turn, though nothing of the agent was ever heard."""
    hook = StopsAtOnce()
    bot = hook.bot = TestBot(hooks=[hook], pace=EAGER)
    async with bot.running():
        await bot.push("go")
        assert await bot.pop() == "Stopped."


async def test_a_first_question_and_a_command_that_come_together_make_one_conversation() -> None:
    """Both belong to the same context, and it is the person's first."""
    bot = TestBot()
    await bot.push("hello")
    await bot.push("!stop")
    await bot.push("hello again")
    async with bot.running():
        await bot.messenger.until(lambda: {"hello again"} <= set(bot.messenger.texts()))
        (binding,) = bot.engine.book.live("memory", "@ann")
    assert binding.number == 1
    assert {request.context for request in bot.transport.requests} <= {binding.context}  # type: ignore[attr-defined]
    assert not [row for row in bot.disk.rows if row.startswith(b"opening\0")]


async def test_an_answer_that_is_sent_late_stands_before_the_one_that_streams() -> None:
    """A draft takes the place of its answer, so it waits until everything before it shows."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda r: [Text(r.text), *([gate] if r.text == "second" else []), End()])
    bot = TestBot(transport=transport, pace=EAGER)
    bot.messenger.faults.append(Unavailable("away"))
    async with bot.running():
        await bot.push("first")
        await bot.push("second")
        await bot.messenger.until(lambda: len(bot.messenger.shown) == 2)
        gate.set()
        assert await bot.messenger.until_final(2) == ["first", "second"]


class StopsTooLate:
    """Stops the first turn in the instant in which its answer is stored."""

    def __init__(self) -> None:
        self.bot: TestBot

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        if isinstance(event, TurnEnded) and self.bot.messenger.incoming[-1].text == "first":
            self.bot.engine.turns.stop(self.bot.messenger.incoming[-1])


async def test_a_stop_that_comes_too_late_stops_no_later_question() -> None:
    """What it meant is answered; what the person asks next has nothing to do with it."""
    hook = StopsTooLate()
    bot = hook.bot = TestBot(hooks=[hook])
    async with bot.running():
        await bot.push("first")
        assert await bot.pop() == "first"
        await bot.push("second")
        assert await bot.pop() == "second"


@pytest.mark.parametrize(
    ("first", "sender", "answer"),
    [
        ("!nonsense", "@ann", "I don't know `!nonsense`"),
        ("let me in", "@eve", "Only the owner of this conversation"),
    ],
)
async def test_stop_passes_over_what_is_no_question(first: str, sender: str, answer: str) -> None:
    """What is stopped is the question behind it; an unknown command and a stranger are answered as always."""
    gate = asyncio.Event()
    gate.set()
    transport = ScriptedTransport.answering(lambda r: [gate, Text(r.text), End()])
    bot = TestBot(transport=transport, settings=HostSettings(max_concurrent_turns=1))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "hello"
        gate.clear()
        await bot.push("other", conversation="other", sender="@bob")
        await bot.push(first, sender=sender)
        await bot.push("question")
        async with asyncio.timeout(5):
            while len(transport.requests) < 2:  # noqa: ASYNC110 - an agent that is asked changes nothing that people see
                await asyncio.sleep(0)
        await bot.push("!stop")
        await bot.push("!no")
        assert await bot.pop() == "There is no question waiting for an answer."
        gate.set()
        assert (await bot.pop()).startswith(answer)
        assert await bot.pop() == "Stopped."


async def test_a_letter_that_is_dropped_takes_along_what_it_began() -> None:
    """A conversation that was never made to its end leaves nothing behind when its letter goes."""
    disk = MemoryDisk()
    async with MemoryStorage(disk=disk) as storage:
        journal = Journal(storage)
        await journal.open()
        address = Address(surface="memory", conversation="door")
        call = Inbound(address=address, event_id="$1", sender="@ann", sent_at=1.0, kind=Kind.START)
        (entry,) = await journal.accept("memory", [call], "1", lambda entry: entry)
        await journal.write({key("opening", entry.turn): b"{}"})
        await journal.complete(entry, [], {}, dead="CRASHED")
        assert await Letters(journal, {}).drop([entry.seq, 99]) == [entry.seq]
        assert not [row for row in disk.rows if row.startswith((b"dead\0", b"opening\0"))]


async def test_a_stop_stops_nothing_that_is_said_after_it() -> None:
    """Though it comes in the same batch as the file and the question behind it."""
    bot = TestBot()
    await bot.messenger.say("!stop")
    await bot.messenger.say(files={"in.txt": b"input"})
    await bot.messenger.say("go on")
    async with bot.running():
        said = await bot.messenger.until_final(3)
    assert sorted(said) == ["Got `in.txt`. 1 waiting for your next message.", "Nothing is running here.", "go on"]


async def test_a_line_about_waiting_is_remembered_when_the_host_ends_while_it_is_shown() -> None:
    """The answer of the next life takes its place."""
    scripts: list[list[Step]] = [[Unavailable("away")], [Unavailable("away")]]
    transport = ScriptedTransport.answering(lambda r: scripts.pop(0) if scripts else [Text(r.text), End()])
    settings = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002)
    bot = TestBot(transport=transport, settings=settings, pace=Pace(typing_after_s=1000.0))
    showing = asyncio.Event()
    async with bot.running():
        show = bot.surface.show

        async def slow(draft: Draft) -> None:
            await show(draft)
            if draft.status:
                showing.set()
                await asyncio.Event().wait()

        bot.surface.show = slow  # type: ignore[method-assign]
        await bot.push("hello")
        await showing.wait()
    async with bot.running():
        assert await bot.pop() == "hello"
        assert [part.streamed for part in bot.surface.sent] == [True]
    assert len(bot.messenger.shown) == 1


async def test_each_flood_is_told_that_it_was_one() -> None:
    """Whatever ended the one before: what is put aside is said again."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda r: [gate, Text(r.text), End()])
    bot = TestBot(transport=transport, settings=HostSettings(max_lane_depth=1))
    async with bot.running():
        for _ in range(2):
            gate.clear()
            for text in ("question", "one too many", "!help stop"):
                await bot.push(text)
            assert (await bot.pop()).startswith("I still have ")
            gate.set()
            assert await bot.pop() == "question"
            assert (await bot.pop()).startswith("`!stop`")
            await bot.engine.turns.lanes.drained()
