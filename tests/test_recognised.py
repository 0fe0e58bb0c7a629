"""What the host tells a surface about when and for which device a key was used first, and what that saves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from surfaces_core import Address, Draft, End, Outbound, Pace, Receipt, Rejected, Text, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.journal import PARTS
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_surface import WINDOW_S, MemoryMessenger
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

EAGER = Pace(typing_after_s=0.0, first_s=0.0, first_chars=1, interval_s=0.0, budget=100)
HASTY = HostSettings(shutdown_grace_s=0.0, retry_base_s=0.001, retry_cap_s=0.002, on_interrupt="retry")


@dataclass
class Clock:
    """A wall clock that a test sets."""

    seconds: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


def later(messenger: MemoryMessenger, clock: Clock) -> None:
    """So much time passes that the messenger has forgotten every key."""
    clock.seconds += WINDOW_S + 1
    messenger.forget_keys()


def another_device(messenger: MemoryMessenger, clock: Clock) -> None:
    """The bot is logged in anew."""
    messenger.device = "device-2"


Forgetting = Callable[[MemoryMessenger, Clock], None]
FORGETTING = pytest.mark.parametrize("forgotten", [later, another_device], ids=["time", "device"])


def interrupted(clock: Clock) -> TestBot:
    """A host whose first life shows half an answer, and whose second one has the whole."""
    scripts: list[list[Step]] = [[Text("Half an"), asyncio.Event()], [Text("The whole"), Text(" answer."), End()]]
    transport = ScriptedTransport.answering(lambda _request: scripts.pop(0))
    return TestBot(transport=transport, pace=EAGER, settings=HASTY, now=clock)


async def half(bot: TestBot) -> None:
    """A life that ends while half an answer shows."""
    async with bot.running():
        await bot.push("go")
        await bot.messenger.until(lambda: bot.messenger.texts() == ["Half an"])


@FORGETTING
async def test_an_answer_whose_receipt_was_lost_shows_once(forgotten: Forgetting) -> None:
    """The next life sends it again, and the surface is told enough to look for it first."""
    clock = Clock()
    bot = TestBot(settings=HASTY, now=clock)
    bot.messenger.lost_answers.append(Unavailable("the connection broke"))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "hello"
    forgotten(bot.messenger, clock)
    async with bot.running():
        await bot.messenger.until(lambda: len(bot.surface.sent) == 1)
    assert bot.messenger.texts() == ["hello"]


@FORGETTING
async def test_a_draft_of_a_life_long_past_becomes_the_answer(forgotten: Forgetting) -> None:
    """What a turn showed before a crash is replaced, though its answer is stored only now."""
    clock = Clock()
    bot = interrupted(clock)
    await half(bot)
    forgotten(bot.messenger, clock)
    async with bot.running():
        assert await bot.pop() == "The whole answer."
    assert bot.messenger.texts() == ["The whole answer."]


@FORGETTING
async def test_a_line_about_waiting_becomes_the_answer(forgotten: Forgetting) -> None:
    """What the host itself showed while the agent was away is the turn's first draft, too."""
    clock, back = Clock(), False
    transport = ScriptedTransport.answering(
        lambda _request: [Text("There"), Text(" you are."), End()] if back else [Unavailable("away")]
    )
    bot = TestBot(transport=transport, pace=EAGER, settings=HASTY.model_copy(update={"max_tries": 1000}), now=clock)
    async with bot.running():
        await bot.push("go")
        await bot.messenger.until(lambda: len(bot.messenger.texts()) == 1)
    forgotten(bot.messenger, clock)
    back = True
    async with bot.running():
        assert await bot.pop() == "There you are."
    assert len(bot.messenger.shown) == 1


async def test_drafts_tell_since_when_they_may_show() -> None:
    """Each draft and the answer that follows name the moment before the first of them, in whatever life that was."""
    clock = Clock()
    bot = interrupted(clock)
    await half(bot)
    first = ("device-1", clock.seconds)
    later(bot.messenger, clock)
    another_device(bot.messenger, clock)
    seen: set[tuple[str, float]] = set()
    async with bot.running():
        show = bot.surface.show

        async def watched(draft: Draft) -> None:
            if draft.version:
                seen.add((draft.device, draft.first_at))
            await show(draft)

        bot.surface.show = watched  # type: ignore[method-assign]
        await bot.pop()
        (sent,) = bot.surface.sent
    assert seen <= {first}
    assert (sent.device, sent.frozen_at) == first


async def test_the_line_for_a_lost_part_has_a_time_of_its_own() -> None:
    """It is said under a key that nobody has used: when the lost part was stored has nothing to do with it."""
    clock = Clock()
    bot = TestBot(settings=HASTY, now=clock)
    async with bot.running():
        send = bot.surface.send

        async def late(message: Outbound) -> Receipt:
            if message.text != "hello":
                return await send(message)
            clock.seconds += WINDOW_S + 1
            raise Rejected("not any more")

        bot.surface.send = late  # type: ignore[method-assign]
        await bot.push("hello")
        assert await bot.pop() == "A part of this answer could not be shown here."
        (said,) = bot.surface.sent
    assert (said.device, said.frozen_at) == ("device-1", clock.seconds)


async def test_a_draft_that_cannot_be_replaced_is_followed_by_a_line() -> None:
    """Where neither the answer nor the line for it can take the place of a draft, the line is a message of its own."""
    bot = interrupted(Clock())
    await half(bot)
    async with bot.running():
        send = bot.surface.send

        async def refusing(message: Outbound) -> Receipt:
            if message.streamed:
                raise Rejected("nobody knows whether it shows", code="UNSURE")
            return await send(message)

        bot.surface.send = refusing  # type: ignore[method-assign]
        await bot.messenger.until(lambda: bot.messenger.texts()[-1] == "A part of this answer could not be shown here.")
        (letter,) = (await bot.engine.journal.scan("dead")).values()
    assert b"The whole answer." in letter


def test_rows_of_before_say_that_nothing_is_known() -> None:
    """A part that an earlier version stored has no device and no time, so a surface looks first."""
    bare = b'{"seq":1,"outbound":{"key":"k.0","turn":"k","part":0,"address":{"surface":"memory","conversation":"c"}}}'
    outbound = PARTS.load(bare).outbound
    assert outbound.address == Address(surface="memory", conversation="c")
    assert (outbound.device, outbound.frozen_at) == ("", 0.0)
