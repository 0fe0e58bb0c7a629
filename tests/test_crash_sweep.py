"""The crash sweep: the host dies before and after every single transaction, and nothing is lost or doubled.

The scenario: a person is let in, talks in two conversations, sends a file and gets one back, sees a
streamed answer and uses a command that changes state. It is judged from outside, by what people see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal

import pytest

from surfaces_commands_context import chats, context
from surfaces_core import AgentEvent, AgentRequest, End, File, Kind, Pace, Text
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import journal as journal_module
from surfaces_core._engine import words
from surfaces_core._engine.journal import Journal
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport

SETTINGS = HostSettings(on_interrupt="retry", shutdown_grace_s=0.2)
PACE = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=5)
Side = Literal["before", "after"]
QUESTIONS = {"first": ["a1", "a2", "file please", "a3"], "second": ["b1", "b2"]}


class Agent(ScriptedTransport):
    """Streams what it is asked back, and sends a file when asked for one; a repeat is harmless."""

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """Play."""
        self.requests.append(request)
        for word in ("You ", "said ", request.text):
            yield Text(word)
            await asyncio.sleep(0)
        if "file" in request.text:
            yield File(path="out.txt")
        yield End(tokens=1)

    def repeatable(self, agent: object) -> bool:
        """It is."""
        return True


def world(settings: HostSettings) -> TestBot:
    """Everything that outlives the host, with all that people say waiting."""
    files = MemoryFiles()
    files.contents["/agents/0"]["out.txt"] = b"result"
    return TestBot(transport=Agent(), files=files, hooks=[chats, context], settings=settings, pace=PACE, rooms=True)


async def said(bot: TestBot) -> None:
    """What people do, waiting for nothing but the room they need."""
    await bot.messenger.say(kind=Kind.START, conversation="entry", event_id="$invite")
    await bot.messenger.until(lambda: len(bot.messenger.rooms) == 1)
    (first,) = bot.messenger.rooms
    await bot.messenger.say("!new Second", conversation=first, event_id="$new")
    await bot.messenger.until(lambda: len(bot.messenger.rooms) == 2)
    second = next(room for room in bot.messenger.rooms if room != first)
    await bot.messenger.say(conversation=first, files={"in.txt": b"input"}, event_id="$file")
    for name, room in (("first", first), ("second", second)):
        for question in QUESTIONS[name]:
            await bot.messenger.say(question, conversation=room, event_id=f"${question}")
    await bot.messenger.say("!clear", conversation=second, event_id="$clear")


def expected(bot: TestBot) -> dict[str, list[str]]:
    """What people must see in the end, beside greetings."""
    first, second = bot.messenger.rooms
    return {
        first: ["[C2 Second]", "Got `in.txt`", "You said a1", "You said a2", "You said file please", "", "You said a3"],
        second: ["You said b1", "You said b2", "Done: the agent starts afresh"],
    }


def settled(bot: TestBot) -> bool:
    """Everything that was said is taken in, answered and shown."""
    waiting = any(row.startswith((b"in\0", b"out\0")) for row in bot.disk.rows)
    cursor = bot.disk.rows.get(journal_module.key("cursor", "memory"), b"0")
    return not waiting and int(cursor) == len(bot.messenger.incoming)


async def life(bot: TestBot, actor: asyncio.Task[None], storage: FaultyStorage) -> None:
    """One life of the host, until everything is answered or it dies."""
    try:
        async with asyncio.timeout(20), bot.running(storage):
            while not (actor.done() and settled(bot)):  # noqa: ASYNC110 - the disk has no event for this
                await asyncio.sleep(0)
    except* Crash:
        assert storage.crashed


async def run(*crashes: int, side: Side = "before", settings: HostSettings = SETTINGS) -> tuple[TestBot, int, int]:
    """Lives that end at their n-th transaction, one after the other, then a clean one.

    The world, how many lives died, and how many transactions the first one began.
    """
    bot = world(settings)
    died = writes = 0
    async with asyncio.TaskGroup() as group:
        actor = group.create_task(said(bot))
        for crash_at in (*crashes, None):
            storage = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=crash_at, side=side)
            await life(bot, actor, storage)
            writes = writes or storage.writes
            if not storage.crashed:
                break
            died += 1
    return bot, died, writes


def judge(bot: TestBot, *, may_be_interrupted: bool = False) -> None:
    """Nothing lost, doubled, out of order or torn."""
    for room, texts in expected(bot).items():
        shown = [message for message in bot.messenger.shown.values() if message.conversation == room]
        assert all(message.final for message in shown), "a message stays half-finished"
        rest = [m.text for m in shown if not m.text.startswith("Hello Ann!") and not (may_be_interrupted and m.file)]
        wanted = [text for text in texts if text or not may_be_interrupted]
        assert len(rest) == len(wanted), f"{len(rest)} messages instead of {len(wanted)}: {rest}"
        for text, want in zip(rest, wanted, strict=True):
            told = may_be_interrupted and text == words.INTERRUPTED() and want.startswith("You said")
            assert told or text.startswith(want), f"{text!r} where {want!r} should be"
    greetings = [message for message in bot.messenger.shown.values() if message.text.startswith("Hello Ann!")]
    assert len(greetings) == 1
    assert len(bot.messenger.texts("entry")) == 1
    sent = [bot.messenger.uploads[message.key] for message in bot.messenger.shown.values() if message.file is not None]
    assert sent == [b"result"] or (may_be_interrupted and not sent)
    asked = [request for request in bot.transport.requests if request.text == "a1"]  # type: ignore[attr-defined]
    assert asked[-1].attachments == ("in.txt",)
    numbers = [int(row.split(b"\0")[1]) for row in bot.disk.rows if row.startswith((b"in\0", b"out\0", b"dead\0"))]
    assert max(numbers, default=0) <= int(bot.disk.rows[journal_module.key("meta", "seq")])


async def transactions() -> int:
    """How many transactions the scenario has when nothing happens to it."""
    bot, _, writes = await run()
    judge(bot)
    return writes


@pytest.mark.parametrize("policy", ["retry", "auto"])
@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_at_any_transaction_loses_and_doubles_nothing(side: Side, policy: str) -> None:
    """For every n: die there, live again, and people see each answer once, whole and in order."""
    settings = SETTINGS.model_copy(update={"on_interrupt": policy})
    count = await transactions()
    assert count > 40
    crashed = 0
    for number in range(1, count + 1):
        bot, died, _ = await run(number, side=side, settings=settings)
        crashed += died
        try:
            judge(bot, may_be_interrupted=policy == "auto")
        except AssertionError as error:
            raise AssertionError(f"crash {side} transaction {number}: {error}") from error
    assert crashed >= count - 5, "the sweep did not reach the end of the scenario"


@pytest.mark.parametrize("second", [1, 2, 3, 5, 8, 13])
async def test_a_crash_while_recovering_from_a_crash_loses_and_doubles_nothing(second: int) -> None:
    """Two lives die, the second soon after its start; the third makes everything good."""
    for number in range(1, await transactions() + 1, 2):
        side: Side = "after" if number % 4 == 1 else "before"
        bot, _, _ = await run(number, second, side=side)
        try:
            judge(bot)
        except AssertionError as error:
            raise AssertionError(f"crashes {side} transactions {number} and {second}: {error}") from error


# Planted bugs: a sweep that cannot fail proves nothing ----------------------------------------------


def random_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns are named at random, so a repeat is another message."""
    counter = iter(range(10**9))
    monkeypatch.setattr(journal_module, "turn_id", lambda _surface, _event: f"t{next(counter)}x{id(counter)}")

    original = Journal.begin

    async def renamed(self: Journal, entry: Any) -> Any:
        import dataclasses

        return await original(self, dataclasses.replace(entry, turn=f"r{next(counter)}x{id(counter)}"))

    monkeypatch.setattr(Journal, "begin", renamed)


def forgotten_before_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is removed in a transaction of its own before its answer is stored."""
    original = Journal.complete

    async def split(self: Journal, entry: Any, answer: Any, changes: Any, **kwargs: Any) -> Any:
        await self.write({journal_module.key("in", journal_module.ordinal(entry.seq)): None})
        return await original(self, entry, answer, changes, **kwargs)

    monkeypatch.setattr(Journal, "complete", split)


def cursor_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is stored before what lies before it."""
    original = Journal.accept

    async def eager(self: Journal, surface: str, batch: Any, cursor: str, admit: Any) -> Any:
        await self.write({journal_module.key("cursor", surface): cursor.encode()})
        return await original(self, surface, batch, cursor, admit)

    monkeypatch.setattr(Journal, "accept", eager)


def delivered_before_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part leaves the outbox before the messenger has it."""
    from surfaces_core._engine.delivery import Delivery

    original = Delivery._send

    async def hasty(self: Delivery, part: Any) -> Any:
        await self._journal.delivered(part)
        return await original(self, part)

    monkeypatch.setattr(Delivery, "_send", hasty)


def shown_without_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft shows without the journal knowing."""

    async def unmarked(_self: Journal, entry: Any, **_options: Any) -> Any:
        return entry

    monkeypatch.setattr(Journal, "mark_shown", unmarked)


def numbers_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a conversation was opened as is not remembered, so a repeat opens another."""
    from surfaces_core._engine.conversations import Book

    original = Book._opening

    async def forgetful(self: Book, cause: str, *rest: str) -> Any:
        return await original(self, f"{cause}{id(self) % 9973}", *rest)

    monkeypatch.setattr(Book, "_opening", forgetful)


PLANTED: list[Callable[[pytest.MonkeyPatch], None]] = [
    random_keys,
    forgotten_before_queued,
    cursor_first,
    delivered_before_sent,
    shown_without_a_mark,
    numbers_not_kept,
]


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
async def test_the_sweep_catches_a_planted_bug(plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each small mutation of the write order fails at some point of the sweep."""
    count = await transactions()
    plant(monkeypatch)
    caught = []
    for number in range(1, count + 1):
        sides: tuple[Side, ...] = ("before", "after")
        for side in sides:
            try:
                async with asyncio.timeout(3):
                    bot, _, _ = await run(number, side=side)
                judge(bot)
            except (AssertionError, TimeoutError, BaseExceptionGroup) as error:
                caught.append((number, side, error))
                break
        if caught:
            break
    assert caught, f"{plant.__name__} went unnoticed"
