"""The way of a message through the whole host, on memory doubles: what people see, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from surfaces_core import (
    AgentEvent,
    AgentRequest,
    Command,
    CommandCall,
    Confirm,
    End,
    File,
    Inbound,
    Kind,
    Observed,
    Pace,
    Rejected,
    Text,
    TurnEnded,
    Unavailable,
    hookimpl,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

QUICK = HostSettings(retry_base_s=0.001, retry_cap_s=0.002, shutdown_grace_s=0.05)
EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def echoing() -> ScriptedTransport:
    """An agent that says what it was asked."""
    return ScriptedTransport.answering(lambda request: [Text(f"You said {request.text}"), End(tokens=2)])


async def test_a_message_is_answered() -> None:
    """What a person writes goes to their agent and the answer comes back."""
    bot = TestBot(transport=echoing())
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "You said hello"


async def test_an_event_that_comes_twice_is_answered_once() -> None:
    """The messenger may repeat an event in one batch, in the next, or after a restart."""
    bot = TestBot(transport=echoing())
    async with bot.running():
        await bot.messenger.say("one", event_id="$same")
        await bot.messenger.say("one", event_id="$same")
        await bot.push("two")
        await bot.messenger.until_final(2)
    async with bot.running():
        await bot.messenger.say("one", event_id="$same")
        await bot.push("three")
        assert await bot.messenger.until_final(3) == ["You said one", "You said two", "You said three"]


async def test_one_conversation_is_answered_in_order_and_a_held_one_delays_no_other() -> None:
    """Order holds inside a lane; another lane passes by a turn that hangs."""
    gate = asyncio.Event()

    def script(request: AgentRequest) -> Sequence[Step]:
        return [gate, Text(request.text), End()] if request.text == "slow" else [Text(request.text), End()]

    bot = TestBot(transport=ScriptedTransport.answering(script))
    async with bot.running():
        await bot.push("slow", conversation="a")
        await bot.push("second", conversation="a")
        await bot.push("first", conversation="b", sender="@bob")
        assert await bot.pop("b") == "first"
        assert bot.messenger.texts("a") == []
        gate.set()
        assert [await bot.pop("a"), await bot.pop("a")] == ["slow", "second"]


async def test_turns_run_side_by_side_up_to_the_limit_and_no_further() -> None:
    """`max_concurrent_turns` bounds what runs at the same time, however many conversations wait."""
    gate, running, most = asyncio.Event(), 0, 0

    class Counting(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await gate.wait()
            running -= 1
            yield Text("done")
            yield End()

    bot = TestBot(transport=Counting(), settings=HostSettings(max_concurrent_turns=3))
    async with bot.running():
        for number in range(10):
            await bot.push("x", conversation=f"c{number}")
        await until(lambda: running == 3)
        gate.set()
        await bot.messenger.until(lambda: len(bot.messenger.shown) == 10)
    assert most == 3


# Streaming -----------------------------------------------------------------------------------------


async def test_an_answer_streams_and_ends_in_the_exact_text() -> None:
    """Drafts grow in one message, which ends as the whole answer."""
    gates = [asyncio.Event(), asyncio.Event()]
    script: list[Step] = [Text("One "), gates[0], Text("two "), gates[1], Text("three."), End()]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), pace=EAGER)
    async with bot.running():
        await bot.push("count")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["One "])
        assert bot.messenger.typing == {"home"}
        gates[0].set()
        await bot.messenger.until(lambda: bot.messenger.texts() == ["One two "])
        gates[1].set()
        shown = await bot.pop_message()
    assert shown.text == "One two three."
    assert shown.versions[0] == "One "
    assert len(bot.messenger.shown) == 1
    assert bot.messenger.typing == set()


async def test_a_short_answer_costs_one_message_and_no_draft() -> None:
    """An answer that is there before the pace asks for a draft is sent once."""
    bot = TestBot(transport=echoing(), pace=Pace())
    async with bot.running():
        await bot.push("hi")
        assert (await bot.pop_message()).versions == ("You said hi",)


async def test_an_answer_never_costs_more_drafts_than_its_budget() -> None:
    """However many pieces come, the message is edited `budget` times at most, and once more at the end."""
    pieces = [Text(f"{number} ") for number in range(200)]
    steps: list[Step] = [step for piece in pieces for step in (piece, _breath())]
    pace = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=5)
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [*steps, End()]), pace=pace)
    async with bot.running():
        await bot.push("count")
        shown = await bot.pop_message(timeout_s=10)
    assert len(shown.versions) <= 6
    assert shown.text == "".join(piece.text for piece in pieces)


def _breath() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_a_draft_that_was_shown_is_replaced_when_the_turn_fails() -> None:
    """Half an answer never stays without saying so."""
    gate = asyncio.Event()
    script: list[Step] = [Text("Half an answer"), gate, Rejected("cut", code="CUT", public="It was cut off.")]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), pace=EAGER)
    async with bot.running():
        await bot.push("go")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["Half an answer"])
        gate.set()
        assert await bot.pop() == "Half an answer\n\n_It was cut off._"
    assert len(bot.messenger.shown) == 1


async def test_a_long_answer_is_split_into_parts_in_order() -> None:
    """Each part is a message of its own; together they are the answer."""
    text = "x" * 4000 + "y" * 4000 + "z"
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [Text(text), End()]))
    async with bot.running():
        await bot.push("long")
        parts = await bot.messenger.until_final(3)
    assert "".join(parts) == text


# Failures ------------------------------------------------------------------------------------------


async def test_an_agent_that_cannot_be_reached_is_tried_again_and_then_answers() -> None:
    """Nothing was sent, so the question is put again and the person sees one answer."""
    failures = [Unavailable("refused"), Unavailable("refused")]
    bot = TestBot(
        transport=ScriptedTransport.answering(lambda r: [failures.pop()] if failures else [Text(r.text), End()]),
        settings=QUICK,
        pace=EAGER,
    )
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "hello"
    assert len(bot.messenger.shown) == 1


async def test_an_agent_that_stays_away_ends_in_one_sentence_and_a_dead_letter() -> None:
    """After the last try the person is told once, and the entry is kept with its reason."""
    transport = ScriptedTransport.answering(lambda _request: [Unavailable("refused", code="AGENT_UNREACHABLE")])
    bot = TestBot(transport=transport, settings=QUICK, pace=EAGER)
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "I tried several times and could not get an answer. Please ask again later."
        dead = await bot.engine.journal.scan("dead")
    assert len(transport.requests) == 8
    assert [b"AGENT_UNREACHABLE" in value for value in dead.values()] == [True]
    assert len(bot.messenger.shown) == 1


async def test_a_bug_in_a_transport_ends_its_turn_alone() -> None:
    """The person gets the general sentence, the host lives, the next question is answered."""
    script: list[Step] = [ZeroDivisionError("secret detail")]
    transport = ScriptedTransport.answering(lambda r: script if r.text == "bad" else [Text("fine"), End()])
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("bad")
        await bot.push("good")
        assert await bot.pop() == "Something went wrong on my side. Please try again."
        assert await bot.pop() == "fine"


async def test_an_answer_of_nothing_is_said_so() -> None:
    """A turn without text or file ends in a short line."""
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [End()]))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "No answer came back."


async def test_a_send_that_fails_is_repeated_with_its_key_and_shows_once() -> None:
    """A lost answer of the messenger and a refused connection both end in one message."""
    bot = TestBot(transport=echoing())
    bot.messenger.lost_answers.append(Unavailable("lost", retry_after=0.0))
    bot.messenger.faults.append(Unavailable("refused", retry_after=0.0))
    async with bot.running():
        await bot.push("hello")
        await bot.push("again")
        assert await bot.messenger.until_final(2, timeout_s=15) == ["You said hello", "You said again"]
        keys = [sent.key for sent in bot.surface.sent]
    assert len(keys) > len(set(keys)) == 2


async def test_a_refused_message_is_kept_and_the_next_is_sent() -> None:
    """What the messenger refuses for good becomes a dead letter; the conversation goes on."""
    bot = TestBot(transport=echoing())
    bot.messenger.faults.append(Rejected("no", code="M_FORBIDDEN"))
    async with bot.running():
        await bot.push("one")
        await bot.push("two")
        assert await bot.pop() == "A part of this answer could not be shown here."
        assert await bot.pop() == "You said two"
        dead = await bot.engine.journal.scan("dead")
    assert [b"M_FORBIDDEN" in value for value in dead.values()] == [True]


async def test_a_conversation_in_which_sending_hangs_delays_no_other() -> None:
    """Delivery is in order inside a conversation and side by side across."""
    bot = TestBot(transport=echoing(), settings=QUICK)
    bot.messenger.held.add("stuck")
    async with bot.running():
        await bot.push("a", conversation="stuck")
        await bot.push("b", conversation="free")
        assert await bot.pop("free") == "You said b"


# Interruptions -------------------------------------------------------------------------------------


async def interrupted(bot: TestBot, gate: asyncio.Event) -> None:
    """One life in which a turn hangs half-way until the host is stopped."""
    async with bot.running():
        await bot.push("count")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["One "])
    gate.set()


@pytest.mark.parametrize(
    ("policy", "repeatable", "said"),
    [
        ("auto", True, "I was interrupted while answering this. Please ask again."),
        ("notify", True, "I was interrupted while answering this. Please ask again."),
        ("retry", False, "One two"),
    ],
)
async def test_a_turn_that_was_shown_and_cut_short_is_finished_in_its_own_message(
    policy: str, repeatable: bool, said: str
) -> None:
    """After a restart the half-shown message becomes the answer, or says that it won't come."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda _request: [Text("One "), gate, Text("two"), End()])
    transport.takes_repeats = repeatable
    settings = HostSettings.model_validate({"on_interrupt": policy, "shutdown_grace_s": 0})
    bot = TestBot(transport=transport, pace=EAGER, settings=settings)
    await interrupted(bot, gate)
    async with bot.running():
        assert await bot.pop() == said
    assert len(bot.messenger.shown) == 1


async def test_a_turn_of_which_nothing_was_shown_is_repeated_where_that_is_harmless() -> None:
    """With `auto` an agent that recognises repeats is asked again, with the same turn."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda _request: [gate, Text("there"), End()])
    transport.takes_repeats = True
    bot = TestBot(transport=transport, settings=HostSettings(shutdown_grace_s=0))
    async with bot.running():
        await bot.push("hello")
        await until(lambda: bool(transport.requests))
    gate.set()
    async with bot.running():
        assert await bot.pop() == "there"
    assert len({request.turn for request in transport.requests}) == 1


# Commands ------------------------------------------------------------------------------------------


class Probing:
    """A hooks plugin that is an object, with one of each hook."""

    def __init__(self) -> None:
        self.seen: list[Observed] = []

    @hookimpl
    def surfaces_commands(self) -> list[Command]:
        async def broken(_call: CommandCall) -> str:
            raise ZeroDivisionError

        async def ping(call: CommandCall) -> str:
            return "pong " + " ".join(call.args)

        return [
            Command(name="broken", help="fails", handler=broken),
            Command(name="ping", help="answers", handler=ping),
            Command(name="ops", help="for operators", handler=ping, who="operator"),
        ]

    @hookimpl
    def surfaces_shapers(self) -> list[object]:
        def polite(request: AgentRequest, message: Inbound) -> AgentRequest:
            import dataclasses

            return dataclasses.replace(request, text=f"{message.sender_name} asks: {request.text}")

        return [polite]

    @hookimpl
    def surfaces_refuse(self, message: Inbound) -> str | None:
        if message.text == "bug":
            raise ZeroDivisionError
        return "Not today." if "forbidden" in message.text else None

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        self.seen.append(event)
        raise ZeroDivisionError


async def test_commands_shapers_refusals_and_observers_do_their_part() -> None:
    """Each hook acts where it should, and their bugs stay where they belong."""
    probe = Probing()
    bot = TestBot(transport=echoing(), hooks=[probe])
    async with bot.running():
        for text in (
            '!ping a "b c"',
            "!ops",
            "!broken",
            "hello",
            "forbidden words",
            "bug",
            "!pong",
            "!help pi",
            "! no",
        ):
            await bot.push(text)
        said = await bot.messenger.until_final(9)
    assert said == [
        "pong a b c",
        "You may not use `!ops` here.",
        "Something went wrong on my side. Please try again.",
        "You said Ann asks: hello",
        "Not today.",
        "Something went wrong on my side. Please try again.",
        "I don't know `!pong`. Did you mean `!ping`?",
        "I don't know `!pi`. `!help` lists what there is.",
        "You said Ann asks: ! no",
    ]
    outcomes = [event.outcome for event in probe.seen if isinstance(event, TurnEnded)]
    assert outcomes == [
        "command",
        "refused",
        "failed",
        "answered",
        "refused",
        "failed",
        "command",
        "command",
        "answered",
    ]


async def test_stop_cancels_the_running_turn_and_what_waits_goes_on() -> None:
    """`!stop` does not wait behind the turn it stops; what came already is kept."""
    never = asyncio.Event()
    script: list[Step] = [Text("Once upon a time"), never, End()]
    transport = ScriptedTransport.answering(lambda r: script if r.text == "story" else [Text("next"), End()])
    bot = TestBot(transport=transport, pace=EAGER)
    async with bot.running():
        await bot.push("story")
        await bot.push("something else")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["Once upon a time"])
        await bot.push("!stop")
        assert await bot.pop() == "Once upon a time\n\n_Stopped._"
        assert await bot.pop() == "next"
        await bot.push("!stop")
        assert await bot.pop() == "Nothing is running here."


async def test_stop_ends_a_turn_that_waits_for_its_next_try() -> None:
    """A person need not wait for an agent that is away."""
    transport = ScriptedTransport.answering(lambda _request: [Unavailable("refused")])
    bot = TestBot(transport=transport, settings=HostSettings(retry_base_s=1000, retry_cap_s=1000))
    async with bot.running():
        await bot.push("hello")
        await until(lambda: bot.engine.turns.lanes.waiting == 1)
        await bot.push("!stop")
        assert await bot.pop() == "Stopped."


@pytest.mark.parametrize(
    ("answer", "approved", "line"), [("!yes", True, "Passed on: yes."), ("!no", False, "Passed on: no.")]
)
async def test_a_confirmation_is_asked_and_answered_in_the_chat(answer: str, approved: bool, line: str) -> None:
    """The agent waits while the person decides, and gets the decision."""
    script: list[Step] = [Confirm(id="q1", text="Delete it?"), Text("Fine."), End()]
    transport = ScriptedTransport.answering(lambda _request: script)
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("delete it")
        assert await bot.pop() == "Delete it?\n\nAnswer with `!yes` or `!no`, or react with 👍 or 👎."
        await bot.push(answer)
        assert sorted([await bot.pop(), await bot.pop()]) == sorted(["Fine.", line])
    assert transport.answers == [("q1", approved)]


async def test_a_confirmation_that_nobody_answers_is_a_no() -> None:
    """When its time is over the agent hears no."""
    script: list[Step] = [Confirm(id="q1", text="Delete it?", timeout_s=0.01), Text("I left it."), End()]
    transport = ScriptedTransport.answering(lambda _request: script)
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("delete it")
        await bot.pop()
        assert await bot.pop() == "I left it."
    assert transport.answers == [("q1", False)]


# Files ---------------------------------------------------------------------------------------------


async def test_files_that_come_behind_each_other_have_one_line() -> None:
    """It grows in place, in each thread its own, until words take the files or some time has passed."""
    later, bot = [0.0], TestBot(transport=echoing())
    began = bot.now()
    bot.now = lambda: began + later[0]
    async with bot.running():
        for name in ("a.txt", "b.txt", "c.txt"):
            await bot.push(files={name: b"x"})
        grown = "Got `a.txt`, `b.txt`, `c.txt`. 3 waiting for your next message."
        await bot.messenger.until(lambda: bot.messenger.texts() == [grown])
        assert await bot.pop() == grown
        await bot.messenger.say(files={"side.txt": b"x"}, thread="$root")
        assert await bot.pop() == "Got `side.txt`. 1 waiting for your next message."
        await bot.push("look")
        assert await bot.pop() == "You said look"
        await bot.push(files={"d.txt": b"x"})
        assert await bot.pop() == "Got `d.txt`. 1 waiting for your next message."
        later[0] = 61.0
        await bot.push(files={"e.txt": b"x"})
        assert await bot.pop() == "Got `e.txt`. 2 waiting for your next message."


async def test_files_beyond_the_limit_are_refused_in_one_line() -> None:
    """It names them, and what waits goes with the next text without them."""
    transport, files = echoing(), MemoryFiles()
    files.max_staged = 2
    bot = TestBot(transport=transport, files=files)
    async with bot.running():
        for name in ("a.txt", "b.txt", "c\n.txt", "d.txt"):
            await bot.push(files={name: b"x"})
        full = "I can't take `c_.txt`, `d.txt`: 2 files wait already. "
        full += "Write something to send them, or drop some with `!remove`."
        await bot.messenger.until(lambda: bot.messenger.texts()[1:] == [full])
        assert await bot.pop() == "Got `a.txt`, `b.txt`. 2 waiting for your next message."
        assert await bot.pop() == full
        await bot.push("look")
        assert await bot.pop() == "You said look"
    assert transport.requests[-1].attachments == ("a.txt", "b.txt")
    assert files.contents["/agents/0"] == {"a.txt": b"x", "b.txt": b"x"}


async def test_files_wait_for_the_next_text_and_survive_a_restart() -> None:
    """A file without text is staged; the next text takes all that wait, oldest first."""
    transport = echoing()
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push(files={"a.txt": b"aaa"})
        assert await bot.pop() == "Got `a.txt`. 1 waiting for your next message."
    async with bot.running():
        await bot.push("look", files={"b.txt": b"bb"})
        assert await bot.pop() == "You said look"
        await bot.push("and now")
        await bot.pop()
    assert [request.attachments for request in transport.requests] == [("a.txt", "b.txt"), ()]
    assert bot.files.contents["/agents/0"] == {"a.txt": b"aaa", "b.txt": b"bb"}  # type: ignore[attr-defined]


async def test_a_file_of_the_agent_is_sent_and_a_wrong_one_is_refused_in_a_line() -> None:
    """The rest of the turn goes on."""
    files = MemoryFiles()
    files.contents["/agents/0"]["report.txt"] = b"all is well"
    script: list[Step] = [
        Text("Here."),
        File(path="/workspace/report.txt", caption="The report"),
        File(path="../secret"),
        End(),
    ]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), files=files)
    async with bot.running():
        await bot.push("report")
        first, second, third = [await bot.pop_message() for _ in range(3)]
    assert (first.text, first.file) == ("Here.", None)
    assert (second.text, second.file and second.file.path) == ("The report", "report.txt")
    assert bot.messenger.uploads[second.key] == b"all is well"
    assert third.file is None
    assert "secret" not in files.contents["/agents/0"]
    assert third.text


# Conversations -------------------------------------------------------------------------------------


async def test_an_invite_makes_one_conversation_and_a_second_leads_back_to_it() -> None:
    """The first call makes and greets, the next only leads there."""
    bot = TestBot(transport=echoing(), rooms=True)
    async with bot.running():
        await bot.messenger.say(kind=Kind.START, conversation="entry", event_id="$invite")
        welcome = await bot.pop("entry")
        (room,) = bot.messenger.rooms
        assert f"[C1](memory:{room})" in welcome
        assert (await bot.pop(room)).startswith("Hello Ann!")
        await bot.push("hello", conversation=room)
        assert await bot.pop(room) == "You said hello"
        await bot.messenger.say(kind=Kind.START, conversation="entry", event_id="$invite2")
        assert await bot.pop("entry") == (
            f"You have 1 conversation: [C1](memory:{room}). I have invited you again where you were missing; "
            "`!new` starts another."
        )
    assert bot.messenger.recalled == ["@ann"]
    assert len(bot.messenger.rooms) == 1


async def test_an_empty_state_knows_every_conversation_from_the_messenger() -> None:
    """With the local state gone, agent, context and number come from the rooms themselves."""
    transport = echoing()
    bot = TestBot(transport=transport, rooms=True)
    async with bot.running():
        await bot.push("hi", conversation="entry")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        await bot.push("one", conversation=room)
        await bot.messenger.until_final(2, room)
    bot.disk.rows.clear()
    bot.messenger.incoming.clear()
    async with bot.running():
        await bot.messenger.say("two", conversation=room, event_id="$later")
        await bot.messenger.until_final(3, room)
        await bot.messenger.say(kind=Kind.START, conversation="entry", event_id="$again")
        await bot.messenger.until_final(2, "entry")
    assert len({request.context for request in transport.requests}) == 1
    assert len(bot.messenger.rooms) == 1


async def test_somebody_else_in_a_conversation_is_not_served() -> None:
    """Only its owner talks to the agent; the others are told once."""
    transport = echoing()
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("mine")
        await bot.pop()
        await bot.push("let me in", sender="@eve")
        await bot.push("please", sender="@eve")
        await bot.push("!stop", sender="@eve")
        assert await bot.messenger.until_final(3) == [
            "You said mine",
            "Only the owner of this conversation can talk to the agent here.",
            "You may not use `!stop` here.",
        ]
    assert len(transport.requests) == 1


async def test_a_person_without_an_agent_is_told_whom_to_ask() -> None:
    """`default_agent: none` refuses with a sentence."""
    bot = TestBot(transport=echoing(), default_agent=None)
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "No agent is set up for you. Please ask the operator of this service."


async def test_a_flood_in_one_conversation_is_bounded_and_said_once() -> None:
    """What comes when the lane is full is kept as a dead letter, and the person is told."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda r: [gate, Text(r.text), End()])
    bot = TestBot(transport=transport, settings=HostSettings(max_lane_depth=3))
    async with bot.running():
        for number in range(6):
            await bot.push(str(number))
            await until(lambda number=number: len(bot.engine.turns.lanes) >= min(number + 1, 3))  # type: ignore[misc]
        assert (await bot.pop()).startswith("I still have 3 messages from here to answer")
        gate.set()
        assert [await bot.pop(), await bot.pop(), await bot.pop()] == ["0", "1", "2"]
        dead = await bot.engine.journal.scan("dead")
    assert len(dead) == 3


async def test_what_was_passed_over_is_said_in_one_line() -> None:
    """A gap that could not be filled becomes a line in its room and a dead letter."""
    bot = TestBot(transport=echoing())
    async with bot.running():
        await bot.messenger.say("I missed 200 messages here.", kind=Kind.GAP)
        assert await bot.pop() == "I missed 200 messages here."
        assert len(await bot.engine.journal.scan("dead")) == 1
