"""The crash sweep of edits, redactions, reactions and threads: a crash at every transaction changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from surfaces_core import Address, AgentEvent, AgentRequest, End, Inbound, Kind, Pace, Text
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.answers import Answers
from surfaces_core._engine.journal import Journal, key, ordinal
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.faulty_storage import Crash, FaultyStorage
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport

SETTINGS = HostSettings(on_interrupt="retry", shutdown_grace_s=0.05)
PACE = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=5)
HELD = ("whta", "a secret")
"""Questions that the agent works on until it is stopped."""
MAIN = ["You said what", "You said one", "You said two, mended", "You said four"]
THREAD = ["You said side"]
NEVER_ASKED = {"two", "three"}
"""What was changed before anybody could ask it."""


class Agent(ScriptedTransport):
    """Streams what it is asked back, and never ends what it is to hold; a repeat is harmless."""

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """Play."""
        self.requests.append(request)
        for word in ("You ", "said ", request.text):
            yield Text(word)
            await asyncio.sleep(0)
        if request.text in HELD:
            await asyncio.Event().wait()
        yield End(tokens=1)

    def repeatable(self, agent: object) -> bool:
        """It is."""
        return True


def heard(event_id: str, text: str = "", *, kind: Kind = Kind.MESSAGE, **more: Any) -> Inbound:
    """One thing that comes in."""
    address = Address(surface="memory", conversation="home")
    return Inbound(address=address, event_id=event_id, sender="@ann", sent_at=1.0, kind=kind, text=text, **more)


ALTOGETHER = (
    heard("$one", "one"),
    heard("$two", "two"),
    heard("$side", "side", thread="$root"),
    heard("$three", "three"),
    heard("$mended", "two, mended", kind=Kind.EDIT, target="$two"),
    heard("$gone", kind=Kind.REDACTION, target="$three"),
    heard("$liked", "👍", kind=Kind.REACTION, target="$shown"),
    heard("$four", "four"),
)
"""What comes in one batch."""


async def asked(bot: TestBot, text: str) -> None:
    """Wait until the agent has a question."""
    while not any(request.text == text for request in bot.transport.requests):  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)


async def said(bot: TestBot) -> None:
    """What people do, while whatever lives comes and goes."""
    incoming = bot.messenger.incoming
    for question, change in (
        (heard("$q", "whta"), heard("$e", "what", kind=Kind.EDIT, target="$q")),
        (heard("$s", "a secret"), heard("$r", kind=Kind.REDACTION, target="$s")),
    ):
        incoming.append(question)
        await bot.messenger.change()
        await asked(bot, question.text)
        incoming.append(change)
        await bot.messenger.change()
    incoming.extend(ALTOGETHER)
    await bot.messenger.change()


def settled(bot: TestBot) -> bool:
    """Everything that was said is taken in, answered and shown."""
    waiting = any(row.startswith((b"in\0", b"out\0")) for row in bot.disk.rows)
    return not waiting and int(bot.disk.rows.get(key("cursor", "memory"), b"0")) == len(bot.messenger.incoming)


async def life(bot: TestBot, actor: asyncio.Task[None], storage: FaultyStorage) -> None:
    """One life of the host, until everything is answered or it dies."""
    try:
        async with asyncio.timeout(10), bot.running(storage):
            while not (actor.done() and settled(bot)):  # noqa: ASYNC110 - the disk has no event for this
                await asyncio.sleep(0)
    except* Crash:
        assert storage.crashed


async def run(crash_at: int | None = None, side: Any = "before") -> tuple[TestBot, int]:
    """A life that ends at its n-th transaction, then a clean one; the world, and the first one's transactions."""
    bot = TestBot(transport=Agent(), settings=SETTINGS, pace=PACE)
    async with asyncio.TaskGroup() as group:
        actor = group.create_task(said(bot))
        first = FaultyStorage(MemoryStorage(disk=bot.disk), crash_at=crash_at, side=side)
        await life(bot, actor, first)
        if first.crashed:
            await life(bot, actor, FaultyStorage(MemoryStorage(disk=bot.disk)))
    return bot, first.writes


def judge(bot: TestBot) -> None:
    """Each answer once, whole, in order and where it belongs; nothing of what was changed before it was asked."""
    shown = list(bot.messenger.shown.values())
    assert all(message.final for message in shown), "a message stays half-finished"
    assert [message.text for message in shown if not message.thread and message.text != "Stopped."] == MAIN
    assert [message.text for message in shown if message.thread == "$root"] == THREAD
    assert [message.text for message in shown].count("Stopped.") <= 1
    questions = [request.text for request in bot.transport.requests]  # type: ignore[attr-defined]
    assert not NEVER_ASKED & set(questions)
    assert not [row for row in bot.disk.rows if row.startswith((b"dead\0", b"ask\0"))]


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_at_any_transaction_keeps_what_people_have_changed(side: str) -> None:
    """For every n: die there, live again, and people see what they meant in the end."""
    bot, count = await run()
    judge(bot)
    for number in range(1, count + 1):
        bot, _ = await run(number, side)
        try:
            judge(bot)
        except AssertionError as error:
            raise AssertionError(f"crash {side} transaction {number}: {error}") from error


# Planted bugs --------------------------------------------------------------------------------------


def edit_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit leaves the inbox before the question has its words."""
    original = Journal.keep

    async def keep(self: Journal, entry: Any, *, instead_of: Any = ()) -> Any:
        await self.write({key("in", ordinal(other.seq)): None for other in instead_of})
        return await original(self, entry)

    monkeypatch.setattr(Journal, "keep", keep)


def change_only_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is changed, but its row is not."""
    original = Journal.amend

    async def amend(self: Journal, amendment: Any, _amended: Any, changes: Any) -> None:
        await original(self, amendment, None, changes)

    monkeypatch.setattr(Journal, "amend", amend)


def thread_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to a thread is said beside it."""
    from dataclasses import replace

    original = Answers.part

    def part(self: Answers, *args: Any) -> Any:
        return replace(original(self, *args), thread="")

    monkeypatch.setattr(Answers, "part", part)


PLANTED: list[Callable[[pytest.MonkeyPatch], None]] = [edit_forgotten_first, change_only_in_memory, thread_forgotten]


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
async def test_the_sweep_catches_a_planted_bug(plant: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each small mutation fails at some point of the sweep."""
    _, count = await run()
    plant(monkeypatch)
    for number in range(1, count + 1):
        for side in ("before", "after"):
            try:
                async with asyncio.timeout(3):
                    bot, _ = await run(number, side)
                judge(bot)
            except (AssertionError, TimeoutError, BaseExceptionGroup):
                return
    raise AssertionError(f"{plant.__name__} went unnoticed")
