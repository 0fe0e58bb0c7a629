"""Owns the contract checks of transports: what a `Transport` promises, one function for each promise.

    @contract.transport                                     # of surfaces_core.testing
    def test_contract(…):
        return TransportBench(make=lambda: MyTransport(settings, context), …)

A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from unittest import SkipTest

from surfaces_core.contracts import Health, Section, Transport
from surfaces_core.errors import DriverError, Rejected, Unavailable
from surfaces_core.events import Agent, AgentEvent, AgentRequest, Confirm, End, Text
from surfaces_core.testing.checks.making import made_quietly

_MANY = 20
_WORD = "marzipan"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportBench:
    """What the checks work on."""

    make: Callable[[], Transport]
    """Gives an unopened driver."""
    agent: Agent
    """One that answers every text with some text."""
    unreachable: Agent | None = None
    """One that nobody can reach, at least not now; None where every agent is always there."""
    breaks_off: Agent | None = None
    """One that takes every text and then fails, before its answer or in it; None where none is at hand."""
    question: str = "hello"
    """One that the agent answers."""
    long_question: str = "count to 500"
    """One whose answer comes in several events, best over some time."""
    recall: str = ""
    """A question that makes the agent repeat what was said in its context; empty when it remembers nothing."""
    forgets: bool = False
    """It is the transport itself that remembers: what `recall` tells is gone once a context was forgotten."""
    asks: str = ""
    """A question at which the agent asks for leave and answers then; empty when it never does."""
    patience_s: float = 30.0
    """How long one check may take before the driver is said to hang."""


TransportCheck = Callable[[TransportBench], Awaitable[None]]

_turns = count(1)


async def check_made_quietly(bench: TransportBench) -> None:
    """Making one touches nothing outside: its block is its lifetime."""
    made_quietly(bench.make)
    made = bench.make()
    made.AgentSettings.model_validate(dict(bench.agent.options))


async def check_answer(bench: TransportBench) -> None:
    """A turn gives text and ends with `End`."""
    async with _opened(bench) as transport:
        events = await _events(transport, _request(bench, "1"))
        _promise(bool(_text(events).strip()), "the texts of a turn must join to an answer")


async def check_turn_after_turn(bench: TransportBench) -> None:
    """A context takes one turn after the other."""
    async with _opened(bench) as transport:
        for _ in range(3):
            await _events(transport, _request(bench, "1"))


async def check_asked_at_once(bench: TransportBench) -> None:
    """Two turns of one context that are asked at once, as threads do, both get their answer."""
    async with _opened(bench) as transport:
        try:
            async with asyncio.TaskGroup() as group:
                turns = [group.create_task(_events(transport, _request(bench, "1"))) for _ in range(2)]
        except ExceptionGroup as errors:
            raise AssertionError(f"one turn must wait for the other: {errors.exceptions[0]!r}") from errors
        _promise(all(_text(turn.result()).strip() for turn in turns), "each of two turns must get its own answer")


async def check_unreachable(bench: TransportBench) -> None:
    """An agent that cannot be reached is `Unavailable` before any event, with a sentence for the person."""
    async with _opened(bench) as transport:
        request = _request(bench, "1", agent=_nobody(bench))
        for attempt in ("an agent that cannot be reached", "the second try"):
            failure = await _failure(transport, request)
            _promise(isinstance(failure, Unavailable), f"{attempt} must raise Unavailable, not {failure!r}")
            _promise(bool(failure and failure.public.strip()), "a failure must have a sentence for the person")
        await _events(transport, _request(bench, "1"))


async def check_breaks_off(bench: TransportBench) -> None:
    """An agent that fails once it has the question is `Rejected`, not `Unavailable`, with a sentence for people."""
    if bench.breaks_off is None:
        raise SkipTest("no agent that fails in the middle is at hand, says the bench")
    async with _opened(bench) as transport:
        failure: DriverError | None = None
        async with aclosing(_run(transport, _request(bench, "1", agent=bench.breaks_off))) as events:
            try:
                async for _ in events:
                    pass
            except DriverError as error:
                failure = error
        found = failure or "its end"
        _promise(isinstance(failure, Rejected), f"an answer that breaks off must raise Rejected, not {found!r}")
        _promise(bool(failure and failure.public.strip()), "a failure must have a sentence for the person")
        await _events(transport, _request(bench, "1"))


async def check_health(bench: TransportBench) -> None:
    """A look at an agent says what there is, raises nothing, and leaves the agent as it was."""
    async with _opened(bench) as transport:
        for _ in range(2):
            here = await _health(transport, bench.agent)
            _promise(here.reachable is not False, "an agent that answers must not be said to be unreachable")
            if bench.unreachable is not None:
                gone = await _health(transport, bench.unreachable)
                _promise(gone.reachable is not True, "an agent that nobody can reach must not be said to be reachable")
                named = gone.reachable is None or bool(gone.code)
                _promise(named, "check must name a code where an agent is not reachable")
        _promise(bool(_text(await _events(transport, _request(bench, "1")))), "a run must work after a check")


async def check_health_while_talking(bench: TransportBench) -> None:
    """A look at an agent harms no turn that runs, and a turn no look."""
    async with (
        _opened(bench) as transport,
        aclosing(_run(transport, _request(bench, "1", bench.long_question))) as turn,
    ):
        await anext(turn)
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(transport.check(bench.agent)) for _ in range(3)]
            group.create_task(_events(transport, _request(bench, "2")))
        for look in looks:
            _promise(
                look.result().reachable is not False, "an agent that is talking must not be said to be unreachable"
            )
        rest = [event async for event in turn]
        _promise(bool(rest) and isinstance(rest[-1], End), "a check must not end a turn that runs")


async def check_closed_early(bench: TransportBench) -> None:
    """A turn that is closed early is over: the next one in its context gets its own answer."""
    async with _opened(bench) as transport:
        for _ in range(3):
            async with aclosing(_run(transport, _request(bench, "1", bench.long_question))) as events:
                await anext(events)
        await _events(transport, _request(bench, "1"))


async def check_never_begun(bench: TransportBench) -> None:
    """A turn that is closed before its first event holds nothing."""
    async with _opened(bench) as transport:
        await _run(transport, _request(bench, "1")).aclose()
        await _events(transport, _request(bench, "1"))


async def check_cancelled(bench: TransportBench) -> None:
    """A turn that is cancelled while it waits lets the cancellation through and frees its context."""
    async with _opened(bench) as transport:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_events(transport, _request(bench, "1", bench.long_question)))
            await asyncio.sleep(0)
            running = task.cancel()
        _promise(task.cancelled() or not running, "cancelling a turn must not be swallowed")
        await _events(transport, _request(bench, "1"))


async def check_memory(bench: TransportBench) -> None:
    """What is said in one context is not known in another."""
    if not bench.recall:
        raise SkipTest("this agent remembers nothing, says the bench")
    async with _opened(bench) as transport:
        await _events(transport, _request(bench, "1", _WORD))
        other = _text(await _events(transport, _request(bench, "2", bench.recall)))
        _promise(_WORD not in other, "a context must not know what was said in another")
        same = _text(await _events(transport, _request(bench, "1", bench.recall)))
        _promise(_WORD in same, "a context must know what was said in it")


async def check_many(bench: TransportBench) -> None:
    """Many contexts talk side by side, also while one of them stands still."""
    async with _opened(bench) as transport, aclosing(_run(transport, _request(bench, "0"))) as still:
        await anext(still)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, _MANY + 1):
                    group.create_task(_events(transport, _request(bench, str(number))))
        except ExceptionGroup as errors:
            raise AssertionError(f"turns must not harm each other: {errors.exceptions[0]}") from errors


async def check_forget(bench: TransportBench) -> None:
    """A context may be forgotten, also one that never was, and be used again; what a transport keeps of it is gone."""
    async with _opened(bench) as transport:
        await transport.forget(bench.agent, "1")
        await _events(transport, _request(bench, "1", _WORD))
        await transport.forget(bench.agent, "1")
        await transport.forget(bench.agent, "1")
        text = _text(await _events(transport, _request(bench, "1", bench.recall or bench.question)))
        _promise(not bench.forgets or _WORD not in text, "a context that was forgotten must not be known any more")


async def check_rest(bench: TransportBench) -> None:
    """A context that rested, as one does whose conversation is put away, goes on where it was."""
    async with _opened(bench) as transport:
        await _events(transport, _request(bench, "1", _WORD))
        for _ in range(2):
            await transport.rest(bench.agent, "1")
        await transport.rest(bench.agent, "never-was")
        text = _text(await _events(transport, _request(bench, "1", bench.recall)))
        _promise(not bench.recall or _WORD in text, "a context must know after a rest what was said in it before")


async def check_confirm(bench: TransportBench) -> None:
    """An agent that asks for leave hears the answer, yes or no, and its turn goes on to its end."""
    if not bench.asks:
        raise SkipTest("this agent asks nothing, says the bench")
    async with _opened(bench) as transport:
        for approved in (True, False):
            request = _request(bench, "1", bench.asks)
            asked: list[Confirm] = []
            last: object = None
            async with aclosing(_run(transport, request)) as events:
                async for last in events:
                    if isinstance(last, Confirm):
                        asked.append(last)
                        await transport.answer(request, last.id, approved)
            _promise(bool(asked) and bool(asked[0].id), "an agent that asks must give a Confirm with an id")
            _promise(isinstance(last, End), "a turn whose question was answered must go on to its End")


async def check_describe(bench: TransportBench) -> None:
    """What an agent publishes of itself is sections, each with a title; one that tells nothing gives none."""
    async with _opened(bench) as transport:
        with suppress(DriverError):  # it may be away
            for section in await transport.describe(bench.agent):
                _promise(isinstance(section, Section), f"describe must give Sections, not {section!r}")
                _promise(bool(section.title.strip()), "a section must have a title")
        count: object = transport.history(bench.agent)
        _promise(type(count) is int and count >= 0, f"history must say how many messages, not {count!r}")


async def check_answer_to_nothing(bench: TransportBench) -> None:
    """An answer to a question that nobody asked does no harm."""
    async with _opened(bench) as transport:
        request = _request(bench, "1")
        with suppress(DriverError):  # saying so is fine
            await transport.answer(request, "nobody-asked", approved=True)
        await _events(transport, request)


async def check_left_in_a_turn(bench: TransportBench) -> None:
    """Leaving the block while a turn runs ends that turn: with its `End` or `Rejected`."""
    async with _opened(bench) as transport:
        events = _run(transport, _request(bench, "1", bench.long_question))
        await anext(events)
    async with _patience(bench), aclosing(events):
        try:
            last = [event async for event in events][-1:]
        except Rejected:
            return
    _promise(isinstance(last[0] if last else None, End), "a turn that outlives its driver must end or be Rejected")


async def check_opened_again(bench: TransportBench) -> None:
    """A driver that was left can be made anew and works."""
    for _ in range(2):
        async with _opened(bench) as transport:
            await _events(transport, _request(bench, "1"))


async def check_repeatable(bench: TransportBench) -> None:
    """`repeatable` answers yes or no, and where it says yes the same turn may be run again."""
    async with _opened(bench) as transport:
        answer = transport.repeatable(bench.agent)
        _promise(isinstance(answer, bool), f"repeatable must say True or False, not {answer!r}")
        if answer:
            request = _request(bench, "1")
            first = _text(await _events(transport, request))
            _promise(_text(await _events(transport, request)) == first, "a repeated turn must get the same answer")


TRANSPORT_CHECKS: Sequence[TransportCheck] = (
    check_made_quietly,
    check_answer,
    check_turn_after_turn,
    check_asked_at_once,
    check_unreachable,
    check_breaks_off,
    check_health,
    check_health_while_talking,
    check_closed_early,
    check_never_begun,
    check_cancelled,
    check_memory,
    check_many,
    check_forget,
    check_rest,
    check_confirm,
    check_describe,
    check_answer_to_nothing,
    check_left_in_a_turn,
    check_opened_again,
    check_repeatable,
)
"""All of them; a transport keeps its contract when none raises."""


def _promise(kept: bool, sentence: str) -> None:
    if not kept:  # an assert statement would be gone under python -O
        raise AssertionError(sentence)


def _nobody(bench: TransportBench) -> Agent:
    if bench.unreachable is None:
        raise SkipTest("every agent is always there, says the bench")
    return bench.unreachable


async def _health(transport: Transport, agent: Agent) -> Health:
    found: object = await transport.check(agent)  # whatever the types promise
    _promise(isinstance(found, Health), "check must give a Health")
    return cast(Health, found)


@asynccontextmanager
async def _patience(bench: TransportBench) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(bench.patience_s):
            yield
    except TimeoutError:
        raise AssertionError(f"a driver must not hang; this took more than {bench.patience_s} s") from None


@asynccontextmanager
async def _opened(bench: TransportBench) -> AsyncIterator[Transport]:
    async with _patience(bench), bench.make() as transport:
        yield transport


def _request(bench: TransportBench, context: str, text: str = "", agent: Agent | None = None) -> AgentRequest:
    turn = f"check-{next(_turns)}"
    return AgentRequest(turn=turn, agent=agent or bench.agent, context=context, text=text or bench.question)


def _run(transport: Transport, request: AgentRequest) -> Any:
    """The events of a turn; drivers give async generators, which is what can be closed early."""
    events = transport.run(request)
    _promise(hasattr(events, "aclose"), "run must give an async generator, so that it can be closed early")
    return events


async def _events(transport: Transport, request: AgentRequest) -> list[AgentEvent]:
    """A whole turn that must go well."""
    async with aclosing(_run(transport, request)) as events:
        seen = [event async for event in events]
    strange = [event for event in seen if not isinstance(event, AgentEvent)]
    _promise(not strange, f"run must yield nothing but AgentEvents, like Text, not {strange[:1]}")
    ends = [index for index, event in enumerate(seen) if isinstance(event, End)]
    _promise(bool(ends), "a turn that went well must end with End")
    _promise(ends == [len(seen) - 1], "End must be the last event, and the only one of its kind")
    return seen


async def _failure(transport: Transport, request: AgentRequest) -> DriverError | None:
    """What a turn failed with; none of it may have been passed on."""
    async with aclosing(_run(transport, request)) as events:
        try:
            async for event in events:
                raise AssertionError(f"nothing may come from an agent that cannot be reached, not {event!r}")
        except DriverError as error:
            return error
    return None


def _text(events: Sequence[AgentEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))
