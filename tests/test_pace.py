"""What happens over minutes and hours, on a virtual clock: back-off, budgets, typing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest

from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    Draft,
    End,
    Health,
    Outbound,
    Pace,
    Receipt,
    Text,
    Unavailable,
)
from surfaces_core.testing import virtual_time
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_surface import MemorySurface
from surfaces_core.testing.scripted_transport import ScriptedTransport

DOWN_S = 120.0


def now() -> float:
    """The virtual clock."""
    return asyncio.get_running_loop().time()


def test_a_messenger_that_is_away_is_spared_and_found_again_soon() -> None:
    """However many conversations wait, it gets two requests a second at most, and all within ten seconds of its end."""
    tries: list[float] = []

    async def main() -> float:
        bot = TestBot(now=now)
        async with bot.running():
            send = bot.surface.send

            async def failing(message: Outbound) -> Receipt:
                if now() < DOWN_S:
                    tries.append(now())
                    raise Unavailable("away")
                return await send(message)

            bot.surface.send = failing  # type: ignore[method-assign]
            for number in range(100):
                await bot.push("hello", conversation=f"c{number}", sender=f"@p{number}")
            await bot.messenger.until(lambda: len(bot.messenger.shown) == 100, timeout_s=None)
            return now()

    recovered = virtual_time.run(main())
    # those under way when it went away are not counted against it
    late = [moment for moment in tries if moment > 0.0]
    assert len(late) / DOWN_S <= 2.0
    assert len(late) > 5
    assert recovered - DOWN_S <= 10.0


class Down(ScriptedTransport):
    """An agent that cannot be reached for a while, and counts who tries."""

    def __init__(self, until: float, *, looks: bool) -> None:
        super().__init__()
        self.until = until
        self.looks = looks
        self.tries: list[float] = []

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        if now() < self.until:
            self.tries.append(now())
            raise Unavailable("refused", code="AGENT_UNREACHABLE")
        async for event in super().run(request):
            yield event

    async def check(self, agent: Agent) -> Health:
        if not self.looks:
            return Health(reachable=None)
        if now() < self.until:
            self.tries.append(now())
        return Health(reachable=now() >= self.until)


@pytest.mark.parametrize("many", [1, 100])
def test_an_agent_that_is_away_is_spared_and_found_again_soon(many: int) -> None:
    """However many conversations wait, it gets two tries a second at most, and all are answered within ten seconds."""
    agent = Down(30.0, looks=True)

    async def main() -> float:
        bot = TestBot(now=now, transport=agent)
        async with bot.running():
            for number in range(many):
                await bot.push("hello", conversation=f"c{number}", sender=f"@p{number}")
            await bot.messenger.until(lambda: len(bot.messenger.shown) == many, timeout_s=None)
            return now()

    recovered = virtual_time.run(main())
    late = [moment for moment in agent.tries if moment > 0.0]
    assert all(sum(second <= moment < second + 1 for moment in late) <= 2 for second in range(30))
    assert recovered - agent.until <= 10.0


def test_each_message_has_its_tries_however_many_wait() -> None:
    """An agent that stays away costs every message its eight tries, no more, and then that is said once."""
    agent = Down(float("inf"), looks=False)

    async def main() -> None:
        bot = TestBot(now=now, transport=agent)
        async with bot.running():
            for number in range(20):
                await bot.push("hello", conversation=f"c{number}", sender=f"@p{number}")
            await bot.messenger.until(lambda: len(bot.messenger.shown) == 20, timeout_s=None)

    virtual_time.run(main())
    assert len(agent.tries) == 20 * 8


def test_a_wall_clock_that_jumps_back_holds_nothing_up() -> None:
    """Waits are measured on the clock that does not jump."""
    agent = Down(10.0, looks=False)

    async def main() -> float:
        bot = TestBot(now=lambda: now() - (86400.0 if now() > 1.0 else 0.0), transport=agent)
        async with bot.running():
            await bot.push("hello")
            await bot.messenger.until(lambda: len(bot.messenger.shown) == 1, timeout_s=None)
            return now()

    assert virtual_time.run(main()) < 200.0


def test_an_hour_of_streaming_costs_its_budget_and_keeps_typing() -> None:
    """Drafts come slower and slower and end at the budget; typing is refreshed all the while."""
    drafts: list[tuple[float, Draft]] = []

    class Chatty(ScriptedTransport):
        async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
            for number in range(3600):
                await asyncio.sleep(1)
                yield Text(f"{number} ")
            yield End()

    async def main() -> None:
        bot = TestBot(transport=Chatty(), pace=Pace(budget=20), now=now)
        async with bot.running():
            show = bot.surface.show

            async def noted(draft: Draft) -> None:
                drafts.append((now(), draft))
                await show(draft)

            bot.surface.show = noted  # type: ignore[method-assign]
            await bot.push("go")
            await bot.pop(timeout_s=4000)

    virtual_time.run(main())
    texts = [moment for moment, draft in drafts if draft.version]
    gaps = [later - earlier for earlier, later in pairwise(texts)]
    assert len(texts) == 20
    assert gaps == sorted(gaps)
    assert texts[0] >= 1.0
    every = [moment for moment, _ in drafts]
    assert max(later - earlier for earlier, later in pairwise(every)) <= 21.0
    assert drafts[-1][1].done


def test_an_unreachable_agent_is_given_up_within_its_tries() -> None:
    """Eight tries with doubling waits take four minutes at the most; the person sees that it takes longer."""
    seen: list[str] = []

    async def main() -> float:
        transport = ScriptedTransport.answering(lambda _request: [Unavailable("refused")])
        bot = TestBot(transport=transport, pace=Pace(), now=now)
        async with bot.running():
            await bot.push("hello")
            await bot.messenger.until(lambda: len(bot.messenger.shown) == 1, timeout_s=None)
            seen.extend(bot.messenger.texts())
            await bot.pop(timeout_s=1000)
            seen.extend(bot.messenger.texts())
            assert len(transport.requests) == 8
            return now()

    assert virtual_time.run(main()) <= 1 + 2 + 4 + 8 + 16 + 32 + 60
    assert seen == [
        "This takes longer than usual: something I need does not answer. I keep trying.",
        "I tried several times and could not get an answer. Please ask again later.",
    ]


def test_a_surface_that_fails_at_start_is_started_again() -> None:
    """`Unavailable` from `run` means later, with a growing wait, until it works."""
    starts: list[float] = []

    async def main() -> None:
        bot = TestBot(now=now)
        run = MemorySurface.run

        async def shaky(self: MemorySurface, intake: object) -> None:
            starts.append(now())
            if len(starts) < 5:
                raise Unavailable("no homeserver")
            await run(self, intake)  # type: ignore[arg-type]

        bot.build()
        type(bot.surface).run = shaky  # type: ignore[method-assign]
        try:
            async with bot.running():
                await bot.push("hello")
                assert await bot.pop() == "hello"
        finally:
            type(bot.surface).run = run  # type: ignore[method-assign]

    virtual_time.run(main())
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert len(waits) == 4
    assert all(0.5 <= wait <= 9 for wait in waits)
