"""Questions that wait for a person: of agents and of commands, through restarts, reactions and other talk."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Literal

import pytest

from surfaces_core import (
    Address,
    AgentRequest,
    Command,
    CommandCall,
    Confirm,
    End,
    Inbound,
    Kind,
    Pace,
    Question,
    Rejected,
    Text,
    hookimpl,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.journal import Entry, Journal
from surfaces_core._engine.questions import GRACE_S, YES, Open, Questions
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

SHORT = HostSettings(shutdown_grace_s=0.1)
PACE = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=5)
ASKED = words.question("Sure?", "!")


def asking(*texts: str) -> ScriptedTransport:
    """An agent that asks before it does anything."""
    script: list[Step] = [*(Confirm(id=f"q{n}", text=text) for n, text in enumerate(texts or ("Sure?",)))]
    return ScriptedTransport.answering(lambda request: [*script, Text(f"Done {request.text}."), End()])


async def react(bot: TestBot, emoji: str, *, sender: str = "@ann", at: str = ASKED) -> None:
    """A person reacts to the message of the bot that begins so."""
    (shown,) = [name for name, message in bot.messenger.shown.items() if message.text.startswith(at)]
    number = len(bot.messenger.incoming) + 1
    reaction = Inbound(
        address=Address(surface="memory", conversation="home"),
        event_id=f"$r{number}",
        sender=sender,
        sent_at=float(number),
        kind=Kind.REACTION,
        text=emoji,
        target=f"$shown-{shown}",
    )
    bot.messenger.incoming.append(reaction)
    await bot.messenger.change()


def finals(bot: TestBot, conversation: str = "home") -> list[str]:
    """Everything that the bot has said for good."""
    return [m.text for m in bot.messenger.shown.values() if m.conversation == conversation and m.final]


async def idle(bot: TestBot) -> None:
    """Everything that was said is taken in, worked on and shown."""
    turns = bot.engine.turns
    while (  # noqa: ASYNC110 - the disk has no event for this
        int(bot.disk.rows.get(b"cursor\0memory", b"0")) < len(bot.messenger.incoming)
        or len(turns.lanes)
        or len(turns.urgent)
        or any(row.startswith(b"out\0") for row in bot.disk.rows)
    ):
        await asyncio.sleep(0)


def rows(bot: TestBot) -> list[bytes]:
    """The stored questions."""
    return [row for row in bot.disk.rows if row.startswith(b"ask\0")]


async def cut_at_the_question(bot: TestBot) -> None:
    """A first life that ends while the agent waits."""
    async with bot.running():
        await bot.push("go")
        assert await bot.pop() == ASKED


# An agent's questions -------------------------------------------------------------------------------


@pytest.mark.parametrize(("emoji", "approved"), [("👍", True), ("👍🏽", True), ("👎", False)])
async def test_a_reaction_answers_the_question_that_it_stands_at(emoji: str, approved: bool) -> None:
    """Thumbs up is a yes, thumbs down a no, whatever their colour."""
    bot = TestBot(transport=asking())
    async with bot.running():
        await bot.push("go")
        assert await bot.pop() == ASKED
        await react(bot, emoji)
        assert await bot.pop() == "Done go."
        await idle(bot)
    assert bot.transport.answers == [("q0", approved)]  # type: ignore[attr-defined]
    assert rows(bot) == []


async def test_only_the_person_who_is_asked_may_answer() -> None:
    """Somebody else's thumb and somebody else's word change nothing; nor does another emoji."""
    bot = TestBot(transport=asking())
    async with bot.running():
        await bot.push("go")
        await bot.pop()
        await react(bot, "👍", sender="@eve")
        await react(bot, "🎉")
        await bot.push("!yes", sender="@eve")
        assert await bot.pop() == words.NO_QUESTION()
        assert bot.transport.answers == []  # type: ignore[attr-defined]
        await react(bot, "👎")
        assert await bot.pop() == "Done go."
    assert bot.transport.answers == [("q0", False)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["!yes", "👍"])
async def test_an_answer_after_a_restart_asks_the_same_turn_again_and_nothing_twice(how: str) -> None:
    """The agent gets the same turn, and its repeated question is answered at once."""
    bot = TestBot(transport=asking(), settings=SHORT)
    await cut_at_the_question(bot)
    async with bot.running():
        await idle(bot)
        assert finals(bot) == [ASKED]
        await (bot.push(how) if how == "!yes" else react(bot, how))
        await bot.messenger.until(lambda: "Done go." in finals(bot))
        await idle(bot)
    first, second = bot.transport.requests  # type: ignore[attr-defined]
    assert first == second
    assert bot.transport.answers == [("q0", True)]  # type: ignore[attr-defined]
    assert finals(bot).count(ASKED) == 1
    assert rows(bot) == []


async def test_files_of_a_question_that_failed_in_the_end_wait_again() -> None:
    """They were put aside with it; what the agent broke off after the yes leaves them to the next text."""

    def script(request: AgentRequest) -> list[Step]:
        again = Rejected("gone", code="AGENT_CUT_OFF") if "!broken" in asked else asyncio.Event()
        return [Confirm(id="q0", text="Sure?"), again] if request.text == "go" else [Text("Thanks."), End()]

    asked: list[str] = []
    transport = ScriptedTransport.answering(script)
    bot = TestBot(transport=transport, settings=SHORT)
    async with bot.running():
        await bot.push(files={"a.txt": b"a"})
        await bot.pop()
        await bot.push("go")
        assert await bot.pop() == ASKED
    async with bot.running():
        await idle(bot)
        asked.append("!broken")
        await bot.push("!yes")
        await idle(bot)
    async with bot.running():
        await bot.push("and now")
        await bot.messenger.until(lambda: "Thanks." in finals(bot))
        await idle(bot)
    assert [(request.text, request.attachments) for request in transport.requests] == [
        ("go", ("a.txt",)),
        ("go", ("a.txt",)),
        ("and now", ("a.txt",)),
    ]
    assert not [row for row in bot.disk.rows if row.startswith(b"staged")]


async def test_a_no_after_a_restart_closes_the_question() -> None:
    """The agent is not asked again, and there is nothing left to answer."""
    bot = TestBot(transport=asking(), settings=SHORT)
    await cut_at_the_question(bot)
    async with bot.running():
        await bot.push("!no")
        assert await bot.pop() == "Passed on: no."
        await bot.push("!yes")
        assert await bot.pop() == words.NO_QUESTION()
    assert len(bot.transport.requests) == 1  # type: ignore[attr-defined]
    assert rows(bot) == []


async def test_a_question_that_is_open_after_a_restart_blocks_nobody() -> None:
    """Other messages go to the agent, and the question stays open behind them."""
    bot = TestBot(transport=asking(), settings=SHORT)
    await cut_at_the_question(bot)
    bot.transport.script = lambda request: [Text(f"Said {request.text}."), End()]  # type: ignore[attr-defined]
    async with bot.running():
        await bot.push("yes")
        assert await bot.pop() == "Said yes."
        await bot.push("!yes")
        assert sorted([await bot.pop(), await bot.pop()]) == ["Passed on: yes.", "Said go."]


async def test_what_a_draft_showed_is_not_left_half_finished() -> None:
    """Where something of the answer shows, it says that the question is what it waits for."""
    script: list[Step] = [Text("Well, "), Confirm(id="q", text="Sure?"), Text("done."), End()]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), settings=SHORT, pace=PACE)
    async with bot.running():
        await bot.push("go")
        await bot.messenger.until(lambda: len(bot.messenger.shown) == 2)
    async with bot.running():
        await bot.messenger.until(lambda: words.STILL_OPEN() in finals(bot))
        await bot.push("!yes")
        await bot.messenger.until(lambda: "Well, done." in finals(bot))
    assert sorted(finals(bot)) == sorted([words.STILL_OPEN(), ASKED, "Passed on: yes.", "Well, done."])


async def test_a_question_whose_time_ends_after_a_restart_is_said_to_have_ended_once() -> None:
    """Not at every start, and an answer that comes later is none."""
    clock = 1000.0
    bot = TestBot(transport=asking(), settings=SHORT, now=lambda: clock)
    await cut_at_the_question(bot)
    async with bot.running():
        await idle(bot)
        clock += 1801
        bot.engine.questions._changed.set()
        assert await bot.pop() == words.QUESTION_LAPSED()
    async with bot.running():
        await bot.push("!yes")
        assert await bot.pop() == words.NO_QUESTION()
    assert finals(bot).count(words.QUESTION_LAPSED()) == 1


async def test_a_question_whose_time_ended_while_the_host_was_away_is_said_to_have_ended_once() -> None:
    """Its turn is over, with that line for an answer."""
    clock = 1000.0
    bot = TestBot(transport=asking(), settings=SHORT, now=lambda: clock)
    await cut_at_the_question(bot)
    clock += 1801
    for _ in range(2):
        async with bot.running():
            await idle(bot)
    assert finals(bot) == [ASKED, words.QUESTION_LAPSED()]
    assert rows(bot) == []


async def test_an_agreement_holds_for_the_very_question_and_for_one_time() -> None:
    """Asked in other words, or a second time, the person is asked; so nothing is agreed to unseen."""
    bot = TestBot(transport=asking("Sure?"), settings=SHORT)
    await cut_at_the_question(bot)
    twice: list[Step] = [Confirm(id="q0", text="Sure?"), Confirm(id="q0", text="Sure?"), Text("Done."), End()]
    bot.transport.script = lambda _request: twice  # type: ignore[attr-defined]
    async with bot.running():
        await bot.push("!yes")
        await bot.messenger.until(lambda: finals(bot).count(ASKED) == 2)
        assert bot.transport.answers == [("q0", True)]  # type: ignore[attr-defined]
        await bot.push("!no")
        await bot.messenger.until(lambda: "Done." in finals(bot))
    assert bot.transport.answers == [("q0", True), ("q0", False)]  # type: ignore[attr-defined]


async def test_an_agreement_lets_the_agent_be_asked_once_and_no_more() -> None:
    """It comes before the turn is taken up again; when that is cut short too, it is an interruption like any other."""
    gate = asyncio.Event()
    scripts: dict[str, list[Step]] = {"go": [Confirm(id="q0", text="Sure?"), asyncio.Event()], "hold": [gate]}
    transport = ScriptedTransport.answering(lambda request: scripts[request.text])
    bot = TestBot(transport=transport, settings=SHORT)
    async with bot.running():
        await bot.push("hold", conversation="before")
        await bot.push("go")
        assert await bot.pop() == ASKED
    bot.settings = HostSettings(shutdown_grace_s=0.1, max_concurrent_turns=1, on_interrupt="retry")
    async with bot.running():
        await bot.push("!yes")
        await bot.messenger.until(lambda: words.AGREED() in finals(bot))
        gate.set()
        while not transport.answers:  # noqa: ASYNC110 - the agent has no event for this
            await asyncio.sleep(0)
    bot.settings = SHORT
    async with bot.running():
        await bot.messenger.until(lambda: words.INTERRUPTED() in finals(bot))
        await idle(bot)
    assert [request.text for request in transport.requests].count("go") == 2
    assert finals(bot) == [ASKED, words.AGREED(), words.INTERRUPTED()]
    assert rows(bot) == []


class Clear:
    """A command that clears the context."""

    async def clear(self, call: CommandCall) -> str:
        """Do it."""
        await call.desk.clear_context()
        return "Cleared."

    @hookimpl
    def surfaces_commands(self) -> Sequence[Command]:
        """It."""
        return [Command(name="clear", help="forgets", handler=self.clear)]


async def test_an_answer_outlives_a_cleared_context() -> None:
    """A person agrees while what clears the context still waits: the turn that goes on asks no second time."""
    gate = asyncio.Event()
    scripts: dict[str, list[Step]] = {"go": [Confirm(id="q0", text="Sure?"), Text("Done."), End()], "hold": [gate]}
    transport = ScriptedTransport.answering(lambda request: scripts[request.text])
    bot = TestBot(transport=transport, settings=SHORT, hooks=[Clear()])
    await cut_at_the_question(bot)
    async with bot.running():
        for text in ("hold", "!clear", "!yes"):
            await bot.push(text)
        await bot.messenger.until(lambda: words.AGREED() in finals(bot))
        gate.set()
        await bot.messenger.until(lambda: "Done." in finals(bot) or finals(bot).count(ASKED) == 2)
        await idle(bot)
    assert "Cleared." in finals(bot)
    assert finals(bot).count(ASKED) == 1
    assert rows(bot) == []


async def test_cancel_declines_what_an_agent_asks() -> None:
    """The agent hears no."""
    bot = TestBot(transport=asking())
    async with bot.running():
        await bot.push("go")
        await bot.pop()
        await bot.push("!cancel")
        assert sorted([await bot.pop(), await bot.pop()]) == ["Done go.", "Passed on: no."]
    assert bot.transport.answers == [("q0", False)]  # type: ignore[attr-defined]


# A command's questions ------------------------------------------------------------------------------


class Cake:
    """A command of a stranger that asks which cake, and then whether really."""

    async def cake(self, call: CommandCall) -> str:
        """Ask which."""
        return await call.desk.ask(Question(text="Which cake?", accepts=("1", "two"), data="cake", expires_s=60))

    async def answered(self, call: CommandCall, question: Question) -> str:
        """Go on."""
        if question.data == "cake" and call.rest == "two":
            return await call.desk.ask(Question(text="Two of them?", data="two"))
        return f"{question.data}: {call.rest}"

    @hookimpl
    def surfaces_commands(self) -> Sequence[Command]:
        """`!cake`."""
        return [Command(name="cake", help="asks", handler=self.cake, answered=self.answered)]


async def test_an_answer_goes_to_the_command_and_anything_else_to_the_agent() -> None:
    """The question stays open behind another message, through a restart, for its person alone."""
    bot = TestBot(hooks=[Cake()])
    async with bot.running():
        await bot.push("!cake")
        assert await bot.pop() == "Which cake?\n\n`!cancel` leaves this."
        await bot.push("what is there?")
        assert await bot.pop() == "what is there?"
    async with bot.running():
        await bot.push("1", conversation="elsewhere")
        assert await bot.pop("elsewhere") == "1"
        await bot.push(" TWO ")
        assert await bot.pop() == words.question("Two of them?", "!")
        await bot.push("!yes")
        assert await bot.pop() == "two: yes"
        await bot.push("1")
        assert await bot.pop() == "1"
    assert rows(bot) == []


@pytest.mark.parametrize(("emoji", "line"), [("👍", "two: yes"), ("👎", "two: no")])
async def test_a_reaction_answers_a_command_that_asks_yes_or_no(emoji: str, line: str) -> None:
    """As it does for an agent; the question that takes a number is not answered by it."""
    bot = TestBot(hooks=[Cake()])
    async with bot.running():
        await bot.push("!cake")
        await bot.pop()
        await react(bot, emoji, at="Which cake?")
        await bot.push("two")
        await bot.pop()
        await react(bot, emoji, at="Two of them?")
        assert await bot.pop() == line


async def test_a_question_can_be_left_and_ends_by_itself() -> None:
    """Afterwards its answers are words for the agent."""
    clock = 1000.0
    bot = TestBot(hooks=[Cake()], now=lambda: clock)
    async with bot.running():
        await bot.push("!cake")
        await bot.pop()
        await bot.push("!cancel")
        assert await bot.pop() == "Left."
        await bot.push("1")
        assert await bot.pop() == "1"
        await bot.push("!cake")
        await bot.pop()
        clock += 61
        await bot.push("1")
        assert await bot.pop() == "1"
        await bot.push("!cancel")
        assert await bot.pop() == words.NO_QUESTION()
        clock += GRACE_S
        bot.engine.questions._changed.set()
        while rows(bot):  # noqa: ASYNC110 - the disk has no event for this
            await asyncio.sleep(0)


# Asked again ----------------------------------------------------------------------------------------


async def test_retry_asks_the_last_question_again_after_a_restart_with_its_files() -> None:
    """A new turn with a new answer; commands and other people's questions are not it."""
    bot = TestBot()
    async with bot.running():
        await bot.push("!retry")
        assert await bot.pop() == words.NOTHING_TO_RETRY()
        await bot.push(files={"a.txt": b"a"})
        await bot.pop()
        await bot.push("look")
        await bot.pop()
        await bot.push("other", conversation="elsewhere", sender="@bob")
        await bot.pop("elsewhere")
    async with bot.running():
        await bot.push("!help retry")
        await bot.pop()
        await bot.push("!retry")
        assert await bot.pop() == "look"
        await bot.push("!retry")
        assert await bot.pop() == "look"
    asked = [request for request in bot.transport.requests if request.text == "look"]  # type: ignore[attr-defined]
    assert [request.attachments for request in asked] == [("a.txt",)] * 3
    assert len({request.turn for request in asked}) == 3


async def test_retry_waits_for_no_answer_that_is_on_its_way() -> None:
    """It says so instead."""
    gate = asyncio.Event()
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [gate, Text("There."), End()]))
    async with bot.running():
        await bot.push("go")
        await bot.messenger.until(lambda: bool(bot.disk.rows))
        await bot.push("!retry")
        assert await bot.pop() == words.STILL_ANSWERING(prefix="!")
        gate.set()
        assert await bot.pop() == "There."


# The crash sweep ------------------------------------------------------------------------------------


def said(bot: TestBot, text: str) -> bool:
    """Whether the bot has said it for good."""
    return text in finals(bot)


async def actor(bot: TestBot) -> None:
    """A person who agrees, answers a command and asks again, each when the time has come."""
    await bot.messenger.say("go", event_id="$go")
    await bot.messenger.until(lambda: said(bot, ASKED), timeout_s=20)
    await bot.messenger.say("!yes", event_id="$yes")
    await bot.messenger.until(lambda: said(bot, "Done go."), timeout_s=20)
    await bot.messenger.say("!cake", event_id="$cake")
    await bot.messenger.until(lambda: said(bot, "Which cake?\n\n`!cancel` leaves this."), timeout_s=20)
    await bot.messenger.say("two", event_id="$two")
    await bot.messenger.until(lambda: said(bot, words.question("Two of them?", "!")), timeout_s=20)
    await bot.messenger.say("!no", event_id="$no")
    await bot.messenger.until(lambda: said(bot, "two: no"), timeout_s=20)
    await bot.messenger.say("!retry", event_id="$retry")


async def swept(crash_at: int | None, side: Literal["before", "after"]) -> tuple[TestBot, int, bool]:
    """A life that ends at its n-th transaction and a clean one."""
    bot = TestBot(transport=asking(), hooks=[Cake()], settings=HostSettings(on_interrupt="retry", shutdown_grace_s=0.1))
    writes, crashed = 0, False
    async with asyncio.TaskGroup() as group:
        person = group.create_task(actor(bot))
        for number in (crash_at, None):
            storage = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=number, side=side)
            try:
                async with asyncio.timeout(20), bot.running(storage):
                    while not person.done():  # noqa: ASYNC110 - the test's own tasks have no event for it
                        await asyncio.sleep(0)
                    await bot.messenger.until(lambda: finals(bot).count(ASKED) == 2)
                    if bot.messenger.incoming[-1].event_id != "$again":
                        await bot.messenger.say("!yes", event_id="$again")
                    await bot.messenger.until(lambda: finals(bot).count("Done go.") == 2)
                    await idle(bot)
            except* Crash:
                pass
            writes = writes or storage.writes
            crashed = crashed or storage.crashed
    return bot, writes, crashed


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_at_any_transaction_asks_and_answers_everything_once(side: Literal["before", "after"]) -> None:
    """For every n: die there, live again, and each question stands there once with one effect of its answer."""
    _, count, _ = await swept(None, side)
    assert count > 30
    wanted = sorted(
        [
            *[ASKED, "Passed on: yes.", "Done go."] * 2,
            "Which cake?\n\n`!cancel` leaves this.",
            words.question("Two of them?", "!"),
            "two: no",
        ]
    )
    for number in range(1, count + 1):
        bot, _, _ = await swept(number, side)
        assert sorted(finals(bot)) == wanted, f"crash {side} transaction {number}"
        assert rows(bot) == [], f"crash {side} transaction {number}"
        assert [approved for _, approved in bot.transport.answers][-1:] == [True]  # type: ignore[attr-defined]


async def test_an_answer_may_come_before_it_is_waited_for() -> None:
    """A yes that comes as soon as the question is stored is the living turn's, which then waits no longer."""
    questions, here = Questions(Journal(MemoryStorage(None, None))), Address(surface="memory", conversation="home")
    said = Inbound(address=here, event_id="$1", sender="@ann", sent_at=1.0, text="!yes")
    question = Open(
        key="t.q1", seq=1, turn="t", address=here, person="@ann", text="Sure?", expires_at=math.inf, request="t"
    )
    with questions.living(question) as answer:
        questions.remember(question)
        questions.answered(question, YES, Entry(seq=2, turn="y", message=said)).then()
        async with asyncio.timeout(30):
            assert await questions.wait(question, answer) is True
    passed = questions.at("t.q1")
    assert passed is not None
    assert passed.passed
