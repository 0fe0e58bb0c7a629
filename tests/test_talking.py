"""Talking: edits, redactions, what goes along and threads, through the whole host on memory doubles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from surfaces_core import (
    Address,
    AgentRequest,
    Binding,
    End,
    Inbound,
    Kind,
    Pace,
    Text,
    Tool,
    Unavailable,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)
QUICK = HostSettings(retry_base_s=0.001, retry_cap_s=0.002, shutdown_grace_s=0.05)


class Gated:
    """An agent that says what it was asked, and holds what the test wants it to hold."""

    def __init__(self, *held: str) -> None:
        self.gates = {text: asyncio.Event() for text in held}
        self.transport = ScriptedTransport.answering(self._script)

    def _script(self, request: AgentRequest) -> Iterable[Step]:
        yield Text(f"You said {request.text}")
        if request.text in self.gates:
            yield self.gates[request.text]
        yield End()

    def open(self) -> None:
        """Hold nothing any longer."""
        for gate in self.gates.values():
            gate.set()

    @property
    def asked(self) -> list[str]:
        """Every question so far."""
        return [request.text for request in self.transport.requests]

    @property
    def stopped(self) -> list[str]:
        """The questions whose work was stopped."""
        return [request.text for request in self.transport.stopped]


async def edit(bot: TestBot, target: str, text: str, **more: Any) -> None:
    """A person puts other words in the place of what they said."""
    await bot.messenger.say(text, kind=Kind.EDIT, target=target, **more)


async def redact(bot: TestBot, target: str, **more: Any) -> None:
    """A person takes back what they said."""
    await bot.messenger.say(kind=Kind.REDACTION, target=target, **more)


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def inbox(bot: TestBot) -> list[bytes]:
    """What is stored of the inbox."""
    return [value for row, value in bot.disk.rows.items() if row.startswith(b"in\0")]


# Edits ---------------------------------------------------------------------------------------------


async def test_an_edit_of_what_waits_replaces_its_words() -> None:
    """The agent is asked what the person means now, and only that."""
    agent = Gated("first")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("first")
        await bot.messenger.say("secnod", event_id="$typo")
        await edit(bot, "$typo", "second")
        await until(lambda: b"secnod" not in b"".join(inbox(bot)) and len(inbox(bot)) == 2)
        agent.open()
        assert [await bot.pop(), await bot.pop()] == ["You said first", "You said second"]
    assert inbox(bot) == []


async def test_an_edit_of_what_waits_survives_a_restart() -> None:
    """It is stored in the place of what it replaces."""
    agent = Gated("first")
    bot = TestBot(transport=agent.transport, settings=QUICK)
    async with bot.running():
        await bot.messenger.say("first")
        await bot.messenger.say("secnod", event_id="$typo")
        await edit(bot, "$typo", "second")
        await until(lambda: b"secnod" not in b"".join(inbox(bot)) and len(inbox(bot)) == 2)
    agent.open()
    async with bot.running():
        await bot.messenger.until_final(2)
    assert agent.asked[-1] == "second"
    assert "secnod" not in agent.asked


async def test_an_edit_of_the_last_question_restarts_its_turn_in_place() -> None:
    """The agent's work is stopped, it is asked anew, and the message that streamed becomes the new answer."""
    agent = Gated("whta")
    bot = TestBot(transport=agent.transport, pace=EAGER)
    async with bot.running():
        await bot.messenger.say("whta", event_id="$typo")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["You said whta"])
        await edit(bot, "$typo", "what")
        shown = await bot.pop_message()
    assert shown.versions[0] == "You said whta"
    assert shown.text == "You said what"
    assert len(bot.messenger.shown) == 1
    assert agent.stopped == ["whta"]
    first, second = agent.transport.requests
    assert first.turn != second.turn, "an agent that drops repeats must not take it for one"
    assert inbox(bot) == []


async def test_an_edit_that_comes_while_the_agent_is_tried_again_is_asked() -> None:
    """A question that waits for its next try is one that waits."""
    failures = [Unavailable("refused"), Unavailable("refused")]
    settings = HostSettings(retry_base_s=60, retry_cap_s=60, shutdown_grace_s=0.05)
    bot = TestBot(
        transport=ScriptedTransport.answering(lambda r: [failures.pop()] if failures else [Text(r.text), End()]),
        settings=settings,
    )
    async with bot.running():
        await bot.messenger.say("whta", event_id="$typo")
        await until(lambda: len(failures) == 1)
        await edit(bot, "$typo", "what")
        await until(lambda: len(inbox(bot)) == 1 and b'"what"' in inbox(bot)[0])


REFUSED_EDITS: dict[str, dict[str, Any]] = {
    "by somebody else": {"sender": "@bob"},
    "after the window": {"sent_at": 10_000.0},
    "into a command": {"text": "!help"},
    "into nothing": {"text": " "},
}


@pytest.mark.parametrize("how", REFUSED_EDITS)
async def test_an_edit_that_is_not_to_be_followed_changes_nothing(how: str) -> None:
    """The turn goes on, and nothing is said about it."""
    agent = Gated("question")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("question", event_id="$q")
        await until(lambda: agent.asked == ["question"])
        said: dict[str, Any] = {"text": "other"} | REFUSED_EDITS[how]
        await edit(bot, "$q", **said)
        await until(lambda: len(inbox(bot)) == 1)
        agent.open()
        assert await bot.pop() == "You said question"
        assert inbox(bot) == []
    assert agent.asked == ["question"]
    assert len(bot.messenger.shown) == 1


async def test_an_edit_of_what_is_not_the_last_question_is_ignored() -> None:
    """Who has gone on talking is answered in order."""
    agent = Gated("one")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("one", event_id="$one")
        await until(lambda: agent.asked == ["one"])
        await bot.messenger.say("two")
        await edit(bot, "$one", "three")
        await until(lambda: len(inbox(bot)) == 2 and len(bot.messenger.incoming) == 3)
        agent.open()
        assert [await bot.pop(), await bot.pop()] == ["You said one", "You said two"]


async def test_an_edit_of_what_is_answered_or_of_a_command_is_ignored() -> None:
    """An edit never triggers a command, and asks nothing by itself."""
    agent = Gated()
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("one", event_id="$one")
        assert await bot.pop() == "You said one"
        await edit(bot, "$one", "two")
        await bot.messenger.say("!hlep", event_id="$command")
        assert (await bot.pop()).startswith("I don't know")
        await edit(bot, "$command", "!help")
        await edit(bot, "$never", "three")
        await bot.messenger.say("four")
        assert await bot.pop() == "You said four"
    assert agent.asked == ["one", "four"]


# Redactions ----------------------------------------------------------------------------------------


async def test_a_redacted_message_that_waits_is_not_answered() -> None:
    """Nothing of it is kept, and what comes behind it is answered."""
    agent = Gated("first")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("first")
        await bot.messenger.say("never mind", event_id="$secret")
        await bot.messenger.say("third")
        await redact(bot, "$secret")
        await until(lambda: b"never mind" not in b"".join(inbox(bot)) and len(inbox(bot)) == 3)
        agent.open()
        assert [await bot.pop(), await bot.pop()] == ["You said first", "You said third"]
    assert agent.asked == ["first", "third"]


async def test_a_redacted_message_takes_its_files_along() -> None:
    """Files that it had brought already are removed, others stay."""
    files = MemoryFiles()
    failing = [Unavailable("away")]
    agent = ScriptedTransport.answering(lambda r: [failing[0]] if failing else [Text(str(r.attachments)), End()])
    settings = HostSettings(retry_base_s=60, retry_cap_s=60, shutdown_grace_s=0.05)
    bot = TestBot(transport=agent, files=files, settings=settings)
    async with bot.running():
        await bot.messenger.say(files={"kept.txt": b"kept"})
        await bot.pop()
        await bot.messenger.say("look", files={"gone.txt": b"gone"}, event_id="$look")
        await until(lambda: len(agent.requests) == 1)
        await redact(bot, "$look")
        await until(lambda: inbox(bot) == [])
        failing.clear()
        await bot.messenger.say("what is there?")
        assert await bot.pop() == "('kept.txt',)"
    assert list(files.contents["/agents/0"]) == ["kept.txt"]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_redacted_file_that_waits_goes_to_nobody(restart: bool) -> None:
    """Whoever sent a wrong picture and took it back has taken it back, over a restart, too."""
    agent = ScriptedTransport.answering(lambda r: [Text(str(r.attachments)), End()])
    files = MemoryFiles()
    bot = TestBot(transport=agent, files=files)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(bot.running())
        await bot.messenger.say(files={"wrong.png": b"1"}, event_id="$wrong")
        await bot.messenger.say(files={"right.png": b"2"}, event_id="$right")
        await bot.messenger.until(lambda: "2 waiting" in "".join(bot.messenger.texts()))
        await bot.pop()
        if restart:
            await stack.aclose()
            await stack.enter_async_context(bot.running())
        await redact(bot, "$wrong")
        await until(lambda: inbox(bot) == [])
        await bot.messenger.say("look")
        assert await bot.pop() == "('right.png',)"
    assert list(files.contents["/agents/0"]) == ["right.png"]


async def test_a_redacted_question_is_stopped_quietly() -> None:
    """The agent's work is stopped; where nothing shows, nothing is said."""
    agent = Gated("secret")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("secret", event_id="$secret")
        await until(lambda: agent.asked == ["secret"])
        await redact(bot, "$secret")
        await until(lambda: inbox(bot) == [])
        await bot.messenger.say("next")
        assert await bot.pop() == "You said next"
    assert agent.stopped == ["secret"]
    assert len(bot.messenger.shown) == 1


async def test_a_redacted_question_whose_answer_streams_ends_as_stopped() -> None:
    """What shows becomes final, without the answer."""
    agent = Gated("secret")
    bot = TestBot(transport=agent.transport, pace=EAGER)
    async with bot.running():
        await bot.messenger.say("secret", event_id="$secret")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["You said secret"])
        await redact(bot, "$secret")
        assert await bot.pop() == "Stopped."
        await redact(bot, "$secret", event_id="$again")
        await until(lambda: inbox(bot) == [])
    assert len(bot.messenger.shown) == 1


# What goes along ------------------------------------------------------------------------------------


async def test_what_is_replied_to_is_given_to_the_agent() -> None:
    """As a quotation before the words, and not more of it than helps."""
    agent = Gated()
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("why?", quote="It rains.\n\nAll day.")
        await bot.pop()
        await bot.messenger.say("why?", quote="x" * 100_000)
        await bot.pop()
    assert agent.asked[0] == "> It rains.\n>\n> All day.\n\nwhy?"
    assert agent.asked[1] == f"> {'x' * 2000}…\n\nwhy?"


async def test_a_voice_message_asks_at_once_with_whatever_waited() -> None:
    """Who speaks does not have to write as well."""
    agent = ScriptedTransport.answering(lambda r: [Text(f"{r.text} {r.attachments}"), End()])
    bot = TestBot(transport=agent)
    async with bot.running():
        await bot.messenger.say(files={"plan.txt": b"1"})
        await bot.pop()
        await bot.messenger.say(files={"voice.ogg": b"2"}, voice=True)
        assert await bot.pop() == "(Voice message: voice.ogg) ('plan.txt', 'voice.ogg')"


async def test_a_voice_message_that_cannot_be_fetched_asks_nothing() -> None:
    """The person hears why."""
    agent = Gated()
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        message = await bot.messenger.say(files={"voice.ogg": b"2"}, voice=True)
        del bot.messenger.uploads[message.attachments[0].ref]
        assert await bot.pop() == "That file is gone."
    assert agent.asked == []


async def test_messages_are_acknowledged_when_taken_up_and_when_they_wait() -> None:
    """And what fails about it harms nothing."""
    agent = Gated("one")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        acknowledge = bot.surface.acknowledge

        async def unsteady(message: Inbound, *, waiting: bool) -> None:
            await acknowledge(message, waiting=waiting)
            raise Unavailable("not now")

        bot.surface.acknowledge = unsteady  # type: ignore[method-assign]
        await bot.messenger.say("one", event_id="$one")
        await bot.messenger.say("two", event_id="$two")
        await bot.messenger.until(lambda: len(bot.messenger.acknowledged) == 2)
        agent.open()
        assert [await bot.pop(), await bot.pop()] == ["You said one", "You said two"]
        await bot.messenger.until(lambda: len(bot.messenger.acknowledged) == 3)
    assert sorted(bot.messenger.acknowledged) == [("$one", False), ("$two", False), ("$two", True)]


async def test_where_several_people_talk_an_answer_says_whom_it_is_for() -> None:
    """As a reply to the question."""
    gate = asyncio.Event()
    agent = ScriptedTransport.answering(lambda r: [Text("So it is."), gate, End()])
    bot = TestBot(transport=agent, pace=EAGER, rooms=True)
    bot.messenger.rooms["group"] = Binding(
        address=Address(surface="memory", conversation="group"),
        owner="group", number=1, name="C1", agent="agent-0", context="1", created_at=1.0, shared=True,
    )  # fmt: skip
    async with bot.running():
        await bot.messenger.say("is it?", conversation="group", sender="@bob", event_id="$bob")
        await bot.messenger.until(lambda: bot.messenger.texts("group") == ["So it is."])
        assert [message.reply_to for message in bot.messenger.shown.values()] == ["$bob"]
        gate.set()
        await bot.messenger.until_final(1, "group")
    (sent,) = bot.surface.sent
    assert (sent.reply_to, sent.asker) == ("$bob", "@bob")


TOOLS: dict[str, list[str]] = {
    "off": ["Rain."],
    "compact": ["using search", "using read", "Rain."],
    "full": ["using search", "used search\nusing read", "Rain."],
}


@pytest.mark.parametrize("show", TOOLS)
async def test_tools_show_as_the_operator_wants(show: Any) -> None:
    """In the message that becomes the answer, never in one of their own."""
    gates = [asyncio.Event() for _ in range(3)]

    def script(_request: AgentRequest) -> Iterable[Step]:
        yield Tool(name="search", id="1")
        yield gates[0]
        yield Tool(name="search", id="1", done=True)
        yield Tool(name="read", id="2")
        yield Tool(name="read", id="2")
        yield gates[1]
        yield Text("Rain.")
        yield gates[2]
        yield End()

    bot = TestBot(transport=ScriptedTransport.answering(script), pace=EAGER, settings=HostSettings(show_tools=show))
    async with bot.running():
        await bot.push("what is the weather?")
        for gate, text in zip(gates, TOOLS[show][-3:] if show != "off" else ["", "", "Rain."], strict=True):
            await bot.messenger.until(lambda text=text: bot.messenger.texts() == ([text] if text else []))  # type: ignore[misc]
            gate.set()
        shown = await bot.pop_message()
    assert len(bot.messenger.shown) == 1
    assert list(dict.fromkeys(shown.versions)) == TOOLS[show]


# Threads -------------------------------------------------------------------------------------------


async def test_a_thread_is_a_lane_of_its_own_in_the_same_context() -> None:
    """It is answered in the thread, whatever the conversation waits for."""
    agent = Gated("slow")
    bot = TestBot(transport=agent.transport, pace=EAGER)
    async with bot.running():
        await bot.messenger.say("slow")
        await until(lambda: agent.asked == ["slow"])
        await bot.messenger.say("quick", thread="$root")
        await bot.messenger.until_final(1)
        agent.open()
        await bot.messenger.until_final(2)
    threads = {message.text: message.thread for message in bot.messenger.shown.values()}
    assert threads == {"You said slow": "", "You said quick": "$root"}
    assert len({request.context for request in agent.transport.requests}) == 1


async def test_stop_in_a_thread_stops_what_runs_there() -> None:
    """And nothing else; what it says is said there too."""
    agent = Gated("main", "side")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("main")
        await bot.messenger.say("side", thread="$root")
        await until(lambda: len(agent.asked) == 2)
        await bot.messenger.say("!stop", thread="$root")
        await until(lambda: agent.stopped == ["side"])
        await bot.messenger.until_final(1)
        assert {message.thread for message in bot.messenger.shown.values()} == {"$root"}
        agent.open()
        await until(lambda: "You said main" in bot.messenger.texts())


async def test_files_of_a_thread_go_with_the_words_said_there() -> None:
    """Each thread has files of its own that wait."""
    agent = ScriptedTransport.answering(lambda r: [Text(f"{r.text} {r.attachments}"), End()])
    bot = TestBot(transport=agent)
    async with bot.running():
        await bot.messenger.say(files={"side.txt": b"1"}, thread="$root")
        assert await bot.pop() == "Got `side.txt`. 1 waiting for your next message."
        await bot.messenger.say("main")
        assert await bot.pop() == "main ()"
        await bot.messenger.say("side", thread="$root")
        assert await bot.pop() == "side ('side.txt',)"


async def test_an_edit_in_a_thread_finds_its_message() -> None:
    """Messengers need not say of an edit in which thread it is."""
    agent = Gated("whta")
    bot = TestBot(transport=agent.transport)
    async with bot.running():
        await bot.messenger.say("whta", thread="$root", event_id="$typo")
        await until(lambda: agent.asked == ["whta"])
        await edit(bot, "$typo", "what")
        assert (await bot.pop_message()).thread == "$root"
    assert agent.asked == ["whta", "what"]
