"""Plugins at their worst: whatever one raises, returns or never finishes, nothing is lost and others are served.

Each case breaks one call into code of others and looks at what people see.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import structlog

from surfaces_commands_context import chats, context
from surfaces_core import (
    AgentEvent,
    AgentRequest,
    Command,
    CommandCall,
    ConfigError,
    Confirm,
    Draft,
    End,
    File,
    Inbound,
    Intake,
    Kind,
    Observed,
    Outbound,
    Pace,
    Receipt,
    StateError,
    Text,
    Tx,
    Unavailable,
    hookimpl,
)
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._host.lifecycle import Engine
from surfaces_core._operating.watchdog import watching
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

SHORT = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002)
EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)
PART_LOST = "A part of this answer could not be shown here."

RAISED: dict[str, Callable[[], BaseException]] = {
    "bug": ZeroDivisionError,
    "exit": lambda: SystemExit(0),
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "stop iteration": StopIteration,
    "stop async iteration": StopAsyncIteration,
    "recursion": RecursionError,
    "memory": MemoryError,
    "timeout": TimeoutError,
    "os": lambda: OSError(24, "Too many open files"),
    "group": lambda: ExceptionGroup("several", [ValueError(), KeyError()]),
    "base group": lambda: BaseExceptionGroup("several", [ValueError(), SystemExit(0), asyncio.CancelledError()]),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Tracebacks made pretty take longer than everything else here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


everything_raised = pytest.mark.parametrize("fault", RAISED.values(), ids=RAISED)


async def ends(engine: Engine) -> None:
    """One life that ends by itself."""
    async with asyncio.timeout(5):
        await engine.run()


class Boom:
    """Every hook and contribution; the one at `where` raises for a message that says `boom`."""

    def __init__(self, where: str, fault: Callable[[], BaseException]) -> None:
        self._where = where
        self._fault = fault

    def _go_off(self, where: str, text: str) -> None:
        if where == self._where and text.endswith("boom"):
            raise self._fault()

    @hookimpl
    def surfaces_commands(self) -> list[Command]:
        async def boom(_call: CommandCall) -> str:
            self._go_off("command", "boom")
            return "fine"

        return [Command(name="boom", help="goes off", handler=boom)]

    @hookimpl
    def surfaces_shapers(self) -> list[Callable[[AgentRequest, Inbound], AgentRequest]]:
        def shape(request: AgentRequest, message: Inbound) -> AgentRequest:
            self._go_off("shaper", message.text)
            return request

        return [shape]

    @hookimpl
    def surfaces_refuse(self, message: Inbound) -> str | None:
        self._go_off("refuse", message.text)
        return None

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        self._go_off("observe", "boom")


class BoomTransport(ScriptedTransport):
    """Raises before or behind a text when asked `boom`."""

    def __init__(self, where: str, fault: Callable[[], BaseException]) -> None:
        super().__init__()
        self._where = where
        self._fault = fault

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        if request.text == "boom" and self._where == "transport":
            raise self._fault()
        yield Text(request.text)
        if request.text == "boom" and self._where == "transport later":
            raise self._fault()
        yield End()


@everything_raised
@pytest.mark.parametrize("where", ["command", "refuse", "shaper", "transport", "transport later"])
async def test_what_a_plugin_raises_in_a_turn_ends_that_turn_alone(
    where: str, fault: Callable[[], BaseException]
) -> None:
    """The person gets the general sentence, whoever speaks next an answer, and the host lives."""
    bot = TestBot(hooks=[Boom(where, fault)], transport=BoomTransport(where, fault))
    async with bot.running():
        await bot.push("!boom" if where == "command" else "boom")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.GENERAL(), "next"]


@everything_raised
async def test_what_an_observer_raises_changes_nothing(fault: Callable[[], BaseException]) -> None:
    """Watching is not taking part."""
    bot = TestBot(hooks=[Boom("observe", fault)])
    async with bot.running():
        await bot.push("one")
        await bot.push("two")
        assert [await bot.pop(), await bot.pop()] == ["one", "two"]


@pytest.mark.parametrize(
    "fault", [RAISED[name] for name in RAISED if name != "memory"], ids=[name for name in RAISED if name != "memory"]
)
async def test_what_a_surface_raises_in_sending_costs_that_part_alone(fault: Callable[[], BaseException]) -> None:
    """It is put aside with a line in its place, and what is behind it is said."""
    bot = TestBot()
    async with bot.running():
        send = bot.surface.send

        async def choking(part: Outbound) -> Receipt:
            if part.text == "boom":
                raise fault()
            return await send(part)

        bot.surface.send = choking  # type: ignore[assignment, method-assign]
        await bot.push("boom")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [PART_LOST, "next"]
        assert len(await bot.engine.journal.scan("dead")) == 1


async def test_a_want_of_memory_in_sending_is_waited_out() -> None:
    """It is no fault of the part, which is said as soon as that is possible."""
    wants = [MemoryError()]
    bot = TestBot()
    async with bot.running():
        send = bot.surface.send

        async def choking(part: Outbound) -> Receipt:
            if wants:
                raise wants.pop()
            return await send(part)

        bot.surface.send = choking  # type: ignore[assignment, method-assign]
        await bot.push("hello")
        assert await bot.pop() == "hello"


@everything_raised
async def test_what_a_surface_raises_in_cutting_ends_that_turn_alone(fault: Callable[[], BaseException]) -> None:
    """An answer that cannot be cut into parts is replaced by the general sentence."""
    bot = TestBot()
    async with bot.running():
        split = bot.surface.split

        def choking(text: str) -> Sequence[str]:
            if text == "boom":
                raise fault()
            return split(text)

        bot.surface.split = choking  # type: ignore[method-assign]
        await bot.push("boom")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.GENERAL(), "next"]


@everything_raised
async def test_what_a_surface_raises_in_showing_drafts_costs_nothing(fault: Callable[[], BaseException]) -> None:
    """The answer comes whatever becomes of its drafts."""
    tried = asyncio.Event()
    script: list[Step] = [Text("One "), tried, Text("two"), End()]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: script), pace=EAGER)
    async with bot.running():

        async def choking(_draft: Draft) -> None:
            tried.set()
            raise fault()

        bot.surface.show = choking  # type: ignore[assignment, method-assign]
        await bot.push("go")
        assert await bot.pop() == "One two"


@everything_raised
async def test_what_a_surface_raises_in_fetching_ends_that_turn_alone(fault: Callable[[], BaseException]) -> None:
    """A file that cannot be had is answered with the general sentence."""
    bot = TestBot()
    async with bot.running():

        async def choking(_attachment: object) -> AsyncIterator[bytes]:
            yield b"half"
            raise fault()

        bot.surface.fetch = choking  # type: ignore[assignment, method-assign]
        await bot.push(files={"a.txt": b"aaa"})
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.GENERAL(), "next"]


@everything_raised
@pytest.mark.parametrize("method", ["save", "open"])
async def test_what_files_raise_ends_that_turn_alone(method: str, fault: Callable[[], BaseException]) -> None:
    """Storing a person's file and opening an agent's are calls into code of others too."""
    files = MemoryFiles()

    async def choking(*_args: object, **_options: object) -> Any:
        raise fault()

    setattr(files, method, choking)
    scripts: dict[str, list[Step]] = {"make": [File(path="a.txt"), End()], "next": [Text("next"), End()]}
    bot = TestBot(transport=ScriptedTransport.answering(lambda request: scripts[request.text]), files=files)
    async with bot.running():
        if method == "save":
            await bot.push(files={"a.txt": b"aaa"})
        else:
            await bot.push("make")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.GENERAL(), "next"]


@everything_raised
async def test_what_a_transport_raises_on_an_answer_ends_that_turn_alone(fault: Callable[[], BaseException]) -> None:
    """The person who said yes learns that it went wrong."""
    script: list[Step] = [Confirm(id="q", text="Sure?"), Text("Done."), End()]
    transport = ScriptedTransport.answering(lambda _request: script)

    async def choking(*_args: object) -> None:
        raise fault()

    transport.answer = choking  # type: ignore[assignment, method-assign]
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("go")
        assert (await bot.pop()).startswith("Sure?")
        await bot.push("!yes")
        assert sorted([await bot.pop(), await bot.pop()]) == ["Passed on: yes.", words.GENERAL()]


@everything_raised
async def test_a_surface_that_stops_receiving_ends_the_host_loudly(fault: Callable[[], BaseException]) -> None:
    """A host that hears nothing any more must not look alive; what it had taken in is answered by the next life."""
    bot = TestBot(settings=SHORT)

    async def choking(intake: Intake) -> None:
        await intake.accept(bot.messenger.incoming, "1")
        raise fault()

    await bot.push("before")
    engine = bot.build()
    bot.surface.run = choking  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup):
        await ends(engine)
    async with bot.running():
        assert (await bot.pop()) in ("before", words.INTERRUPTED())


async def test_state_that_cannot_be_written_in_sending_is_no_fault_of_the_part() -> None:
    """What a surface could not store ends the host, and the next life says the part."""
    bot = TestBot(settings=SHORT)

    async def unstorable(_part: Outbound) -> Receipt:
        raise StateError("the disk is full")

    await bot.push("hello")
    engine = bot.build()
    bot.surface.send = unstorable  # type: ignore[assignment, method-assign]
    with pytest.raises(ExceptionGroup):
        await ends(engine)
    async with bot.running():
        assert await bot.pop() == "hello"
        assert await bot.engine.journal.scan("dead") == {}


# Transports that do not keep to their contract -------------------------------------------------------


async def test_an_answer_without_an_end_is_marked_as_cut_off() -> None:
    """Half an answer never looks like a whole one."""

    class Endless(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            yield Text("The first half")

    bot = TestBot(transport=Endless())
    async with bot.running():
        await bot.push("go")
        assert await bot.pop() == f"The first half\n\n_{words.CUT_OFF()}_"


async def test_an_agent_that_has_spoken_is_not_asked_again() -> None:
    """A transport that calls it a matter of later in the middle of an answer is not believed."""
    asked: list[AgentRequest] = []

    class Late(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            asked.append(request)
            yield Text("The first half")
            raise Unavailable("gone")

    bot = TestBot(transport=Late(), settings=SHORT)
    async with bot.running():
        await bot.push("go")
        assert await bot.pop() == f"The first half\n\n_{words.CUT_OFF()}_"
    assert len(asked) == 1


@pytest.mark.parametrize("event", [Text(5), Text(None), End(tokens="many"), "text", None], ids=repr)  # type: ignore[arg-type]
async def test_events_of_a_wrong_type_end_their_turn_at_most(event: Any) -> None:
    """Whatever a transport yields, the person reads something and the next question is answered."""
    script: list[Any] = [Text("Words"), event, End()]
    transport = ScriptedTransport.answering(lambda r: script if r.text == "go" else [Text("fine"), End()])
    bot = TestBot(transport=transport)
    async with bot.running():
        await bot.push("go")
        await bot.push("next")
        assert await bot.pop() in (words.GENERAL(), "Words")
        assert await bot.pop() == "fine"


# What commands and hooks give back --------------------------------------------------------------------


class Answering:
    """A command, a refuser and a shaper that give back what they are told to."""

    def __init__(self, where: str, value: Any) -> None:
        self._where = where
        self._value = value

    @hookimpl
    def surfaces_commands(self) -> list[Command]:
        async def odd(_call: CommandCall) -> Any:
            return self._value if self._where == "command" else "fine"

        return [Command(name="odd", help="answers oddly", handler=odd)]

    @hookimpl
    def surfaces_refuse(self, message: Inbound) -> Any:
        return self._value if self._where == "refuse" and message.text == "go" else None

    @hookimpl
    def surfaces_shapers(self) -> list[Any]:
        def shape(request: AgentRequest, message: Inbound) -> Any:
            return self._value if self._where == "shaper" and message.text == "go" else request

        return [shape]


@pytest.mark.parametrize("value", [5, True, b"bytes", ["a", "list"], {"a": "dict"}, 1j], ids=repr)
@pytest.mark.parametrize("where", ["command", "refuse", "shaper"])
async def test_what_is_no_text_is_a_bug_of_that_plugin(where: str, value: Any) -> None:
    """The person gets the general sentence, the agent nothing, and the host lives."""
    bot = TestBot(hooks=[Answering(where, value)])
    async with bot.running():
        await bot.push("!odd" if where == "command" else "go")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.GENERAL(), "next"]
    assert [request.text for request in bot.transport.requests] == ["next"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("hook", ["surfaces_commands", "surfaces_shapers"])
@pytest.mark.parametrize("value", [5, [5], ["text"], [None], ZeroDivisionError("oops")], ids=repr)
def test_what_a_plugin_cannot_contribute_stops_the_start_with_one_line(hook: str, value: Any) -> None:
    """The line names the plugin, whether its hook raises or gives back what is none."""

    def contribute(_self: object) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    contribute.__name__ = hook
    plugin = type("Odd", (), {hook: hookimpl(contribute)})
    with pytest.raises(ConfigError, match=r"Odd.*cannot say what it contributes") as caught:
        TestBot(hooks=[plugin()]).build()
    assert "\n" not in str(caught.value)


async def test_a_command_that_says_nothing_says_nothing() -> None:
    """None is as good as an empty text."""
    bot = TestBot(hooks=[Answering("command", None)])
    async with bot.running():
        await bot.push("!odd")
        await bot.push("next")
        assert await bot.pop() == "next"


async def test_a_surface_that_cuts_an_answer_into_nothing_still_says_it() -> None:
    """No text gets lost between the answer and its parts."""
    bot = TestBot()
    async with bot.running():
        bot.surface.split = lambda _text: []  # type: ignore[method-assign, assignment]
        await bot.push("hello")
        assert await bot.pop() == "hello"


async def test_a_command_that_never_returns_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its conversation would wait for it in this life and in every other."""
    monkeypatch.setattr("surfaces_core._engine.calls.LONGEST_COMMAND_S", 0.01)

    class Endless:
        @hookimpl
        def surfaces_commands(self) -> list[Command]:
            async def endless(_call: CommandCall) -> str:
                await asyncio.Event().wait()
                return "never"

            return [Command(name="endless", help="never returns", handler=endless)]

    bot = TestBot(hooks=[Endless()])
    async with bot.running():
        await bot.push("!endless")
        await bot.push("next")
        assert [await bot.pop(), await bot.pop()] == [words.TOO_LONG(), "next"]


async def test_a_huge_answer_holds_up_nobody() -> None:
    """Two megabytes of a command come in parts, in order, while others are answered."""
    huge = "word " * 400_000
    bot = TestBot(hooks=[Answering("command", huge)])
    async with bot.running():
        await bot.push("!odd")
        await bot.push("hello", conversation="other", sender="@bob")
        assert await bot.pop("other") == "hello"
        assert "".join(await bot.messenger.until_final(len(huge) // 4000, timeout_s=30)) == huge


# Drivers that fail elsewhere ---------------------------------------------------------------------------


@everything_raised
@pytest.mark.parametrize("method", ["enter", "open", "record", "find"])
async def test_what_a_messenger_s_conversations_raise_ends_that_turn_alone(
    method: str, fault: Callable[[], BaseException]
) -> None:
    """Whoever calls the bot, or makes or renames a conversation, reads that it went wrong, and may try again."""
    bot = TestBot(rooms=True, hooks=[chats])
    async with bot.running():
        await bot.push("hi", conversation="entry")
        await bot.pop("entry")
        (room,) = bot.messenger.rooms
        await bot.pop(room)
        assert bot.surface.conversations is not None
        sound = getattr(bot.surface.conversations, method)

        async def choking(*_args: object) -> Any:
            raise fault()

        setattr(bot.surface.conversations, method, choking)
        if method == "enter":
            await bot.messenger.say(kind=Kind.START, conversation="another", sender="@bob")
            assert await bot.pop("another") == words.GENERAL()
        elif method == "find":
            await bot.push("hi", conversation="unknown", sender="@bob")
            assert await bot.pop("unknown") == words.GENERAL()
        else:
            await bot.push("!new" if method == "open" else "!rename Fresh", conversation=room)
            assert await bot.pop(room) == words.GENERAL()
        setattr(bot.surface.conversations, method, sound)
        await bot.push("hello", conversation=room)
        assert await bot.pop(room) == "hello"


@everything_raised
async def test_what_a_transport_raises_on_forgetting_ends_that_turn_alone(fault: Callable[[], BaseException]) -> None:
    """A context that cannot be forgotten is cleared all the same, and talking goes on."""
    transport = ScriptedTransport()

    async def choking(*_args: object) -> None:
        raise fault()

    transport.forget = choking  # type: ignore[assignment, method-assign]
    bot = TestBot(transport=transport, hooks=[context])
    async with bot.running():
        for _ in range(2):
            await bot.push("hello")
            assert await bot.pop() == "hello"
            await bot.push("!clear")
            assert await bot.pop() == words.GENERAL()
    assert len({request.context for request in transport.requests}) == 2


class ChokingStorage(MemoryStorage):
    """Fails once, at the n-th transaction after it was armed."""

    left = -1
    fault: Callable[[], BaseException] = ZeroDivisionError

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        self.left -= 1
        if self.left == 0:
            raise self.fault()
        async with super().transaction() as tx:
            yield tx


@pytest.mark.parametrize("fault", ["bug", "memory", "timeout", "os", "cancelled", "group"])
async def test_what_a_storage_raises_loses_and_doubles_nothing(fault: str) -> None:
    """At whichever transaction: a turn ends with a word or the host loudly, and in the end there is one answer each."""
    for number in range(1, 13):
        bot = TestBot(settings=SHORT.model_copy(update={"on_interrupt": "retry"}))
        storage = ChokingStorage(disk=bot.disk)
        storage.fault = RAISED[fault]
        with suppress(ExceptionGroup, TimeoutError):
            async with asyncio.timeout(0.2), bot.running(storage):
                storage.left = number
                await bot.push("one")
                await bot.push("two")
                await bot.messenger.until_final(2)
        async with bot.running():
            first, second = await bot.messenger.until_final(2)
            await bot.engine.turns.lanes.drained()
            assert first in ("one", words.GENERAL())
            assert second in ("two", words.GENERAL())
            assert len(bot.messenger.texts()) == 2


@pytest.mark.parametrize("driver", ["storage", "files", "transport", "surface"])
@pytest.mark.parametrize("side", ["__aenter__", "__aexit__"])
async def test_a_driver_that_cannot_open_or_close_ends_the_host_loudly(
    driver: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error comes out, the others are closed, and the next life has everything."""
    bot = TestBot(settings=SHORT)
    engine = bot.build()
    kind = {
        "storage": type(bot.engine.drivers.storage),
        "files": type(bot.files),
        "transport": type(bot.transport),
        "surface": type(bot.surface),
    }[driver]
    sound = getattr(kind, side)

    async def choking(self: Any, *args: Any) -> Any:
        if side == "__aexit__":
            await sound(self, *args)
        raise ZeroDivisionError

    with monkeypatch.context() as patched:  # of the class, for that is where `async with` looks
        patched.setattr(kind, side, choking)
        engine.on_ready = engine.stop
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            await ends(engine)
    await bot.push("hello")
    async with bot.running():
        assert await bot.pop() == "hello"


# A loop that is held up ---------------------------------------------------------------------------------


async def test_who_holds_up_the_loop_is_said_while_it_lasts_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that never comes back is named too, as the thread that watches needs no loop."""
    for name in ("STALL_S", "STUCK_S"):  # what takes seconds in a real host
        monkeypatch.setattr(f"surfaces_core._operating.watchdog.{name}", 0.01)
    written, log = _written()
    with watching(log):
        while "loop.stuck" not in written.getvalue():
            time.sleep(0.01)  # noqa: ASYNC251 - that is the trouble
        await until(lambda: "loop.stalled" in written.getvalue())
    stuck, stalled, *_ = (json.loads(line) for line in written.getvalue().splitlines())
    assert __name__.rpartition(".")[2] in stuck["where"]
    assert stalled["seconds"] >= stuck["seconds"]


async def test_a_call_that_lets_nothing_else_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call into C that keeps the interpreter to itself also keeps the watchdog from running: it looks right after."""
    for name in ("STALL_S", "PAUSE_S"):
        monkeypatch.setattr(f"surfaces_core._operating.watchdog.{name}", 0.02)
    written, log = _written()
    with watching(log):
        async with asyncio.timeout(30):
            while f"{__name__.rpartition('.')[2]}:" not in written.getvalue():  # on a busy machine it may not be told
                sum(range(5_000_000))
                await asyncio.sleep(0.05)
    assert "test_a_call_that_lets_nothing_else_run_is_named" in written.getvalue()


def _written() -> tuple[io.StringIO, Any]:
    written = io.StringIO()
    log = structlog.wrap_logger(
        structlog.WriteLogger(written),
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    return written, log


# The clock ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-10 * 365 * 86400.0, -7200.0, 7200.0, 10 * 365 * 86400.0])
async def test_a_clock_that_jumps_holds_up_nothing_and_doubles_nothing(jump_s: float) -> None:
    """A message that waits for its next try when the time changes is answered, in this life and after a restart."""
    jumped = [0.0]
    away = [Unavailable("away")] * 2
    asked: list[str] = []

    class Away(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            asked.append(request.text)
            jumped[0] = jump_s
            if away:
                raise away.pop()
            yield Text(request.text)
            yield End()

    bot = TestBot(transport=Away(), settings=SHORT, now=lambda: time.time() + jumped[0])
    await bot.push("before")
    async with bot.running():
        assert await bot.pop() == "before"
        await bot.push("after")
        assert await bot.pop() == "after"
    away.append(Unavailable("away"))
    jumped[0] = -jump_s
    async with bot.running():
        await bot.push("again")
        assert await bot.pop() == "again"
        assert bot.messenger.texts() == ["before", "after", "again"]


async def test_a_wait_that_was_stored_before_the_clock_was_set_back_is_short() -> None:
    """After a restart in the past nobody waits until the time of the next try comes round again."""
    clock = [time.time()]
    slow = SHORT.model_copy(update={"retry_base_s": 1000.0, "retry_cap_s": 1000.0})
    transport = ScriptedTransport.answering(lambda _request: [Unavailable("away")])
    bot = TestBot(transport=transport, settings=slow, now=lambda: clock[0])
    async with bot.running():
        await bot.push("hello")
        await until(lambda: bool(transport.requests) and bot.engine.turns.lanes.waiting == 1)
    clock[0] -= 365 * 86400.0
    transport.script = lambda request: [Text(request.text), End()]
    bot.settings = SHORT
    async with bot.running():
        assert await bot.pop() == "hello"


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)
