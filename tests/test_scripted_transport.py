"""The transport double obeys the contract that it stands in for, and the checks notice a transport that doesn't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import pytest

from surfaces_core import Agent, AgentEvent, AgentRequest, Confirm, End, Health, Progress, Rejected, Text, Unavailable
from surfaces_core.testing import contract
from surfaces_core.testing.checks.transport import TRANSPORT_CHECKS, TransportBench
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

AGENT = Agent(id="a", label="A", transport="scripted", workspace="/agents/a")
NOBODY = Agent(id="nobody", label="Nobody", transport="scripted", workspace="/agents/n")
BREAKING = Agent(id="breaking", label="Breaking", transport="scripted", workspace="/agents/b")


def request(text: str = "hello", context: str = "1") -> AgentRequest:
    return AgentRequest(turn="t1", agent=AGENT, context=context, text=text)


def remembering() -> Callable[[AgentRequest], Iterable[Step]]:
    said: dict[str, list[str]] = {}

    def script(request: AgentRequest) -> Iterable[Step]:
        if request.agent == NOBODY:
            return [Unavailable("nobody there")]
        if request.agent == BREAKING:
            return [Text("You s"), Rejected("broken off")]
        if request.text != "recall":
            said.setdefault(request.context, []).append(request.text)
        return [Text("You said: "), Text(" ".join(said.get(request.context, ["nothing"])))]

    return script


def bench(make: Callable[[], ScriptedTransport]) -> TransportBench:
    return TransportBench(
        make=make, agent=AGENT, unreachable=NOBODY, breaks_off=BREAKING, recall="recall", patience_s=0.2
    )


@contract.transport
def test_contract() -> TransportBench:
    """It keeps every promise of a transport."""
    return bench(lambda: ScriptedTransport.answering(remembering()))


class Faulty(ScriptedTransport):
    """A transport with one planted fault; overridden below."""

    def __init__(self) -> None:
        super().__init__(script=remembering())


class NoEnd(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in super().run(request):
            if not isinstance(event, End):
                yield event


class TwoEnds(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in super().run(request):
            yield event
        yield End()


class NoAnswer(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in super().run(request):
            if not isinstance(event, Text):
                yield event


class TalksBeforeFailing(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        yield Progress(text="connecting")
        async for event in super().run(request):
            yield event


class GivesUp(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        if request.agent == NOBODY:
            raise Rejected("nobody there")
        async for event in super().run(request):
            yield event


class TriesAgainTooLate(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        try:
            async for event in super().run(request):
                yield event
        except Rejected as error:
            raise Unavailable(str(error)) from error


class TakesABreakForTheEnd(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        try:
            async for event in super().run(request):
                yield event
        except Rejected:
            yield End()


class Strange(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[Any, None]:
        yield "hello"


class RefusesTheSecond(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.busy = False

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        if self.busy:
            raise Rejected("busy")
        self.busy = True
        try:
            async for event in super().run(request):
                await asyncio.sleep(0)
                yield event
        finally:
            self.busy = False


class OneMemory(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        shared = AgentRequest(turn=request.turn, agent=request.agent, context="1", text=request.text)
        async for event in super().run(shared):
            yield event


class Forgetful(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        self.script = remembering()
        async for event in super().run(request):
            yield event


class KeepsTheLock(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        await self.lock.acquire()
        async for event in super().run(request):
            yield event
        self.lock.release()


class OneAtATime(KeepsTheLock):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async with self.lock:
            async for event in ScriptedTransport.run(self, request):
                yield event


class SwallowsCancelling(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        async for event in super().run(request):
            yield event


class ForgetsForGood(Faulty):
    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        if self.forgotten:
            raise Rejected("forgotten")
        async for event in super().run(request):
            yield event


class FaultyError(AssertionError):
    """Stands for a crash."""


class CrashesOnAnswer(Faulty):
    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        raise FaultyError


class HangsWhenLeft(Faulty):
    left = False

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in super().run(request):
            if self.left:
                await asyncio.Event().wait()
            yield event

    async def __aexit__(self, *error: object) -> None:
        self.left = True


class ChecksByRaising(Faulty):
    async def check(self, agent: Agent) -> Health:
        if agent == NOBODY:
            raise FaultyError
        return Health(reachable=True)


class SeesNobodyAsThere(Faulty):
    async def check(self, agent: Agent) -> Health:
        return Health(reachable=True)


class SeesNothing(Faulty):
    async def check(self, agent: Agent) -> Health:
        return Health(reachable=False, code="BLIND")


class SaysYesOrNo(Faulty):
    async def check(self, agent: Agent) -> Any:
        return agent != NOBODY


class SaysNotWhy(Faulty):
    async def check(self, agent: Agent) -> Health:
        return Health(reachable=agent != NOBODY)


class ForgetsWhenLooking(Faulty):
    async def check(self, agent: Agent) -> Health:
        self.script = lambda request: []
        return Health(reachable=None)


class EndsTurnsWhenLooking(Faulty):
    looked = False

    async def check(self, agent: Agent) -> Health:
        self.looked = True
        return Health(reachable=None)

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        async for event in super().run(request):
            yield event
            if self.looked and request.context == "1":
                return


class SaysMaybe(Faulty):
    def repeatable(self, agent: Agent) -> Any:
        return None


class RepeatsOtherwise(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.takes_repeats = True


FAULTS = {
    NoEnd: "check_answer",
    TwoEnds: "check_answer",
    NoAnswer: "check_answer",
    TalksBeforeFailing: "check_unreachable",
    GivesUp: "check_unreachable",
    OneMemory: "check_memory",
    Forgetful: "check_memory",
    ChecksByRaising: "check_health",
    SeesNobodyAsThere: "check_health",
    SeesNothing: "check_health",
    SaysYesOrNo: "check_health",
    SaysNotWhy: "check_health",
    ForgetsWhenLooking: "check_health",
    EndsTurnsWhenLooking: "check_health_while_talking",
    KeepsTheLock: "check_closed_early",
    OneAtATime: "check_many",
    SwallowsCancelling: "check_cancelled",
    CrashesOnAnswer: "check_answer_to_nothing",
    TriesAgainTooLate: "check_breaks_off",
    TakesABreakForTheEnd: "check_breaks_off",
    Strange: "check_answer",
    RefusesTheSecond: "check_asked_at_once",
    HangsWhenLeft: "check_left_in_a_turn",
    SaysMaybe: "check_repeatable",
    RepeatsOtherwise: "check_repeatable",
}


@pytest.mark.parametrize(("fault", "name"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", value))
async def test_checks_notice(fault: type[Faulty], name: str):
    """Each planted fault breaks the check that is there for it."""
    check = next(check for check in TRANSPORT_CHECKS if check.__name__ == name)
    with pytest.raises(AssertionError):
        await check(bench(fault))


async def test_checks_notice_forgetting_for_good():
    """A context that cannot be used after it was forgotten fails its check."""
    check = next(check for check in TRANSPORT_CHECKS if check.__name__ == "check_forget")
    with pytest.raises(Rejected):
        await check(bench(ForgetsForGood))


async def test_echo():
    """Without a script it says what was asked, and records it."""
    async with ScriptedTransport() as transport:
        assert [Text("hello"), End()] == [event async for event in transport.run(request())]
    assert transport.requests == [request()]
    assert transport.stopped == []
    assert not transport.repeatable(AGENT)


async def test_failure_after_text():
    """What comes before a scripted failure stays said."""
    transport = ScriptedTransport.answering(lambda request: [Text("half"), Rejected("gone")], repeatable=True)
    events = transport.run(request())
    assert await anext(events) == Text("half")
    with pytest.raises(Rejected, match="gone"):
        await anext(events)
    assert transport.stopped == []
    assert transport.repeatable(AGENT)


async def test_gate():
    """A turn waits at a gate until the test opens it."""
    gate = asyncio.Event()
    transport = ScriptedTransport.answering(lambda request: [Text("a"), gate, Text("b")])
    seen: list[AgentEvent] = []

    async def listen() -> None:
        async for event in transport.run(request()):
            seen.append(event)  # noqa: PERF401 -- seen while it runs

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        await asyncio.sleep(0)
        assert seen == [Text("a")]
        gate.set()
    assert seen == [Text("a"), Text("b"), End()]


async def test_script_sees_answers():
    """A generator script can go on as the person decided."""
    transport = ScriptedTransport()

    def script(request: AgentRequest) -> Iterable[Step]:
        yield Confirm(id="q", text="May I?")
        yield Text("yes" if ("q", True) in transport.answers else "no")

    transport.script = script
    async with aclosing(transport.run(request())) as events:
        assert await anext(events) == Confirm(id="q", text="May I?")
        await transport.answer(request(), "q", True)
        assert [Text("yes"), End()] == [event async for event in events]


async def test_stopped_and_forgotten():
    """Turns that were closed early and contexts that were forgotten are recorded."""
    transport = ScriptedTransport()
    async with aclosing(transport.run(request())) as events:
        await anext(events)
    await transport.forget(AGENT, "1")
    assert transport.stopped == [request()]
    assert transport.forgotten == [("a", "1")]


async def test_health():
    """A look at an agent finds what the test chose, at first that there is nothing to tell; it is recorded."""
    transport = ScriptedTransport()
    assert await transport.check(AGENT) == Health(reachable=None)
    transport.health = lambda agent: Health(reachable=agent == AGENT, code="GONE")
    assert (await transport.check(AGENT)).reachable
    assert not (await transport.check(NOBODY)).reachable
    assert transport.checked == ["a", "a", "nobody"]
