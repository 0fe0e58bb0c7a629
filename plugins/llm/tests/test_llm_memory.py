"""What a model is told of a conversation, what is kept of it, and what is not."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import Any

import pytest
from pydantic import BaseModel

from surfaces_core import AgentTool, Progress, Rejected, Said, Text, ToolCall
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_llm import kept
from surfaces_llm.kept import LARGEST_ROW, tokens_of
from surfaces_testing.models import CUT, ModelFault, Reply, ToolUse, busy, failing, waits

STATELESS = {"mode": "stateless"}


async def test_a_conversation(talking: Any):
    """Question after question goes out with all that was said before, and the system prompt ahead of it."""
    async with talking(options={"system_prompt": "Be kind."}) as talk:
        assert (await talk.ask("one")).text == "You said: one. (question 1)"
        assert (await talk.ask("two")).text == "You said: two. (question 2)"
    assert talk.last == [
        ("system", "Be kind."),
        ("user", "one"),
        ("assistant", "You said: one. (question 1)"),
        ("user", "two"),
    ]


async def test_an_answer_is_streamed(talking: Any):
    """Every piece comes as it is sent, and the end says what it cost."""
    async with talking() as talk:
        heard = await talk.ask("one")
    assert (heard.pieces, heard.tokens) == (5, 18)


async def test_settings_go_along(talking: Any):
    """Temperature and the length of the answer are the model's to know."""
    async with talking(options={"temperature": 0.25, "max_output_tokens": 99}) as talk:
        await talk.ask()
        body = talk.server.record.asked[0].body
    assert body["temperature"] == 0.25
    assert 99 in (body.get("max_tokens"), body.get("max_completion_tokens"))


async def test_it_remembers_over_a_restart(talking: Any):
    """What was said is in the store, one row for each turn."""
    store = MemoryStore()
    async with talking(store=store) as talk:
        await talk.ask("one")
        await talk.ask("two")
    assert len(store.rows) == 2
    async with talking(store=store) as talk:
        assert (await talk.ask("what did I say?")).text == "You said: one, two"


async def test_a_repeated_turn_gets_its_answer_and_no_model_is_asked(talking: Any):
    """The host was killed between our write and its own: nothing is asked, said or paid for twice."""
    store = MemoryStore()
    async with talking(store=store) as talk:
        request = talk.request("one")
        first = await talk.hear(request)
    async with talking(store=store) as talk:
        again = await talk.hear(request)
        assert talk.server.record.asked == []
        await talk.ask("two")
        assert [text for role, text in talk.last if role == "user"] == ["one", "two"]
    assert (again.text, again.tokens) == (first.text, first.tokens)


async def test_a_turn_that_is_asked_otherwise_takes_its_own_place(talking: Any):
    """Under the same name with other words it is asked anew, and stands where it stood."""
    async with talking() as talk:
        await talk.ask("one", turn="t1")
        await talk.ask("two", turn="t2")
        assert (await talk.ask("ONE", turn="t1")).text == "You said: ONE. (question 2)"
        assert (await talk.ask("what did I say?")).text == "You said: ONE, two"


async def test_clear_removes_every_trace(talking: Any):
    """What was kept of a context is gone from the store, and that of others is not."""
    async with talking() as talk:
        await talk.ask("secret", context="1")
        await talk.ask("public", context="12")
        await talk.transport.forget(talk.agent, "1")
        assert not any(b"secret" in row for row in talk.store.rows.values())
        assert (await talk.ask("what did I say?", context="12")).text == "You said: public"


async def test_a_turn_of_a_context_that_is_cleared_meanwhile_keeps_nothing(talking: Any):
    """It ends, and leaves no row behind."""
    gate = asyncio.Event()
    async with talking() as talk:
        talk.server.faults = [waits(gate, pieces=1)]
        async with aclosing(talk.transport.run(talk.request("secret"))) as turn:
            await anext(turn)
            await talk.transport.forget(talk.agent, "1")
            gate.set()
            rest = [event async for event in turn]
        assert rest
        assert talk.store.rows == {}


class Nothing(BaseModel):
    """No arguments."""


@pytest.mark.parametrize("mode", ["kept", "stateless"])
@pytest.mark.parametrize("fault", [None, failing()], ids=["answered", "failed"])
async def test_a_tool_of_a_context_that_is_cleared_meanwhile_leaves_nothing(talking: Any, mode: str, fault: Any):
    """Neither its call nor its result stays, however the turn ends."""
    began, gate = asyncio.Event(), asyncio.Event()

    async def tell(call: ToolCall) -> str:
        call.progress(Progress(text="on it"))
        began.set()
        await gate.wait()
        return "secret"

    tool = AgentTool(name="tell", description="Tells.", arguments=Nothing, handler=tell, policy="allow")
    async with talking(tools=[tool], options={"tools": ["tell"], "max_steps": 2, "mode": mode}) as talk:
        talk.server.brain = lambda asked: Reply(tools=(ToolUse(name="tell"),))
        async with aclosing(talk.transport.run(talk.request(sender="@ann"))) as turn:
            await anext(turn)
            await began.wait()
            assert talk.store.rows
            await talk.transport.forget(talk.agent, "1")
            talk.server.faults = [fault]
            gate.set()
            with suppress(Rejected):
                assert [event async for event in turn]
        assert talk.store.rows == {}


async def test_a_result_that_is_more_than_the_model_takes_is_cut_to_fit(talking: Any):
    """One long page does not cost the answer, and the tools themselves are reckoned, too."""

    async def tell(call: ToolCall) -> str:
        return "文" * 20_000

    tool = AgentTool(name="tell", description="Tells. " * 300, arguments=Nothing, handler=tell, policy="allow")
    async with talking(tools=[tool], options={"tools": ["tell"]}, models={"small": {"context_tokens": 4000}}) as talk:
        talk.server.brain = lambda asked: (
            Reply(text="read") if asked.said[-1][0] == "tool" else Reply(tools=(ToolUse(name="tell"),))
        )
        for _ in range(2):
            assert (await talk.ask(sender="@ann")).text == "read"
            body = talk.server.record.asked[-1].body
            assert tokens_of(json.dumps([body["messages"], body["tools"]], ensure_ascii=False)) < 3200
            assert talk.last[-1][1].endswith("[cut: there is no room for more]")
            assert talk.last[-1][1].count("文") > 500


async def test_resting_keeps_everything(talking: Any):
    """A conversation that is archived comes back with what was said."""
    async with talking() as talk:
        await talk.ask("one")
        await talk.transport.rest(talk.agent, "1")
        assert (await talk.ask("what did I say?")).text == "You said: one"


async def test_what_does_not_end_well_is_not_kept(talking: Any):
    """Neither a turn that is cut off nor one that is stopped."""
    async with talking() as talk:
        talk.server.faults = [CUT]
        assert (await talk.ask("one")).code == "LLM_CUT_OFF"
        async with aclosing(talk.transport.run(talk.request("count to 500"))) as turn:
            await anext(turn)
        assert talk.store.rows == {}


async def test_stopping_hangs_up(talking: Any):
    """Closing the turn closes the connection: the provider sees it and stops working."""
    async with talking() as talk:
        talk.server.faults = [waits(asyncio.Event(), pieces=2)]
        async with aclosing(talk.transport.run(talk.request("count to 500"))) as turn:
            assert isinstance(await anext(turn), Text)
        async with asyncio.timeout(5):
            await talk.server.record.asked[0].hung_up.wait()


async def test_stopping_before_the_head_of_the_answer_hangs_up(talking: Any):
    """A turn that is cancelled while the model still thinks is over for the provider, too."""
    async with talking() as talk:
        talk.server.faults = [waits(asyncio.Event())]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(talk.ask())
            asked = await talk.server.until_asked()
            task.cancel()
        async with asyncio.timeout(5):
            await asked.hung_up.wait()


async def test_the_oldest_is_left_out_where_a_model_takes_less(talking: Any):
    """The latest turns go along as they fit, whole ones; the store keeps them all."""
    long = "word " * 300
    async with talking(models={"small": {"context_tokens": 3000}}) as talk:
        for number in range(6):
            await talk.ask(f"{number} {long}")
        said = [text.split()[0] for role, text in talk.last if role == "user"]
        assert said[-1] == "5"
        assert said == [str(number) for number in range(6 - len(said), 6)]
        assert 1 < len(said) < 6
        assert len(talk.last) == 2 * len(said) - 1
        assert len(talk.store.rows) == 6


async def test_an_agent_can_be_given_less_than_its_model_takes(talking: Any):
    """`max_context_tokens` bounds it."""
    async with talking(options={"max_context_tokens": 600}) as talk:
        for number in range(4):
            await talk.ask(f"{number} " + "word " * 100)
        assert [text.split()[0] for role, text in talk.last if role == "user"] == ["3"]


async def test_where_the_model_takes_even_less_it_gets_even_less(talking: Any):
    """A provider that says that it was too much is asked with half of it, until it fits or nothing is left."""
    too_much = ModelFault(status=400, code="context_length_exceeded")
    async with talking(models={"small": {"context_tokens": 5000}}) as talk:
        for number in range(4):
            await talk.ask(f"{number} " + "word " * 500)
        before = len(talk.last)
        talk.server.faults = [too_much, too_much]
        assert (await talk.ask("last")).text.startswith("You said: last.")
        assert len(talk.last) < before
        talk.server.faults = [too_much] * 50
        assert (await talk.ask("never")).code == "LLM_TOO_LONG"


async def test_where_the_model_takes_far_less_than_is_believed(talking: Any):
    """It is lessened until the conversation takes less, however much room was believed to be left."""
    too_much = ModelFault(status=400, code="context_length_exceeded")
    async with talking(models={"small": {"context_tokens": 100_000}}) as talk:
        for number in range(4):
            await talk.ask(f"{number} " + "word " * 100)
        talk.server.faults = [too_much]
        assert (await talk.ask("last")).text.startswith("You said: last.")


async def test_a_model_that_steps_in_is_told_as_much(talking: Any):
    """That another could not be reached takes nothing from what was said before."""
    async with talking(models={name: {"context_tokens": 3000} for name in ("small", "large")}) as talk:
        for number in range(4):
            await talk.ask(f"{number} " + "word " * 200)
        await talk.ask("4 " + "word " * 200)
        alone = len(talk.last)
        assert alone > 3
        talk.agent.options["model"] = ["small", "large"]
        talk.server.faults = [failing()]
        await talk.ask("5 " + "word " * 200)
        assert (talk.server.record.asked[-1].model, len(talk.last)) == ("large", alone)


async def test_old_turns_are_dropped_from_the_store(talking: Any):
    """No more than so many are kept."""
    async with talking(max_kept_turns=3) as talk:
        for number in range(5):
            await talk.ask(str(number))
        assert (await talk.ask("what did I say?")).text == "You said: 2, 3, 4"
        assert len(talk.store.rows) == 3


async def test_no_context_takes_more_than_its_share(talking: Any, monkeypatch: pytest.MonkeyPatch):
    """The oldest go, however few there are."""
    monkeypatch.setattr(kept, "MOST_BYTES", 5000)
    async with talking() as talk:
        for number in range(4):
            await talk.ask(f"{number} " + "x" * 700)
        assert 1 <= len(talk.store.rows) < 4
        assert sum(map(len, talk.store.rows.values())) <= 5000
        assert "3 xxx" in (await talk.ask("what did I say?")).text


async def test_a_row_of_another_version_is_passed_over(talking: Any):
    """The conversation goes on without it."""
    async with talking() as talk:
        await talk.ask("one", turn="t1")
        key = next(iter(talk.store.rows))
        talk.store.rows[key] = b'{"version": 99}'
        assert (await talk.ask("what did I say?")).text == "You said: "


async def test_a_huge_turn_is_kept_as_its_answer(talking: Any):
    """A row stays small enough for every storage."""
    async with talking(models={"small": {"context_tokens": 10_000_000}}) as talk:
        talk.server.brain = lambda asked: Reply(text="x" * (LARGEST_ROW + 10))
        await talk.ask("one")
        assert len(next(iter(talk.store.rows.values()))) < 3 * LARGEST_ROW


async def test_threads_of_one_context_keep_each_its_turn(talking: Any):
    """Two turns at once: both are kept, each in one row, with numbers of their own."""
    async with talking() as talk:
        async with asyncio.TaskGroup() as group:
            for text in ("one", "two"):
                group.create_task(talk.ask(text))
        heard = await talk.ask("what did I say?")
    assert sorted(heard.text.removeprefix("You said: ").split(", ")) == ["one", "two"]


# Read again from the messenger --------------------------------------------------------------------


def said(by: Any, text: str, name: str = "") -> Said:
    """Something of the past."""
    return Said(by=by, text=text, at=1.0, name=name)


async def test_a_stateless_agent_is_told_what_the_messenger_shows(talking: Any):
    """Nothing is kept; it begins with a person, and the two take turns."""
    history = (said("agent", "Hello!"), said("person", "one"), said("person", "two"), said("agent", "both"))
    async with talking(options=STATELESS) as talk:
        assert talk.transport.history(talk.agent) == 20
        await talk.ask("three", history=history)
        assert talk.last == [("user", "one\n\ntwo"), ("assistant", "both"), ("user", "three")]
        assert talk.store.rows == {}


async def test_several_people_are_told_apart(talking: Any):
    """Where more than one spoke, each line has its name."""
    history = (said("person", "one", "Ann"), said("person", "two", "Bob"), said("agent", "both"))
    async with talking(options=STATELESS) as talk:
        await talk.ask("three", history=history)
        assert talk.last[0] == ("user", "Ann: one\n\nBob: two")


async def test_what_does_not_fit_is_not_read_again(talking: Any):
    """The latest that fit."""
    history = tuple(said("person" if n % 2 else "agent", f"{n} " + "word " * 200) for n in range(20))
    async with talking(options={**STATELESS, "max_context_tokens": 2000}) as talk:
        await talk.ask("now", history=history)
        assert 2 < len(talk.last) < 10
        assert talk.last[-2][1].startswith("19 ")


async def test_an_agent_that_remembers_reads_nothing_again(talking: Any):
    """No messenger is asked for it."""
    async with talking() as talk:
        assert talk.transport.history(talk.agent) == 0


@pytest.mark.parametrize("text", ["", "word", "слово", "词语"])
def test_tokens_are_reckoned_high(text: str):
    """Never fewer than words, in whatever script."""
    assert tokens_of(text) >= len(text.split())


async def test_busy_is_not_kept(talking: Any):
    """A turn that nobody answered can be asked again under its name."""
    async with talking() as talk:
        talk.server.faults = [busy()]
        request = talk.request("one")
        assert (await talk.hear(request)).code == "LLM_BUSY"
        assert (await talk.hear(request)).text == "You said: one. (question 1)"
