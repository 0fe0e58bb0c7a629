"""What must hold when several things go wrong at once: each case here once broke a promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from surfaces_commands_context import chats, context
from surfaces_core import (
    Address,
    AgentEvent,
    AgentRequest,
    Attachment,
    Binding,
    Command,
    CommandCall,
    Confirm,
    Draft,
    End,
    File,
    Inbound,
    Intake,
    Kind,
    Outbound,
    Pace,
    Receipt,
    Rejected,
    Text,
    Tool,
    Unavailable,
    hookimpl,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.forgetting import SEEN_LEAST, prune
from surfaces_core._engine.journal import Journal, key
from surfaces_core._engine.spots import Spot
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)
SHORT = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002)


async def until(condition: Any) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def message(number: int) -> Inbound:
    """A message of its own conversation."""
    return Inbound(
        address=Address(surface="memory", conversation="home"),
        event_id=f"$n{number}",
        sender="@ann",
        sent_at=1.0,
        text=str(number),
    )


async def test_numbers_never_run_backwards_however_transactions_interleave() -> None:
    """The stored counter is at least every stored number, else the next life would write over entries."""
    disk = MemoryDisk()
    async with MemoryStorage(disk=disk) as storage:
        journal = Journal(storage)
        await journal.open()
        (first,) = await journal.accept("memory", [message(0)], "0", lambda entry: entry)
        said = Outbound(key="k.0", turn="k", part=0, address=first.message.address, text="x")
        async with asyncio.TaskGroup() as group:
            for number in range(1, 9):
                group.create_task(journal.accept("memory", [message(number)], str(number), lambda entry: entry))
                group.create_task(journal.say(replace(said, key=f"k.{number}")))
        numbers = [int(row.split(b"\0")[1]) for row in disk.rows if row.startswith((b"in\0", b"out\0"))]
    assert len(numbers) == len(set(numbers)) == 17
    assert int(disk.rows[key("meta", "seq")]) >= max(numbers)


async def test_open_questions_never_keep_their_own_answers_out() -> None:
    """With every turn waiting for a person, `!yes`, `!no` and `!stop` still get through."""
    transport = ScriptedTransport.answering(lambda _request: [Confirm(id="q", text="Sure?"), Text("Done."), End()])
    bot = TestBot(transport=transport, settings=replace_settings(SHORT, max_concurrent_turns=2))
    async with bot.running():
        for name in "abc":
            await bot.push("go", conversation=name, sender=f"@{name}")
        await bot.pop("a")
        await bot.pop("b")
        await bot.push("!stop", conversation="a", sender="@a")
        assert await bot.pop("a") == "Stopped."
        await bot.push("!yes", conversation="b", sender="@b")
        assert sorted([await bot.pop("b"), await bot.pop("b")]) == ["Done.", "Passed on: yes."]
        assert (await bot.pop("c")).startswith("Sure?")


async def test_a_turn_that_is_asked_again_asks_what_is_new() -> None:
    """After a restart the person sees what they answer to, where the agent now asks something else."""
    texts = iter(["Delete one file?", "Delete everything?"])
    transport = ScriptedTransport.answering(lambda _request: [Confirm(id="q", text=next(texts)), Text("Ok."), End()])
    bot = TestBot(transport=transport, settings=replace_settings(SHORT, on_interrupt="retry"))
    async with bot.running():
        await bot.push("clean up")
        assert (await bot.pop()).startswith("Delete one file?")
    async with bot.running():
        await bot.push("!yes")
        said = sorted([await bot.pop(), await bot.pop()])
        assert said == [words.question("Delete everything?", "!"), "Passed on: yes."]
        await bot.push("!no")
        assert sorted([await bot.pop(), await bot.pop()]) == ["Ok.", "Passed on: no."]
    assert transport.answers == [("q", False)]


def replace_settings(settings: HostSettings, **changes: Any) -> HostSettings:
    """Settings with some changed."""
    return settings.model_copy(update=changes)


async def test_a_part_that_a_surface_chokes_on_is_put_aside() -> None:
    """A bug in sending one part ends neither the host nor the conversation, in this life or the next."""
    bot = TestBot()
    async with bot.running():
        send = bot.surface.send

        async def choking(part: Outbound) -> Receipt:
            if part.text == "poison":
                raise ZeroDivisionError
            return await send(part)

        bot.surface.send = choking  # type: ignore[assignment, method-assign]
        await bot.push("poison")
        await bot.push("fine")
        assert await bot.pop() == "A part of this answer could not be shown here."
        assert await bot.pop() == "fine"
        assert [b"BUG" in value for value in (await bot.engine.journal.scan("dead")).values()] == [True]


async def test_half_characters_and_endless_ids_are_taken_as_they_come() -> None:
    """Lone surrogates and event ids of any length end neither accepting nor answering."""
    bot = TestBot(transport=ScriptedTransport.answering(lambda r: [Text(f"{r.text}\ud800"), End()]))
    async with bot.running():
        await bot.messenger.say("half \udfff", event_id="$" + "x" * 5000)
        assert await bot.pop() == "half ??"


async def test_stop_said_twice_still_says_that_the_answer_is_not_whole() -> None:
    """However often a person says it, half an answer is marked as such."""
    never = asyncio.Event()
    showing = asyncio.Event()
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [Text("Half an"), never, End()]), pace=EAGER)
    async with bot.running():
        show = bot.surface.show

        async def slow(draft: Draft) -> None:
            await show(draft)
            if draft.version:
                await showing.wait()

        bot.surface.show = slow  # type: ignore[method-assign]
        await bot.push("go")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["Half an"])
        work = bot.engine.turns._works[False, Spot.of(bot.messenger.incoming[0])]
        work.stop()
        await until(lambda: work.task is not None and work.task.done())
        work.stop()
        showing.set()
        assert await bot.pop() == "Half an\n\n_Stopped._"


class Download:
    """A messenger's file that comes when the test lets it."""

    def __init__(self, bot: TestBot) -> None:
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        fetch = bot.surface.fetch

        async def slow(attachment: Attachment) -> AsyncIterator[bytes]:
            self.begun.set()
            await self.gate.wait()
            async for chunk in fetch(attachment):
                yield chunk

        bot.surface.fetch = slow  # type: ignore[method-assign]


async def test_a_restart_while_a_file_comes_loses_nothing() -> None:
    """The agent never had the question, so nothing was interrupted: the file is fetched and the answer given."""
    bot = TestBot(settings=SHORT)
    async with bot.running():
        download = Download(bot)
        await bot.push(files={"a.txt": b"aaa"})
        await download.begun.wait()
    async with bot.running():
        assert await bot.pop() == "Got `a.txt`. 1 waiting for your next message."


async def test_stop_while_a_file_comes_stops_the_turn() -> None:
    """A turn can be stopped before the agent has it."""
    bot = TestBot()
    async with bot.running():
        download = Download(bot)
        await bot.push("look", files={"a.txt": b"aaa"})
        await download.begun.wait()
        await bot.push("!stop")
        await until(lambda: bot.engine.turns._works[False, Spot.of(bot.messenger.incoming[0])].stopped)
        download.gate.set()
        assert await bot.pop() == "Stopped."
    assert bot.transport.requests == []  # type: ignore[attr-defined]


async def test_a_repeatable_agent_that_is_slow_to_come_back_still_answers() -> None:
    """The host's own line about waiting is no part of the answer: the question is asked again until it is answered."""
    gate = asyncio.Event()
    scripts: list[list[Step]] = [[gate], [Unavailable("x")], [Unavailable("x")], [Unavailable("x")]]
    transport = ScriptedTransport.answering(
        lambda _request: scripts.pop(0) if scripts else [Text("There you are."), End()], repeatable=True
    )
    bot = TestBot(transport=transport, settings=SHORT, pace=Pace(typing_after_s=1000))
    async with bot.running():
        await bot.push("hello")
        await until(lambda: bool(transport.requests))
    async with bot.running():
        assert await bot.pop() == "There you are."
    assert len(bot.messenger.shown) == 1


async def test_restarts_in_the_middle_of_a_turn_are_not_held_against_it() -> None:
    """A turn that is cut short by many clean stops is no poison."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda _request: [gate, Text("At last."), End()])
    bot = TestBot(transport=transport, settings=replace_settings(SHORT, on_interrupt="retry"))
    await bot.push("long")
    for life in range(5):
        async with bot.running():
            await until(lambda life=life: len(transport.requests) == life + 1)
    gate.set()
    async with bot.running():
        assert await bot.pop() == "At last."


async def test_a_message_that_kills_the_process_is_put_aside_after_three_tries() -> None:
    """It is counted before its work, told once, kept as a dead letter, and the next one is answered."""

    class Deadly(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            self.requests.append(request)
            if request.text == "deadly":
                raise KeyboardInterrupt
            yield Text("fine")
            yield End()

    bot = TestBot(transport=Deadly(), settings=replace_settings(SHORT, on_interrupt="retry"))
    await bot.push("deadly")
    await bot.push("harmless")
    for _ in range(3):
        with pytest.raises(BaseExceptionGroup):
            await crash(bot)
    async with bot.running():
        assert await bot.pop() == "I could not handle this message and have put it aside."
        assert await bot.pop() == "fine"
        assert len(await bot.engine.journal.scan("dead")) == 1


async def crash(bot: TestBot) -> None:
    """One life that ends by a bug which nothing catches."""

    class Killed(BaseException):
        pass

    transport = bot.transport
    run = transport.run

    async def deadly(request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        try:
            async for event in run(request):
                yield event
        except KeyboardInterrupt:
            raise Killed from None

    transport.run = deadly  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(5), bot.running():
            await asyncio.Event().wait()
    finally:
        transport.run = run  # type: ignore[method-assign]


async def test_what_lanes_did_meanwhile_is_newer_than_the_messengers_snapshot() -> None:
    """A snapshot that was taken before a change never undoes it, nor does it lose a room that was made since."""
    transport = ScriptedTransport()
    bot = TestBot(transport=transport, hooks=[chats, context], rooms=True)
    async with bot.running():
        await bot.push("hi", conversation="entry")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        await bot.pop(room)
        old = bot.messenger.rooms[room]
        tick = bot.engine.book.tick
        await bot.push("!clear", conversation=room)
        await bot.pop(room)
        await bot.push("!new", conversation=room)
        await bot.pop(room)
        await bot.engine.book.reconciling.restore("memory", [old], since=tick)
        await bot.push("hello", conversation=room)
        await bot.pop(room)
        assert transport.requests[0].context != old.context
        assert [binding.number for binding in bot.engine.book.live("memory", "@ann")] == [1, 2]


@pytest.mark.parametrize("fault", ["bug", "hang", "refused"])
async def test_a_draft_that_cannot_be_shown_costs_nothing(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts may be dropped at any time: the answer comes whatever becomes of them."""
    monkeypatch.setattr("surfaces_core._engine.drafts.LONGEST_S", 0.01)
    gate = asyncio.Event()
    bot = TestBot(
        transport=ScriptedTransport.answering(lambda _r: [Text("One "), gate, Text("two"), End()]), pace=EAGER
    )
    async with bot.running():

        async def failing(_draft: Draft) -> None:
            gate.set()
            if fault == "hang":
                await asyncio.Event().wait()
            raise ZeroDivisionError if fault == "bug" else Rejected("no")

        bot.surface.show = failing  # type: ignore[assignment, method-assign]
        await bot.push("go")
        assert await bot.pop() == "One two"


async def test_a_hanging_send_keeps_no_other_conversation_waiting() -> None:
    """After a failure too, one conversation whose sending hangs shuts nobody else out."""
    bot = TestBot(settings=SHORT)
    bot.messenger.faults.append(Unavailable("away", retry_after=0.0))
    async with bot.running():
        await bot.push("first", conversation="stuck", sender="@bob")
        await until(lambda: not bot.messenger.faults)
        bot.messenger.held.add("stuck")
        await bot.push("second", conversation="free")
        assert await bot.pop("free") == "second"


async def test_an_agent_that_is_gone_when_its_question_is_answered_is_not_asked_again() -> None:
    """It has had the turn, so what came is kept and the person is told."""
    script: list[Step] = [Text("I would delete it."), Confirm(id="q", text="Sure?"), End()]
    transport = ScriptedTransport.answering(lambda _request: script)
    bot = TestBot(transport=transport)
    async with bot.running():

        async def gone(*_args: object) -> None:
            raise Unavailable("gone")

        transport.answer = gone  # type: ignore[assignment, method-assign]
        await bot.push("delete it")
        await bot.pop()
        await bot.push("!yes")
        said = sorted([await bot.pop(), await bot.pop()])
    assert said == ["I would delete it.\n\n_The answer was cut off here. Please ask again._", "Passed on: yes."]
    assert len(transport.requests) == 1


async def test_a_flood_in_one_batch_is_bounded_too() -> None:
    """A catch-up of many messages counts against its lane before anything of it is stored."""
    bot = TestBot(settings=HostSettings(max_lane_depth=3))
    for number in range(20):
        await bot.push(str(number))
    async with bot.running():
        said = await bot.messenger.until_final(4)
        await bot.engine.turns.urgent.drained()
        assert len(await bot.engine.journal.scan("dead")) == 17
    assert sorted(said)[:3] == ["0", "1", "2"]


async def test_a_file_after_a_status_is_not_called_no_answer() -> None:
    """A draft that showed what the agent did becomes a word about the file, not its denial."""
    gate = asyncio.Event()
    files = MemoryFiles()
    files.contents["/agents/0"]["out.txt"] = b"x"
    script: list[Step] = [Tool(name="search"), gate, File(path="out.txt"), End()]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), pace=EAGER, files=files)
    async with bot.running():
        await bot.push("find it")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["using search"])
        gate.set()
        first, second = await bot.pop_message(), await bot.pop_message()
    assert (first.text, first.file) == ("Here it is.", None)
    assert second.file is not None


async def test_files_wait_for_the_question_that_is_answered() -> None:
    """A turn that fails leaves its files staged, so that asking again sends them again."""
    scripts: list[list[Step]] = [[Rejected("no", public="Not now.")], [Text("Nice."), End()]]
    transport = ScriptedTransport.answering(lambda _request: scripts.pop(0))
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("look", files={"a.txt": b"aaa"})
        assert await bot.pop() == "Not now."
        await bot.push("look again")
        assert await bot.pop() == "Nice."
    assert [request.attachments for request in transport.requests] == [("a.txt",), ("a.txt",)]


async def test_a_file_with_a_command_as_its_caption_is_kept() -> None:
    """The command is done and the file waits."""
    bot = TestBot(hooks=[context])
    async with bot.running():
        await bot.push("!clear", files={"a.txt": b"aaa"})
        assert (await bot.pop()).startswith("Done: the agent starts afresh")
        assert await bot.pop() == "Got `a.txt`. 1 waiting for your next message."


class Twice:
    """A command that does two things."""

    @hookimpl
    def surfaces_commands(self) -> list[Command]:
        async def both(call: CommandCall) -> str:
            await call.desk.rename_chat("Fresh")
            binding: Binding = await call.desk.clear_context()
            return binding.name

        return [Command(name="both", help="does both", handler=both)]


async def test_a_command_sees_what_it_changed_itself() -> None:
    """The second act of a handler builds on the first."""
    bot = TestBot(hooks=[Twice()])
    async with bot.running():
        await bot.push("!both")
        assert await bot.pop() == "Fresh"


async def test_a_question_that_nobody_answers_is_said_to_be_declined() -> None:
    """The person learns what was decided for them."""
    script: list[Step] = [Confirm(id="q", text="Sure?", timeout_s=0.01), Text("I left it."), End()]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script))
    async with bot.running():
        await bot.push("go")
        assert await bot.messenger.until_final(3) == [
            "Sure?\n\nAnswer with `!yes` or `!no`, or react with 👍 or 👎.",
            "I left it.",
            "Nobody answered in time, so I said no.",
        ]


async def test_a_call_back_into_a_conversation_makes_no_other() -> None:
    """A person who invites the bot again into a conversation that it had left finds it as it was."""
    bot = TestBot(rooms=True)
    async with bot.running():
        await bot.push("hi", conversation="entry")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        await bot.pop(room)
        await bot.messenger.say(kind=Kind.LEFT, conversation=room)
        await bot.messenger.say(kind=Kind.START, conversation=room)
        await bot.push("hello", conversation=room)
        assert await bot.pop(room) == "hello"
    assert list(bot.messenger.rooms) == [room]


async def test_a_command_waits_as_long_as_it_is_told_to() -> None:
    """Limits of a messenger that names its wait are no failures, and the person sees that it takes longer."""
    waits = [Unavailable("limited", retry_after=0.0)] * 20

    class Slow:
        @hookimpl
        def surfaces_commands(self) -> list[Command]:
            async def slow(_call: CommandCall) -> str:
                if waits:
                    raise waits.pop()
                return "made"

            return [Command(name="slow", help="waits", handler=slow)]

    bot = TestBot(hooks=[Slow()], settings=SHORT, pace=EAGER)
    async with bot.running():
        await bot.push("!slow")
        shown = await bot.pop_message()
    assert (shown.text, shown.versions[0][:28]) == ("made", "This takes longer than usual")


async def test_names_that_people_choose_stay_what_they_are() -> None:
    """Markdown in a name or a file's name is shown, not obeyed."""
    bot = TestBot(rooms=True)
    async with bot.running():
        await bot.push("hi", conversation="entry", sender="@*ann*")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        assert (await bot.pop(room)).startswith(r"Hello \*Ann\*!")
        await bot.push(conversation=room, sender="@*ann*", files={"a`b.txt": b"x"})
        assert await bot.pop(room) == "Got `a'b.txt`. 1 waiting for your next message."


async def test_a_message_that_came_at_the_last_moment_is_not_called_interrupted() -> None:
    """Stored as begun but never worked on before the stop, it is simply answered by the next life."""
    bot = TestBot(settings=SHORT)
    async with bot.running():
        bot.engine.turns.end()
        await bot.push("just in time")
        await until(lambda: len(bot.engine.turns.lanes) == 1)
    assert bot.transport.requests == []  # type: ignore[attr-defined]
    async with bot.running():
        assert await bot.pop() == "just in time"


async def test_what_replaces_a_refused_part_stands_in_its_place() -> None:
    """The order of a conversation holds, and a draft that showed does not stay half an answer."""
    gate = asyncio.Event()
    script: list[Step] = [Text("Half an answer"), gate, Text(" and the rest"), End()]
    transport = ScriptedTransport.answering(lambda r: script if r.text == "long" else [Text(r.text), End()])
    bot = TestBot(transport=transport, pace=EAGER)
    async with bot.running():
        await bot.push("long")
        await bot.push("next")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["Half an answer"])
        bot.messenger.faults.append(Rejected("too odd"))
        gate.set()
        assert await bot.messenger.until_final(2) == ["A part of this answer could not be shown here.", "next"]
    assert len(bot.messenger.shown) == 2


async def test_stop_finds_the_question_that_waits_and_nothing_else() -> None:
    """A command that waits before it is done all the same."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda r: [gate, Text(r.text), End()])
    bot = TestBot(transport=transport, settings=replace_settings(SHORT, max_concurrent_turns=1))
    async with bot.running():
        await bot.push("first", conversation="other", sender="@bob")
        await until(lambda: bool(transport.requests))
        await bot.push("!help stop")
        await bot.push("question")
        await until(lambda: bot.engine.turns.lanes.depth(Spot.of(bot.messenger.incoming[1])) == 2)
        await bot.push("!stop")
        await until(lambda: bool(bot.engine.turns._stop_next))
        gate.set()
        assert await bot.messenger.until_final(2) == ["`!stop` – stops the answer that is being written.", "Stopped."]
        assert bot.engine.turns._stop_next == set()


async def test_half_characters_are_taken_wherever_they_stand() -> None:
    """File names, refusals and answers of commands with lone surrogates end nothing."""

    class Odd:
        @hookimpl
        def surfaces_commands(self) -> list[Command]:
            async def odd(_call: CommandCall) -> str:
                return "odd \ud800"

            return [Command(name="odd", help="answers oddly", handler=odd)]

    transport = ScriptedTransport.answering(lambda _request: [Rejected("\ud800", public="No \ud800")])
    bot = TestBot(hooks=[Odd()], transport=transport)
    bot.messenger.lost_answers.append(Rejected("\ud800"))
    async with bot.running():
        await bot.push("!odd")
        assert await bot.pop() == "odd ?"
        await bot.push("ask")
        assert await bot.pop() == "No ?"
        await bot.push(files={"a\udfff.txt": b"x"})
        assert await bot.pop() == "Got `a_.txt`. 1 waiting for your next message."


async def test_what_came_before_is_not_lost_where_rooms_are_never_told() -> None:
    """Whoever takes messages in without a word about its rooms releases what waited for that word."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda r: [gate, Text(r.text), End()], repeatable=True)
    bot = TestBot(transport=transport, settings=SHORT, rooms=True)
    async with bot.running():
        await bot.push("hi", conversation="entry")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        await bot.pop(room)
        await bot.push("one", conversation=room)
        await bot.push("two", conversation=room)
        await until(lambda: len(bot.engine.turns.lanes) == 2)
    gate.set()
    engine = bot.build()
    engine.on_ready = lambda: None

    async def wordless(intake: Intake) -> None:
        await until(lambda: engine.operations.health.report().inbox == 2)
        await intake.accept([], "5")
        await asyncio.Event().wait()

    bot.surface.run = wordless  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run())
        assert [await bot.pop(room), await bot.pop(room)] == ["one", "two"]
        engine.stop()


async def test_a_clock_that_jumps_ahead_forgets_no_recent_event() -> None:
    """The last events are remembered whatever the time seems to be, and only what is older is pruned."""
    clock = [1_000_000.0]
    journal = Journal(MemoryStorage(), lambda: clock[0])
    many = SEEN_LEAST + 5
    async with journal.storage:
        await journal.open()
        for number in range(0, many, 5):
            await journal.accept("memory", [message(number + step) for step in range(5)], "cursor", lambda entry: entry)
            clock[0] += 1.0
        clock[0] += 365 * 86400.0
        assert await prune(journal, 86400.0) == 5
        late = [message(number) for number in range(5, many)]
        assert list(await journal.accept("memory", late, "cursor", lambda entry: entry)) == []


@pytest.mark.parametrize(
    ("repeatable", "first", "answer"),
    [
        (True, [], "once more"),
        (False, [], "cut"),
        (True, [Text("half")], "half\n\ncut"),
    ],
    ids=["nothing came", "no message ids", "something came"],
)
async def test_a_question_that_was_cut_is_asked_again_where_that_is_harmless(
    repeatable: bool, first: list[Step], answer: str
):
    """Only when nothing came and the agent recognises the repeat; else the person decides."""
    tries: list[str] = []

    def script(request: AgentRequest) -> list[Step]:
        tries.append(request.turn)
        if len(tries) == 1:
            return [*first, Rejected("closed with code 1006", code="CUT", public="cut", interrupted=True)]
        return [Text("once more"), End()]

    bot = TestBot(transport=ScriptedTransport(script=script, repeatable=repeatable), settings=SHORT)
    async with bot.running():
        await bot.push("hello")
        assert (await bot.pop()).replace("_", "") == answer
    assert len(set(tries)) == 1
    assert len(tries) == (2 if answer == "once more" else 1)
