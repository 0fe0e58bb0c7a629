"""The real host against a homeserver that fails: spared while it does, and everything made good within seconds.

Every case is a world of its own (homeserver, host process, ten people) and several live side by side. Before the
fault everybody asks something, while it lasts they ask on and others come for the first time, and ten seconds
after its end all must be answered, once and in order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
import pytest_asyncio

from proof.house import House, Person
from proof.nursery import Nursery
from proof.processes import BOT, Agent, reference_agent
from surfaces_testing.homeserver import (
    Dropped,
    Endless,
    FakeHomeserver,
    Fault,
    Html,
    Lost,
    Nothing,
    Record,
    Reset,
    Restless,
    Slow,
    SlowHead,
    Stall,
    Status,
    Truncated,
    limited,
    unknown_since,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults_homeserver"), pytest.mark.asyncio(loop_scope="module")]

PEOPLE = 10
NEWCOMERS = 2
FAULT_S = 5.0
MANY_IN_FLIGHT_S = 1.0
"""What was on its way when the fault began is not counted."""
BACK_S = 10.0
AT_MOST = 2
"""Requests a second to a homeserver that fails."""
AT_ONCE = 5
"""Worlds that live side by side."""
SETTINGS = {"request_timeout_s": 1, "sync_timeout_s": 2, "transfer_timeout_s": 1}

LIMITS = (
    limited(retry_after_ms=200),
    limited(retry_after="1"),
    limited(retry_after=formatdate(time.time() + 1, usegmt=True)),
    limited(retry_after=formatdate(0, usegmt=True)),
    limited(),
    limited(retry_after_ms=10**15),
    limited(retry_after_ms=-5),
    limited(retry_after="99999999999"),
    limited(retry_after="soon"),
)
ERRORS = (
    Status(status=500),
    Html(status=500),
    Html(status=502),
    Html(status=503),
    Html(status=504),
    Html(status=520),
    Status(status=503, headers={"Retry-After": "99999"}),
)
CUTS = (Dropped(), Lost(), Reset())
BODIES = (Truncated(), Nothing(), Truncated(share=0.9))
SLOW = (Slow(piece=1, pause_s=1.0), SlowHead(pause_s=1.0))


@asynccontextmanager
async def failing(hs: FakeHomeserver, kinds: Sequence[Fault], *routes: str) -> AsyncIterator[None]:
    """Every request (to some endpoints alone) meets one of these."""
    hs.faults.random(1, 1.0, kinds, routes)
    yield
    hs.faults.clear()


@asynccontextmanager
async def refusing(hs: FakeHomeserver) -> AsyncIterator[None]:
    """Nobody listens."""
    await hs.refuse()
    yield
    await hs.accept()


@asynccontextmanager
async def stalling(hs: FakeHomeserver) -> AsyncIterator[None]:
    """Everything is done, and nothing is answered before the end."""
    release = asyncio.Event()
    hs.faults.always("*", Stall(release=release))
    yield
    hs.faults.clear()
    release.set()


@asynccontextmanager
async def forgetful(hs: FakeHomeserver) -> AsyncIterator[None]:
    """No sync token is known, not even the one that was given out just before."""
    hs.faults.where(lambda request: request.since is not None, unknown_since())
    yield
    hs.faults.clear()


@asynccontextmanager
async def logged_out(hs: FakeHomeserver) -> AsyncIterator[None]:
    """The login is revoked, and another one can't be had."""
    hs.faults.random(1, 1.0, [*LIMITS, *ERRORS], ["login"])
    hs.revoke(BOT)
    yield
    hs.faults.clear()


Arm = Callable[[FakeHomeserver], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Case:
    """What goes wrong. `parts`: not with all requests, so that those alone are counted that met it."""

    name: str
    arm: Arm
    parts: bool = False

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("limited", lambda hs: failing(hs, LIMITS)),
    Case("errors", lambda hs: failing(hs, ERRORS)),
    Case("cut", lambda hs: failing(hs, CUTS)),
    Case("bodies", lambda hs: failing(hs, BODIES)),
    Case("slow", lambda hs: failing(hs, SLOW)),
    Case("endless", lambda hs: failing(hs, [Endless()])),
    Case("refused", refusing),
    Case("stalled", stalling),
    Case("logged out", logged_out, parts=True),
    Case("no token known", forgetful, parts=True),
    Case("sync says the same", lambda hs: failing(hs, [Restless()], "sync"), parts=True),
    Case("sync says nothing new", lambda hs: failing(hs, [Restless(moves=True)], "sync"), parts=True),
    Case("sync fails", lambda hs: failing(hs, [*LIMITS, *ERRORS, *CUTS, *BODIES], "sync"), parts=True),
    Case("sending is limited", lambda hs: failing(hs, LIMITS, "send"), parts=True),
    Case("sending fails", lambda hs: failing(hs, [*ERRORS, *CUTS, *BODIES], "send"), parts=True),
    Case("rooms are limited", lambda hs: failing(hs, LIMITS, "createRoom", "join", "invite"), parts=True),
    Case(
        "rooms fail", lambda hs: failing(hs, [*ERRORS, *CUTS], "createRoom", "join", "invite", "state.put"), parts=True
    ),
    Case("files fail", lambda hs: failing(hs, [*ERRORS, *CUTS, *SLOW, Truncated()], "upload", "download"), parts=True),
    Case("typing fails", lambda hs: failing(hs, [*ERRORS, *LIMITS], "typing"), parts=True),
)


@dataclass(kw_only=True)
class Outcome:
    """What was seen of one case from outside."""

    busiest: int
    """Requests within one second."""
    asked: int
    back_s: float
    log: Counter[str]
    code: int


async def trial(case: Case, agent: Agent, folder: Path, nursery: Nursery) -> Outcome:
    """Live through one fault."""
    async with FakeHomeserver() as hs:
        house = House(hs, agent, folder, nursery)
        house.configure(matrix=SETTINGS, host={"log_level": "info"})
        async with house.host() as host:
            await host.ready()
            people = [Person(house, f"p{number}") for number in range(PEOPLE)]
            await enter(people)
            began, ended = await _fault(case, house, people)
            expected = [answers(number, folder.name) for number in range(PEOPLE)]
            await hs.until(lambda: [person.heard for person in people] == expected, timeout=60)
            back_s = time.monotonic() - ended
            counted = Record([request for request in hs.requests if request.fault or not case.parts])
            since = began + MANY_IN_FLIGHT_S
            return Outcome(
                busiest=counted.busiest_second(since=since, until=ended),
                asked=sum(since <= request.at < ended for request in counted.requests),
                back_s=back_s,
                code=await host.stop(),
                log=Counter(json.loads(line)["event"] for line in host.log().splitlines() if line.startswith("{")),
            )


async def _fault(case: Case, house: House, people: Sequence[Person]) -> tuple[float, float]:
    """What everybody says before and during a fault; when it began and ended, in monotonic seconds."""
    for person in people:
        person.say("one")
    began = time.monotonic()
    async with case.arm(house.hs):
        newcomers = [Person(house, f"new{number}") for number in range(NEWCOMERS)]
        for person in people:
            person.say("two")
            person.say("count to 5")
        people[0].send_file(f"{house.folder.name}.txt", b"a line\n")
        people[1].say("make a file")
        await asyncio.sleep(FAULT_S)  # for so long it lasts
    ended = time.monotonic()
    await enter(newcomers)
    return began, ended


async def enter(people: Sequence[Person]) -> None:
    """Let everybody in, each into a conversation of their own."""
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.enter())


def answers(number: int, file: str) -> list[str]:
    """What must be said to somebody, in this order."""
    said = [f"You said: {text}. (message {count} in this context)" for count, text in enumerate(("one", "two"), 1)]
    more = ([f"Got `{file}.txt`. 1 waiting for your next message."], ["Here is your file.", "A note"])
    return [*said, "1 2 3 4 5", *(more[number] if number < len(more) else ())]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all worlds."""
    async with reference_agent(tmp_path_factory.mktemp("agents")) as agent:
        yield agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where hosts begin at once."""
    async with Nursery() as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    agent: Agent, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[dict[str, asyncio.Task[Outcome | Exception]]]:
    """The cases that are asked for, several side by side."""
    side_by_side = asyncio.Semaphore(AT_ONCE)

    async def run(case: Case) -> Outcome | Exception:
        async with side_by_side:
            try:
                return await trial(case, agent, tmp_path_factory.mktemp("world"), nursery)
            except Exception as error:  # noqa: BLE001 - it is the outcome of this case, and ends no other
                return error

    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = [item.callspec.params["case"] for item in items if "outcomes" in item.fixturenames]
    async with asyncio.TaskGroup() as group:
        tasks = {case.name: group.create_task(run(case)) for case in wanted}
        yield tasks
        for task in tasks.values():
            task.cancel()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_homeserver_that_fails_is_spared_and_made_good(
    outcomes: dict[str, asyncio.Task[Outcome | Exception]], case: Case
) -> None:
    """Few requests while it fails, everything answered once and in order soon after, and hardly a word in the log."""
    outcome = await outcomes[case.name]
    if isinstance(outcome, Exception):
        raise outcome
    sys.stdout.write(
        f"\n{case.name}: {outcome.busiest} requests in the busiest second, {outcome.asked} in {FAULT_S - 1:.0f} s, "
        f"back after {outcome.back_s:.1f} s, log {dict(outcome.log)}\n"
    )
    assert outcome.busiest <= AT_MOST
    assert outcome.back_s <= BACK_S
    assert outcome.code == 0
    for thing in ("sync", "delivery"):
        assert outcome.log[f"{thing}.down"] == outcome.log[f"{thing}.back"] <= 1
