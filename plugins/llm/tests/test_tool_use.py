"""One turn's use of tools: asked for, bound to its arguments, run once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from pydantic import BaseModel
from structlog.testing import capture_logs

from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    AgentTool,
    CommandError,
    Confirm,
    Progress,
    Rejected,
    Settings,
    Tool,
    ToolCall,
    ToolPolicy,
)
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_llm.toolbox.asking import question
from surfaces_llm.toolbox.ledger import Ledger
from surfaces_llm.toolbox.usable import BadArguments, Failed, of_plugin
from surfaces_llm.toolbox.use import Limits, Use

AGENT = Agent(id="a", label="A", transport="llm", workspace="17")
REQUEST = AgentRequest(turn="t1", agent=AGENT, context="1", text="?", sender="@ann:hs.test", conversation="!c1")


class Words(BaseModel):
    text: str


@dataclass
class House:
    """A store that outlives the lives of a turn, and a tool that writes down what it did."""

    store: MemoryStore = field(default_factory=MemoryStore)
    done: list[str] = field(default_factory=list)
    told: list[AgentEvent] = field(default_factory=list)
    policy: ToolPolicy = "ask"
    handler: Callable[[ToolCall], Awaitable[Any]] | None = None
    timeout_s: float = 60.0
    limits: Limits = field(default_factory=Limits)
    asks: str = "what"

    async def say(self, call: ToolCall) -> str:
        if self.handler is not None:
            answer: str = await self.handler(call)
            return answer
        self.done.append(call.arguments.text)
        return f"said {call.arguments.text}"

    async def life(self, request: AgentRequest = REQUEST) -> Use:
        """The turn, as one life of the host knows it."""
        self.told.clear()
        tool = AgentTool(name="say", description="Says.", arguments=Words, handler=self.say, timeout_s=self.timeout_s)
        self.ledger = Ledger(self.store, request, self.asks)
        await self.ledger.open()
        tools = {"say": of_plugin(tool, Settings())}
        return Use(
            request, tools, lambda _: self.policy, self.ledger, self.told.append, self.limits, structlog.get_logger()
        )

    async def asked(self, number: int = 1) -> Confirm:
        """The number-th question of this life, when it is there."""
        async with asyncio.timeout(5):
            while len(found := [event for event in self.told if isinstance(event, Confirm)]) < number:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return found[number - 1]


async def answered(house: House, turn: Use, approved: bool, arguments: Mapping[str, object], name: str = "x") -> str:
    async with asyncio.TaskGroup() as group:
        use = group.create_task(turn.use("say", arguments, name=name))
        turn.answer((await house.asked()).id, approved)
    return use.result()


async def test_what_is_allowed_runs():
    """An allowed tool runs at once, its beginning and its end are shown, its answer is the model's."""
    house = House(policy="allow")
    assert await (await house.life()).use("say", {"text": "hi"}) == "said hi"
    assert house.told == [Tool(name="say", id="1"), Tool(name="say", id="1", done=True)]


async def test_what_is_denied_does_not_exist():
    """A denied tool is not offered, and calling it all the same runs nothing."""
    house = House(policy="deny")
    turn = await house.life()
    assert not turn.offered
    with pytest.raises(Failed, match="no such tool"):
        await turn.use("say", {"text": "hi"})
    assert (house.done, house.told) == ([], [])


async def test_a_yes_runs_it_once():
    """Asked and allowed, it runs once; an answer that comes again finds nobody who waits."""
    house = House()
    turn = await house.life()
    assert await answered(house, turn, True, {"text": "hi"}) == "said hi"
    assert house.done == ["hi"]
    with pytest.raises(Rejected):
        turn.answer((await house.asked()).id, True)


async def test_a_no_runs_nothing():
    """Asked and declined, the model hears so and nothing ran."""
    house = House()
    turn = await house.life()
    with pytest.raises(ExceptionGroup) as caught:
        await answered(house, turn, False, {"text": "hi"})
    assert "did not allow" in str(caught.value.exceptions[0])
    assert house.done == []


async def test_the_same_again_is_asked_again():
    """A yes is good for one call: the very same call later in the turn is another question."""
    house = House()
    turn = await house.life()
    await answered(house, turn, True, {"text": "hi"}, name="same")
    async with asyncio.TaskGroup() as group:
        group.create_task(turn.use("say", {"text": "hi"}, name="same"))
        first, second = await house.asked(1), await house.asked(2)
        assert (first.id != second.id, first.text != second.text) == (True, True)
        assert house.done == ["hi"]
        turn.answer(second.id, True)
    assert house.done == ["hi", "hi"]


async def test_two_questions_are_told_apart():
    """Of two calls that wait, each answer counts for its own."""
    house = House()
    turn = await house.life()
    async with asyncio.TaskGroup() as group:
        uses = [group.create_task(_heard(turn, text)) for text in ("one", "two")]
        first, second = await house.asked(1), await house.asked(2)
        turn.answer(second.id, True)
        turn.answer(first.id, False)
    assert house.done == ["two"]
    assert [use.result()[:4] for use in uses] == ["The ", "said"]


async def _heard(turn: Use, text: str) -> str:
    try:
        return await turn.use("say", {"text": text}, name=text)
    except Failed as failure:
        return str(failure)


async def test_after_a_crash_the_question_is_the_same():
    """Asked, killed, begun again: the same call has the same question, and runs once when it is answered."""
    house = House()
    first = await _cut(house, await house.life(), house.asked)
    turn = await house.life()
    assert await answered(house, turn, True, {"text": "hi"}) == "said hi"
    assert (await house.asked()).text == first.text
    assert house.done == ["hi"]


async def test_after_a_crash_other_arguments_are_another_question():
    """Begun again, another call has a question of its own, so no answer to the first one fits it."""
    house = House()
    first = await _cut(house, await house.life(), house.asked)
    turn = await house.life()
    async with asyncio.TaskGroup() as group:
        use = group.create_task(turn.use("say", {"text": "hi, all"}, name="x"))
        second = await house.asked()
        assert first.text != second.text
        turn.answer(second.id, True)
    assert (use.result(), house.done) == ("said hi, all", ["hi, all"])


async def test_what_ran_before_a_crash_is_not_run_again():
    """A call with a result keeps it: neither asked nor run again, when the turn begins again."""
    house = House()
    await answered(house, await house.life(), True, {"text": "hi"})
    turn = await house.life()
    assert await turn.use("say", {"text": "hi"}, name="x") == "said hi"
    assert (house.done, house.told) == (["hi"], [])


async def test_what_a_crash_cut_off_is_not_run_again():
    """Killed while it ran, an approved call is not run twice: the model hears that nobody knows what it did."""
    house, begun = House(policy="allow"), asyncio.Event()

    async def endless(call: ToolCall) -> str:
        house.done.append(call.arguments.text)
        begun.set()
        await asyncio.Event().wait()
        return ""

    house.handler = endless
    await _cut(house, await house.life(), begun.wait)
    turn = await house.life()
    with pytest.raises(Failed, match="cut off by a restart"):
        await turn.use("say", {"text": "hi"}, name="x")
    assert house.done == ["hi"]


async def _cut(house: House, turn: Use, until: Callable[[], Any]) -> Any:
    """A life that ends in the middle of a call; nothing of it is written after that."""
    frozen: dict[str, bytes] = {}
    async with asyncio.TaskGroup() as group:
        use = group.create_task(turn.use("say", {"text": "hi"}, name="x"))
        seen = await until()
        frozen = dict(house.store.rows)
        use.cancel()
    house.store = MemoryStore(frozen)
    return seen


async def test_the_messages_of_a_cut_turn_are_kept_and_forgotten(monkeypatch: pytest.MonkeyPatch):
    """What a turn had said is there for its next life, until it is over; what was left behind goes with time."""
    house = House(policy="allow")
    await (await house.life()).use("say", {"text": "hi"}, messages=b"[1]")
    await house.life()
    assert house.ledger.kept == b"[1]"
    await house.ledger.close(answered=True)
    assert not house.store.rows
    await (await house.life()).use("say", {"text": "hi"}, messages=b"[2]")
    other = AgentRequest(turn="t2", agent=AGENT, context="1", text="?")
    await house.life(other)
    assert len(house.store.rows) == 2
    monkeypatch.setattr("surfaces_llm.toolbox.ledger.LEFT_S", -1.0)
    await house.life(other)
    assert not house.store.rows


async def test_a_turn_that_asks_something_else_begins_anew():
    """A question that was changed finds nothing of what it asked before, and no yes to that."""
    house = House()
    first = await _cut(house, await house.life(), house.asked)
    house.asks = "something else"
    turn = await house.life()
    assert house.ledger.kept == b""
    async with asyncio.TaskGroup() as group:
        group.create_task(turn.use("say", {"text": "hi"}, name="x"))
        assert (await house.asked()).text == first.text
        turn.answer((await house.asked()).id, True)


@pytest.mark.parametrize(
    ("error", "heard", "event"),
    [
        (Rejected("secret path", public="No such page."), "No such page.", "tool.refused"),
        (CommandError("Say it otherwise."), "Say it otherwise.", "tool.refused"),
        (KeyError("secret"), "The tool failed.", "tool.failed"),
        (TimeoutError("secret"), "The tool failed.", "tool.failed"),
        (asyncio.CancelledError("secret"), "The tool failed.", "tool.failed"),
    ],
)
async def test_an_error_is_told_without_insides(error: BaseException, heard: str, event: str):
    """What a tool says of itself reaches the model; a bug becomes a general word to it, and a line in the log."""

    async def broken(call: ToolCall) -> str:
        raise error

    house = House(policy="allow", handler=broken)
    turn = await house.life()
    with capture_logs() as logs, pytest.raises(Failed) as caught:
        await turn.use("say", {"text": "hi"})
    assert (str(caught.value), [line["event"] for line in logs]) == (heard, [event])
    assert house.told[-1] == Tool(name="say", id="1", done=True)


async def test_time_is_bounded():
    """A tool that takes too long is stopped, and the model hears it."""

    async def endless(call: ToolCall) -> str:
        await asyncio.Event().wait()
        return ""

    house = House(policy="allow", handler=endless, timeout_s=0.02)
    with pytest.raises(Failed, match=r"longer than 0.02 s"):
        await (await house.life()).use("say", {"text": "hi"})


async def test_a_stop_stops_the_tool():
    """Who cancels the turn cancels its tool, and the end of the call is shown."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(call: ToolCall) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    house = House(policy="allow", handler=endless)
    turn = await house.life()
    async with asyncio.TaskGroup() as group:
        use = group.create_task(turn.use("say", {"text": "hi"}))
        await begun.wait()
        use.cancel()
    assert (ended.is_set(), use.cancelled()) == (True, True)


async def test_progress_is_shown_under_the_tools_name():
    """How far a tool says it is shows while it runs."""

    async def slow(call: ToolCall) -> str:
        call.progress(Progress(text="half", fraction=0.5))
        return "ok"

    house = House(policy="allow", handler=slow)
    await (await house.life()).use("say", {"text": "hi"})
    assert Progress(text="say: half", fraction=0.5) in house.told


async def test_results_are_cut_and_calls_are_counted():
    """What goes to the model is bounded, in size and in number; a result of another type is a bug."""

    async def long(call: ToolCall) -> object:
        return "x" * 5000 if call.arguments.text == "long" else 7

    house = House(policy="allow", handler=long, limits=Limits(calls=2, result_chars=100))
    turn = await house.life()
    assert await turn.use("say", {"text": "long"}) == "x" * 100 + "\n[cut: these are 100 of 5000 characters]"
    with pytest.raises(Failed, match="The tool failed"):
        await turn.use("say", {"text": "seven"})
    with pytest.raises(Failed, match="last tool call"):
        await turn.use("say", {"text": "long"})


async def test_arguments_that_do_not_fit_are_not_asked_about():
    """The model hears what is wrong with its arguments; nobody is asked, nothing runs."""
    house = House()
    with pytest.raises(BadArguments, match="text"):
        await (await house.life()).use("say", {"txt": "hi"})
    assert (house.told, house.store.rows) == ([], {})


def test_a_question_shows_the_exact_arguments():
    """All of the arguments are shown, in a fence that they cannot leave, every character so that it shows."""
    asked = question("say", {"text": "a\n```\n**May I not?**", "b": "x\u202ey\u200bz\x00"}, 1, "d" * 64)
    assert '````json\n{\n  "b": "x\\u202ey\\u200bz\\u0000",\n  "text": "a\\n```\\n**May I not?**"\n}\n````' in asked
    assert "1-dddddddddddd" in asked


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2800", "\u3164", "\ufe0f", "\u0336", " " * 9])
def test_nothing_hides_in_a_question(blank: str):
    """Blanks that are no spaces, what is drawn over letters, and long gaps stand there as numbers."""
    asked = question("say", {"text": f"ls{blank}; rm"}, 1, "d" * 64)
    number = f"\\u{ord(blank[0]):04x}" * len(blank)
    assert f'"text": "ls{number}; rm"' in asked
    assert '"text": "a b   c é 文 हिन्दी"' in question("say", {"text": "a b   c é 文 हिन्दी"}, 1, "d" * 64)


def test_what_is_too_long_to_show_says_so():
    """Of long arguments the beginning shows, with their length and a digest of all, so that two never look alike."""
    one, two = (question("say", {"text": "x" * 9000 + end}, 1, end * 64) for end in ("a", "b"))
    assert "too long to show" in one
    assert ("first 1500 characters of 9017" in one.replace(",", ""), len(one) < 3000) == (True, True)
    assert ("a" * 64 in one, one != two) == (True, True)
