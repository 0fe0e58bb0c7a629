"""What people, other people and the operator see when an agent misbehaves: the real host, real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from proof.processes import Program
from surfaces_agent_api.reference import ReferenceAgent
from surfaces_core import Rejected, Text
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step
from surfaces_testing.agent import FAULTS, FakeAgent, busiest_second, lay_bad_files
from surfaces_testing.homeserver import FakeHomeserver
from tests.fault_house import WAITING, House, Person, Pulse, Seat

LOOP_S = 0.25
"""The most that a host's loop may do while somebody else waits."""
BACK_S = 10.0
"""How soon after the end of a fault all is well."""
INTERNALS = (
    "127.0.0.1",
    "10.0.0.7",
    "ws://",
    "http",
    "socket",
    "JSON",
    "AGENT_",
    "Error",
    "Traceback",
    "STATUS",
    "\x1b",
)

UNREACHABLE, NO_STATUS = "AGENT_UNREACHABLE", "AGENT_NO_STATUS"
LATER = {
    **dict.fromkeys({n for n, fault in FAULTS.items() if fault.stage == "upgrade"} - {"upgrade-deflate"}, UNREACHABLE),
    **dict.fromkeys(["no-status", "status-slow", "close-first", "cut-first"], NO_STATUS),
    **dict.fromkeys(["status-and-close", "status-and-fin"], UNREACHABLE),
}
"""What may be tried again: nothing was asked yet. By fault, the code in the log."""
HALF = "half an \n\n"
PROTOCOL = "_I couldn't understand the agent's answer. Ask again to retry._"
CUT = "_The answer was cut off. Ask again to retry._"
SILENT = "_The agent went silent, so I stopped waiting. Ask again to retry._"
NOT_SENT = "I can't send {}: {}."
SAID: Mapping[str, tuple[str, list[str]]] = {
    **dict.fromkeys(["text-first", "garbage-first", "binary-first"], ("AGENT_PROTOCOL", [PROTOCOL.strip("_")])),
    "error-first": ("AGENT_ERROR", ["I am full today."]),
    **dict.fromkeys(
        [
            "broken-json", "no-object", "no-type", "text-that-is-none", "binary", "oversized", "oversized-pieces",
            "promises-much", "bad-utf8", "reserved-bits", "bad-opcode", "lone-continuation", "deep-json", "huge-number",
            "nan", "compressed-bomb", "compressed-unasked", "upgrade-deflate", "close-1005",
        ],
        ("AGENT_PROTOCOL", [HALF + PROTOCOL]),
    ),
    **dict.fromkeys(["fin", "cut", "reset", "close-1000", "close-1012", "close-4000"], ("AGENT_CUT_OFF", [HALF + CUT])),
    **dict.fromkeys(["drop-at-once", "close-at-once"], ("AGENT_CUT_OFF", [CUT.strip("_")])),
    **dict.fromkeys(["silent", "frozen", "slow-frame", "pings"], ("AGENT_TIMEOUT", [HALF + SILENT])),
    "silent-at-once": ("AGENT_TIMEOUT", [SILENT.strip("_")]),
    "error": ("AGENT_ERROR", [HALF + "_My tools broke._"]),
    "error-unclean": ("AGENT_ERROR", ["Look at [31m this."]),
    **dict.fromkeys(
        ["second-end", "text-after-end", "duplicate-keys", "huge-fraction", "odd-tokens", "status-again"],
        ("", ["answer"]),
    ),
    "unknown-types": ("", ["half an answer"]),
    "no-text": ("", ["No answer came back."]),
    "lone-surrogates": ("", ["an\ufffdswer\ufffd"]),
    "bad-files": (
        "",
        [
            "answer",
            NOT_SENT.format("missing.txt", "there is no such file"),
            NOT_SENT.format("outside.txt", "it isn't in the agent's folder"),
            NOT_SENT.format("folder", "it isn't an ordinary file"),
            NOT_SENT.format("zero", "it isn't in the agent's folder"),
            NOT_SENT.format("pipe", "it isn't an ordinary file"),
            NOT_SENT.format("link.txt", "it is a link"),
            NOT_SENT.format("big.bin", "it is larger than 100 MB"),
        ],
    ),
}  # fmt: skip
"""What ends the turn, or is odd in it: the code in the log, and what the person sees."""
RESTING = [name for name, fault in FAULTS.items() if fault.stage == "rest"]


def figures(pulse: Pulse, waits: Sequence[float], backs: Mapping[str, float]) -> str:
    """What a run measured."""
    slowest = max(backs, key=lambda fault: backs[fault]) if backs else ""
    return (
        f"loop at most {pulse.busiest_s * 1000:.0f} ms ({pulse.slowest_s * 1000:.0f} by the wall) of {pulse.answers}, "
        f"memory +{pulse.grown_mb:.0f} MB, others' answers {statistics.median(waits) * 1000:.0f} ms, "
        f"at most {max(waits) * 1000:.0f} ms of {len(waits)}, back after {backs.get(slowest, 0):.1f} s ({slowest})"
    )


class World:
    """A host that lives, with one agent for each lane and two people at each; one of them has no luck."""

    def __init__(self, house: House, host: Program, agents: Mapping[str, FakeAgent]) -> None:
        self.house = house
        self.host = host
        self.agents = agents

    def victim(self, agent: str) -> Person:
        """Whose conversation the faults hit."""
        return self.house.people[f"{agent}-victim"]

    def neighbour(self, agent: str) -> Person:
        """Who talks to the same agent."""
        return self.house.people[f"{agent}-neighbour"]

    def codes(self, person: Person) -> list[str]:
        """The codes in the log of what went wrong with somebody's questions, oldest first."""
        turns = {shown.turn for shown in self.house.hs.shown(person.room) if shown.turn}
        return [line["code"] for line in logged(self.host) if line.get("turn_id") in turns and "code" in line]


def logged(host: Program) -> Iterator[dict[str, Any]]:
    """What a host logged."""
    for line in host.log().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def complaints(host: Program) -> list[dict[str, Any]]:
    """What stands in a log and must not, whatever an agent does."""
    return [line for line in logged(host) if line["level"] in ("error", "critical") or "bug" in line["event"]]


@asynccontextmanager
async def running(folder: Path, names: Sequence[str], **options: Any) -> AsyncIterator[World]:
    """A world with an agent of every name."""
    async with AsyncExitStack() as stack:
        homeserver = await stack.enter_async_context(FakeHomeserver())
        agents = {name: await stack.enter_async_context(FakeAgent()) for name in names}
        seats = [Seat(person=f"{name}-{who}", agent=name) for name in names for who in ("victim", "neighbour")]
        house = House(homeserver, folder, {name: agents[name].base_url for name in names}, seats, **options)
        host = await stack.enter_async_context(house.host())
        await host.ready()
        await house.enter()
        yield World(house, host, agents)
        assert complaints(host) == []


async def undisturbed(person: Person, over: asyncio.Event, waits: list[float]) -> None:
    """Talk to an agent that behaves, without a break, and get every answer in its order."""
    number = 0
    while not over.is_set():
        number += 1
        began = time.monotonic()
        assert await person.asks(f"fine {number}") == f"You said: fine {number}. (message {number} in this context)"
        waits.append(time.monotonic() - began)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await over.wait()


async def test_a_failure_in_a_turn_is_logged_with_its_code() -> None:
    """What ends an answer stands in the log, as what puts it off does."""
    script: list[Step] = [Text("half"), Rejected("the particulars", code="AGENT_CUT_OFF")]
    bot = TestBot(transport=ScriptedTransport.answering(lambda request: script))
    with capture_logs() as logs:
        async with bot.running():
            await bot.push("hello")
            await bot.pop()
    failed = [(line["code"], line["error"]) for line in logs if line["event"] == "turn.failed"]
    assert failed == [("AGENT_CUT_OFF", "the particulars")]


# The catalogue ------------------------------------------------------------------------------------

HEALTHY = "healthy"
LANES = [f"lane-{number}" for number in range(8)]
FLOODS = {"upgrade-headers", "upgrade-continues"}
"""They need a process of their own, see below."""
CATALOGUE = sorted({*LATER, *SAID, *RESTING, "refused"} - FLOODS)


class Lane:
    """Everything that goes wrong at one agent, one after the other."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.agent = world.agents[name]
        self.victim = world.victim(name)
        self.neighbour = world.neighbour(name)
        self.failures: dict[str, str] = {}
        """What was not as it should be, by fault."""
        self.backs: dict[str, float] = {}
        """Seconds from the end of a fault to the next answer."""

    async def play(self, faults: Sequence[str]) -> None:
        """Each of these."""
        await asyncio.to_thread(lay_bad_files, self.world.house.volume / self.agent_name)
        for fault in faults:
            try:
                await self.meet(fault)
            except (AssertionError, TimeoutError) as error:
                self.failures[fault] = f"{error!r}, sees {self.victim.shown[-2:]}"
                self.agent.faults.clear()
                await self.agent.accept()

    @property
    def agent_name(self) -> str:
        """As the registry has it."""
        return self.victim.name.removesuffix("-victim")

    async def meet(self, fault: str) -> None:
        """One fault, judged; then all is well again."""
        if fault in LATER or fault == "refused":
            await self.not_now(fault)
        elif fault in SAID:
            await self.said(fault)
        else:
            await self.resting(fault)
        began = time.monotonic()
        assert self.fine(await self.victim.asks(f"after {fault}", BACK_S), f"after {fault}")
        self.backs[fault] = max(self.backs.get(fault, 0.0), time.monotonic() - began)
        assert self.agent.record.texts(self.victim.context).count(f"in {fault}") <= 1

    def fine(self, answer: str, question: str) -> bool:
        """It is the whole answer to a question."""
        return answer.startswith(f"You said: {question}. (message ") and answer.endswith("in this context)")

    async def strike(self, fault: str) -> None:
        """Let it go wrong from now on, and ask."""
        if fault == "refused":
            await self.agent.refuse()
        else:
            self.agent.faults.always(fault, context=self.victim.context)
            if FAULTS[fault].stage in ("upgrade", "greet"):
                self.agent.cut(self.victim.context)
        self.victim.say(f"in {fault}")
        if fault != "refused":
            assert self.fine(await self.neighbour.asks(f"beside {fault}", BACK_S), f"beside {fault}")

    async def not_now(self, fault: str) -> None:
        """Nothing was asked: tried again by itself, the person is told when it lasts, then it is answered once."""
        before = len(self.victim.heard)
        await self.strike(fault)
        await self.world.house.hs.until(lambda: WAITING in self.victim.shown[-1], timeout=60)
        assert not any(word in self.victim.shown[-1] for word in INTERNALS)
        assert self.agent.record.texts(self.victim.context).count(f"in {fault}") == 0
        self.agent.faults.clear()
        await self.agent.accept()
        began = time.monotonic()
        said = (await self.victim.hears(before + 1, BACK_S))[before:]
        self.backs[fault] = time.monotonic() - began
        assert [self.fine(text, f"in {fault}") for text in said] == [True]
        assert set(self.world.codes(self.victim)[-2:]) == {LATER.get(fault, UNREACHABLE)}

    async def said(self, fault: str) -> None:
        """The turn ends, what came is kept, and a sentence says how to go on. It is not asked again by itself."""
        code, expected = SAID[fault]
        before, failed = len(self.victim.heard), len(self.world.codes(self.victim))
        await self.strike(fault)
        said = (await self.victim.hears(before + len(expected)))[before:]
        assert said == expected
        assert self.world.codes(self.victim)[failed:] == ([code] if code else [])
        self.agent.faults.clear()

    async def resting(self, fault: str) -> None:
        """The socket goes bad after a good answer; the next question doesn't suffer."""
        before = len(self.victim.heard)
        await self.strike(fault)
        said = (await self.victim.hears(before + 1))[before:]
        assert [self.fine(text, f"in {fault}") for text in said] == [True]
        self.agent.faults.clear()


@pytest.mark.slow
async def test_every_fault_of_an_agent_is_told_and_harms_nobody_else(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each row of the table, beside others at the same agent and at another, who notice nothing."""
    async with running(tmp_path, [HEALTHY, *LANES]) as world:
        lanes = [Lane(world, name) for name in LANES]
        over, waits = asyncio.Event(), list[float]()
        async with Pulse(world.host.pid, world.house.port) as pulse, asyncio.TaskGroup() as group:
            group.create_task(undisturbed(world.victim(HEALTHY), over, waits))
            async with asyncio.TaskGroup() as playing:
                for number, lane in enumerate(lanes):
                    playing.create_task(lane.play(CATALOGUE[number :: len(LANES)]))
            over.set()
        backs = {fault: back for lane in lanes for fault, back in lane.backs.items()}
        record_property("figures", figures(pulse, waits, backs))
        failures = {fault: failure for lane in lanes for fault, failure in lane.failures.items()}
        assert not failures, "\n".join(f"{fault}: {failure}" for fault, failure in failures.items())
        assert pulse.busiest_s <= LOOP_S
        assert pulse.grown_mb <= 100
        assert backs.keys() == set(CATALOGUE)


# Floods and bombs ---------------------------------------------------------------------------------

OVERTIME = "The answer took too long, so I stopped waiting. Ask again to retry."
FLOODED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ["tiny-chunks", "text-stream", "big-frames", "never-ending", "file-flood", "heavy-json", "progress-flood"],
        ("AGENT_OVERTIME", OVERTIME),
    ),
    **dict.fromkeys(["tool-flood", "empty-texts-flood"], ("AGENT_OVERTIME", OVERTIME)),
    **dict.fromkeys(
        ["ping-flood", "ping-flood-deaf", "pong-flood", "empty-pieces-flood", "unknown-flood"],
        ("AGENT_TIMEOUT", SILENT.strip("_")),
    ),
    "question-flood": ("", "Stopped."),
    "markdown": ("", ""),
    **dict.fromkeys(["upgrade-headers", "upgrade-continues"], (UNREACHABLE, "")),
}
"""What each comes to: the code in the log, and how it ends for the person."""
SCALED = {"idle_timeout_s": 4, "turn_timeout_s": 8}


class Double:
    """An agent in a process of its own: what it does at full speed slows nothing down but itself and the host."""

    def __init__(self, http: aiohttp.ClientSession, ready: Mapping[str, str]) -> None:
        self.base_url = ready["base_url"]
        self._http = http
        self._control = ready["control"]

    async def __call__(self, verb: str, **body: object) -> dict[str, Any]:
        async with self._http.post(f"{self._control}/{verb}", json=body) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())


@asynccontextmanager
async def double(folder: Path, *options: str) -> AsyncIterator[Double]:
    """A misbehaving agent as a process."""
    command = (sys.executable, "-m", "surfaces_testing.agent", *options)
    async with Program(command, log=folder / "double.log") as program, aiohttp.ClientSession() as http:
        yield Double(http, await program.ready())


async def flooded(person: Person, fault: str) -> str:
    """What a person sees in the end of an answer that floods; for one that is asked without end, who stops it."""
    before = len(person.heard)
    person.say(f"in {fault}")
    if fault == "question-flood":
        await person.hears(before + 1)
        person.say("!stop")
        await person.hs.until(lambda: any("Stopped." in text for text in person.heard), 60)
        return "Stopped."
    end = FLOODED[fault][1]
    try:
        await person.hs.until(lambda: any(end in text for text in person.heard[before:]), 60)
    except TimeoutError:
        raise AssertionError(f"{fault}: sees {[text[-100:] for text in person.shown[before:]]}") from None
    return end


async def answered(person: Person, question: str) -> None:
    """Ask and wait for that very answer, whatever else still comes."""
    person.say(question)
    await person.hs.until(lambda: any(text.startswith(f"You said: {question}. (") for text in person.heard), BACK_S)


@pytest.mark.slow
async def test_floods_and_bombs_are_bounded(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Agents that never stop, all at once: bounded in time, memory and what they take of the loop; others go on."""
    faults = [fault for fault in FLOODED if fault not in FLOODS]
    seats = [
        *(Seat(person=fault, agent="flood") for fault in faults),
        Seat(person="neighbour", agent="flood"),
        Seat(person="elsewhere", agent="fine"),
    ]
    async with double(tmp_path) as flood, FakeAgent() as fine, FakeHomeserver() as homeserver:
        agents = {"flood": flood.base_url, "fine": fine.base_url}
        house = House(homeserver, tmp_path, agents, seats, transport=SCALED)
        async with house.host() as host:
            await host.ready()
            await house.enter()
            over, waits = asyncio.Event(), list[float]()
            async with Pulse(host.pid, house.port) as pulse, asyncio.TaskGroup() as group:
                for name in ("neighbour", "elsewhere"):
                    group.create_task(undisturbed(house.people[name], over, waits))
                async with asyncio.TaskGroup() as flooding:
                    for fault in faults:
                        await flood("always", name=fault, context=house.people[fault].context)
                        flooding.create_task(flooded(house.people[fault], fault))
                await flood("clear")
                began = time.monotonic()
                async with asyncio.TaskGroup() as asking:
                    for fault in faults:
                        asking.create_task(answered(house.people[fault], "after"))
                back = time.monotonic() - began
                over.set()
            text = figures(pulse, waits, {"all": back})
            record_property("figures", text)
            world = World(house, host, {})
            for fault in faults:
                person = house.people[fault]
                assert world.codes(person) == list(filter(None, [FLOODED[fault][0]]))
                assert sum(text.startswith("You said: after. (message ") for text in person.heard) == 1
            assert complaints(host) == []
            assert await host.stop() == 0
            assert pulse.busiest_s <= 2 * LOOP_S  # a look may see two turns of the loop, each with its bomb
            assert pulse.grown_mb <= 150


# Agents that are away -----------------------------------------------------------------------------

MANY = 30
QUESTIONS = 2
WATCHED_S = 10.0
PAUSE_S = 0.4
"""A little less than the host leaves between two tries at a peer that is away."""


def within_the_first(times: Sequence[float]) -> int:
    """How many were on their way when the first failed: those ahead of the first pause, a second's worth at least."""
    for number, (earlier, later) in enumerate(pairwise(times), 1):
        if later >= times[0] + 1 and later - earlier >= PAUSE_S:
            return number
    return len(times)


@pytest.mark.slow
async def test_a_dead_agent_is_spared_and_its_people_answered_soon_after(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Thirty conversations wait for one agent: two tries a second at most, and when it is back each is answered."""
    waiting = [f"p{number}" for number in range(MANY)]
    seats = [*(Seat(person=name, agent="dead") for name in waiting), Seat(person="other", agent="fine")]
    async with FakeAgent() as dead, FakeAgent() as fine, FakeHomeserver() as homeserver:
        house = House(homeserver, tmp_path, {"dead": dead.base_url, "fine": fine.base_url}, seats)
        async with house.host() as host:
            await host.ready()
            await house.enter()
            dead.faults.always("upgrade-500")
            for number in range(QUESTIONS):
                for name in waiting:
                    house.people[name].say(f"q{number} of {name}")
            await dead.until(lambda: len(dead.record.connections) >= 2, 30)
            began = dead.record.connections[0].at
            over, waits = asyncio.Event(), list[float]()
            async with asyncio.TaskGroup() as group:
                group.create_task(undisturbed(house.people["other"], over, waits))
                await dead.until(lambda: dead.record.connections[-1].at - began >= WATCHED_S, 60)
                over.set()
            made = [connection.at for connection in dead.record.connections]
            at_first = within_the_first(made)
            tries = made[at_first:]
            dead.faults.clear()
            cleared = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for name in waiting:
                    group.create_task(house.people[name].hears(QUESTIONS, 2 * BACK_S))
            back = time.monotonic() - cleared
            record_property(
                "figures",
                f"{len(tries)} tries in {WATCHED_S - 1:.0f} s, {busiest_second(tries)} in the busiest second, "
                f"{at_first} in the first; all back after {back:.1f} s; "
                f"others' answers {statistics.median(waits) * 1000:.0f} ms, at most {max(waits) * 1000:.0f} ms",
            )
            for name in waiting:
                person = house.people[name]
                assert [text.partition(". (")[0] for text in person.heard] == [
                    f"You said: q{number} of {name}" for number in range(QUESTIONS)
                ]
                assert dead.record.texts(person.context) == [f"q{number} of {name}" for number in range(QUESTIONS)]
            assert at_first <= MANY
            assert len(tries) <= 2 * WATCHED_S
            assert busiest_second(tries) <= 2
            assert back <= BACK_S
            assert complaints(host) == []


# What an agent gets when the host dies ------------------------------------------------------------

INTERRUPTED = "I was interrupted while answering this. Please ask again."
MOMENTS = [
    *[("ids", "connected", 1), ("ids", "asked", 1), ("ids", "said", 9)],
    *[("plain", "connected", 1), ("plain", "asked", 1), ("plain", "said", 1)],
]
"""Which agent sees what, for the how many-th time in a round, when the host is killed."""


class Killer:
    """Kills a host at the very moment at which an agent sees something."""

    def __init__(self, agents: Mapping[str, FakeAgent]) -> None:
        self._left: tuple[str, str, int] | None = None
        self._host: Program | None = None
        for name, agent in agents.items():
            agent.watchers.append(partial(self._see, name))

    def arm(self, host: Program, moment: tuple[str, str, int]) -> None:
        """From now on."""
        self._host, self._left = host, moment

    def _see(self, name: str, what: str, context: str) -> None:
        if self._left is None or self._left[:2] != (name, what):
            return
        left = self._left[2] - 1
        self._left = (name, what, left) if left else None
        if not left and self._host is not None:
            self._host.signal(signal.SIGKILL)


@pytest.mark.slow
async def test_a_killed_host_repeats_itself_only_to_agents_that_notice(tmp_path: Path) -> None:
    """Killed whenever an agent sees something: a question under its id is worked on once, one without is asked once."""
    async with AsyncExitStack() as stack:
        doubles = {name: await stack.enter_async_context(FakeAgent(gap_s=0.02)) for name in ("ids", "plain")}
        reference = await stack.enter_async_context(ReferenceAgent(words_per_second=20))
        homeserver = await stack.enter_async_context(FakeHomeserver())
        urls = {**{name: agent.base_url for name, agent in doubles.items()}, "reference": reference.base_url}
        seats = [Seat(person=name, agent=name) for name in urls]
        house = House(homeserver, tmp_path, urls, seats, takes_ids=("ids", "reference"))
        killer = Killer(doubles)
        host = await stack.enter_async_context(house.host("first"))
        await host.ready()
        await house.enter()
        for number, moment in enumerate(MOMENTS, start=1):
            for agent in doubles.values():
                agent.cut()  # or the question would go out on a socket that is there already
            killer.arm(host, moment)
            for person in house.people.values():
                person.say(f"q{number}")
            assert await host.ended() == -signal.SIGKILL
            host = await stack.enter_async_context(house.host(f"after-{number}"))
            await host.ready()
            for person in house.people.values():
                await person.hears(number)
            assert complaints(host) == []
        for name in ("ids", "reference"):
            for number, text in enumerate(house.people[name].heard, start=1):
                assert text in (f"You said: q{number}. (message {number} in this context)", INTERRUPTED)
        questions = [f"q{number}" for number in range(1, len(MOMENTS) + 1)]
        plain, ids = house.people["plain"], house.people["ids"]
        assert len(plain.heard) == len(ids.heard) == len(house.people["reference"].heard) == len(MOMENTS)
        assert set(doubles["ids"].record.work.values()) == {1}
        assert doubles["ids"].record.repeats(), "no question came twice, so nothing was proven"
        asked = Counter(got.frame["message_id"] for got in reference.received if got.frame["type"] == "USER_MESSAGE")
        assert max(asked.values()) > 1, "no question came twice, so nothing was proven"
        assert sorted(set(doubles["plain"].record.texts())) == sorted(doubles["plain"].record.texts())
        assert set(doubles["plain"].record.texts()) <= set(questions)
        assert INTERRUPTED in plain.heard
