"""What happens in the moment in which a try is put off, and to those who wait beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from surfaces_core import Draft, End, Kind, Opening, Pace, Rejected, Text, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.gate import Gate
from surfaces_core._operating.requests import Request, answer
from surfaces_core.events import Address, AgentRequest
from surfaces_core.testing import virtual_time
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step


class Agent(ScriptedTransport):
    """One that cannot be reached until it is said to be up."""

    def __init__(self) -> None:
        super().__init__(script=self._say)
        self.up = False

    def _say(self, request: AgentRequest) -> Iterable[Step]:
        if request.text == "hang":
            return [asyncio.Event()]
        return [Text("the answer"), End()] if self.up else [Unavailable("down")]


def now() -> float:
    """The virtual clock, far from zero."""
    return 1e9 + asyncio.get_running_loop().time()


def test_letters_of_one_turn_come_back_beside_each_other() -> None:
    """A question that was given up, and the refused line that said so, are retried under names of their own."""
    agent = Agent()

    async def main() -> list[str]:
        bot = TestBot(transport=agent, settings=HostSettings(max_tries=1), now=now)
        async with bot.running():
            bot.messenger.faults.append(Rejected("no", public="no"))
            await bot.push("question")
            await asyncio.sleep(30)
            agent.up = True
            assert len([line async for line in answer(bot.engine.operations.asked, Request(do="retry"))]) == 3
            await asyncio.sleep(30)
        return sorted(shown.text for shown in bot.messenger.shown.values())

    texts = virtual_time.run(main())
    assert len(texts) == 2
    assert texts[1] == "the answer"


def test_a_stop_while_a_try_is_put_off_stops() -> None:
    """Though there is nothing to cancel at that moment, the question is not asked again."""
    agent = Agent()

    async def main() -> None:
        bot = TestBot(transport=agent, now=now, pace=Pace(budget=5))
        async with bot.running():
            show, showing = bot.surface.show, asyncio.Event()

            async def slow(draft: Draft) -> None:
                if draft.status:
                    showing.set()
                    await asyncio.sleep(3)
                await show(draft)

            bot.surface.show = slow  # type: ignore[method-assign]
            await bot.push("question")
            await showing.wait()
            tries, agent.up = len(agent.requests), True
            await bot.push("!stop")
            await asyncio.sleep(100)
            assert len(agent.requests) == tries
            assert "the answer" not in [shown.text for shown in bot.messenger.shown.values()]

    virtual_time.run(main())


def test_a_host_that_ends_while_a_try_is_put_off_interrupted_nothing() -> None:
    """The agent has seen nothing of the question, so the next life asks it as if nothing had been."""
    agent = Agent()

    async def main() -> str:
        bot = TestBot(transport=agent, settings=HostSettings(shutdown_grace_s=0), now=now)
        async with bot.running():
            postpone, begun = bot.engine.journal.postpone, asyncio.Event()

            async def slow(*arguments: object) -> object:
                begun.set()
                await asyncio.sleep(0.5)
                return await postpone(*arguments)  # type: ignore[arg-type]

            bot.engine.journal.postpone = slow  # type: ignore[method-assign,assignment]
            await bot.push("question")
            await begun.wait()
        agent.up = True
        async with bot.running():
            return await bot.pop(timeout_s=100.0)

    assert virtual_time.run(main()) == "the answer"


def test_a_stopped_question_does_not_bring_an_agent_back() -> None:
    """Only what the agent says shows that it is there."""
    agent = Agent()

    async def main() -> None:
        bot = TestBot(transport=agent, now=now)
        async with bot.running():
            await bot.push("hang", conversation="hanging")
            await asyncio.sleep(1)
            for number in range(20):
                await bot.push("question", conversation=f"c{number}")
            await asyncio.sleep(6)
            tries = len(agent.requests)
            await bot.push("!stop", conversation="hanging")
            await asyncio.sleep(0.2)
            assert list(bot.engine.peers.down) == ["agent-0"]
            assert len(agent.requests) - tries <= 1

    virtual_time.run(main())


def test_what_one_is_told_to_wait_is_not_everybodys() -> None:
    """A long wait that a messenger names for one conversation holds up no other."""

    async def main() -> float:
        loop, gate = asyncio.get_running_loop(), Gate()
        gate.failed("a", loop.time(), Unavailable("limited", retry_after=600.0))
        gate.failed("b", loop.time(), Unavailable("reset"))
        began = loop.time()
        await gate.enter()
        return loop.time() - began

    assert virtual_time.run(main()) <= 10.0


def test_a_success_ends_every_wait() -> None:
    """What was asked for before it does not count against those who fail later."""

    async def main() -> float:
        loop, gate = asyncio.get_running_loop(), Gate()
        gate.failed("a", loop.time(), Unavailable("limited", retry_after=600.0))
        gate.succeeded()
        await asyncio.sleep(5)
        gate.failed("c", loop.time(), Unavailable("reset"))
        gate.failed("d", loop.time(), Unavailable("reset"))
        return gate.ask()

    assert virtual_time.run(main()) <= 2.0


def test_what_failed_before_the_last_success_is_no_news() -> None:
    """Failures that arrive late, behind a success, tell of a time that is over: nobody goes away again for them."""

    async def main() -> None:
        loop, gate = asyncio.get_running_loop(), Gate()
        began = loop.time()
        assert not gate.failed("a", began, Unavailable("reset"))
        assert gate.failed("b", began, Unavailable("reset"))
        await asyncio.sleep(1)
        assert gate.succeeded()
        assert not any(gate.failed(who, began, Unavailable("reset")) for who in "cde")
        assert not gate.away
        assert gate.trouble is None

    virtual_time.run(main())


def test_a_conversation_that_is_refused_leaves_nothing_behind() -> None:
    """Its opening goes with the entry that asked for it."""

    async def main() -> list[bytes]:
        bot = TestBot(rooms=True, now=now)
        async with bot.running():
            assert bot.surface.conversations is not None

            async def refuse(opening: Opening) -> Address:
                raise Rejected("no more rooms", public="No more rooms.")

            bot.surface.conversations.open = refuse  # type: ignore[method-assign]
            for number in range(3):
                await bot.messenger.say(conversation=f"dm{number}", kind=Kind.START)
                await asyncio.sleep(2)
        return [row for row in bot.disk.rows if row.startswith(b"opening\0")]

    assert virtual_time.run(main()) == []
