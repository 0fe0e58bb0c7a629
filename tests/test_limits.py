"""Limits for each person: what is too much is declined or waits, and nothing is lost without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from surfaces_core import AgentEvent, AgentRequest, End, Text
from surfaces_core._config.settings import HostSettings, LimitSettings
from surfaces_core._engine import limits
from surfaces_core._engine.journal import DEAD
from surfaces_core._engine.limits import Limits
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_surface import MemoryMessenger
from surfaces_core.testing.scripted_transport import ScriptedTransport

NOW = 1_000_000.0


async def until(condition: Callable[[], bool]) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


def limited(**settings: int) -> HostSettings:
    """A host with limits and one operator."""
    return HostSettings(limits=LimitSettings(**settings), operators=("@ops",), shutdown_grace_s=0.05)


class Holding(ScriptedTransport):
    """An agent that holds every question until the test lets it go, and counts how many it has at once."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.running = self.most = 0

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """Hold it."""
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1
        yield Text(request.text)
        yield End()


def reasons(bot: TestBot) -> list[str]:
    """Why dead letters died."""
    return [DEAD.load(value).reason for row, value in bot.disk.rows.items() if row.startswith(b"dead\0")]


async def test_who_writes_too_fast_is_told_once_when_to_try_again() -> None:
    """What is declined is kept with its reason; others, operators and urgent commands are not concerned."""
    bot = TestBot(settings=limited(messages_per_minute=2), now=lambda: NOW)
    async with bot.running():
        for number in range(5):
            await bot.messenger.say(f"{number}", sent_at=NOW - 10)
        await bot.messenger.say("!yes", sent_at=NOW)
        texts = await bot.messenger.until_final(4)
        for sender in ("@ops", "@bob"):
            for number in range(3 if sender == "@ops" else 2):
                await bot.messenger.say(f"{number}", sent_at=NOW, sender=sender, conversation=sender)
            await bot.messenger.until_final(3 if sender == "@ops" else 2, sender)
        await until(lambda: len(reasons(bot)) == 3)
    assert sorted(texts) == sorted(
        [
            "0",
            "1",
            "There is no question waiting for an answer.",
            "You write faster than I may answer, so I did not take this message. Please send it again in 50 seconds.",
        ]
    )
    assert reasons(bot) == ["TOO_FAST"] * 3


async def test_what_was_said_over_an_hour_and_is_read_at_once_is_no_burst() -> None:
    """Catching up counts by when people wrote."""
    bot = TestBot(settings=limited(messages_per_minute=2), now=lambda: NOW)
    for number in range(20):
        await bot.messenger.say(f"{number}", sent_at=NOW - 3600 + number * 60)
    async with bot.running():
        assert await bot.messenger.until_final(20) == [str(number) for number in range(20)]


async def test_dates_that_are_made_up_do_not_help() -> None:
    """What claims to be from before the one before it, or from tomorrow, was sent when that came, or now."""
    told = Limits(limited(messages_per_minute=2), lambda: NOW, lambda _lane: None)
    messenger = MemoryMessenger()
    claims = [NOW - 5, NOW - 5000, NOW - 3, NOW + 5000, NOW + 9000]
    said = [await messenger.say("x", sent_at=claim) for claim in claims]
    assert [told.admit(message) for message in said] == ["", "", "TOO_FAST", "TOO_FAST", "TOO_FAST"]


async def test_turns_over_the_limit_wait_for_the_others_of_their_person() -> None:
    """Nobody is declined, nobody else waits, and all are answered."""
    agent = Holding()
    bot = TestBot(transport=agent, settings=limited(concurrent_turns=2))
    async with bot.running():
        for number in range(6):
            await bot.messenger.say("mine", conversation=f"c{number}")
        await until(lambda: agent.running == 2)
        await bot.messenger.say("other", conversation="other", sender="@bob")
        await until(lambda: agent.running == 3)
        assert [request.text for request in agent.requests] == ["mine", "mine", "other"]
        agent.gate.set()
        await bot.messenger.until(lambda: len(bot.messenger.shown) == 7)
    assert agent.most == 3


async def test_what_waits_in_all_conversations_of_a_person_is_bounded() -> None:
    """The line is said once, and when the others are answered there is room again."""
    agent = Holding()
    bot = TestBot(transport=agent, settings=limited(queue_depth=3), now=lambda: NOW)
    async with bot.running():
        for number in range(6):
            await bot.messenger.say("mine", conversation=f"c{number}")
        await until(lambda: len(reasons(bot)) == 3)
        agent.gate.set()
        await bot.messenger.until(lambda: len(bot.messenger.shown) == 4)
        await bot.messenger.say("later", conversation="c5")
        await until(lambda: "later" in bot.messenger.texts("c5"))
    assert bot.messenger.texts("c3") == [
        "I still have 3 messages of yours to answer, so I did not take this one. Please send it again later."
    ]
    assert set(reasons(bot)) == {"TOO_MANY_WAITING"}


async def test_of_a_flood_only_the_first_messages_are_kept() -> None:
    """The store does not grow with what somebody pours in."""
    bot = TestBot(settings=limited(messages_per_minute=1), now=lambda: NOW)
    async with bot.running():
        for _ in range(limits.MOST_KEPT + 50):
            await bot.messenger.say("x", sent_at=NOW)
        await bot.messenger.say("!help", conversation="end", sender="@bob")
        await bot.pop("end")
        await until(lambda: not any(row.startswith(b"in\0") for row in bot.disk.rows))
    assert len(reasons(bot)) == limits.MOST_KEPT
