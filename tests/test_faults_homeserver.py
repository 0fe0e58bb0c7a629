"""The real host against a homeserver that fails: spared while it does, and everything made good within seconds.

Every case is a world of its own (homeserver, host process, ten people) and several live side by side. Before the
fault everybody asks something, while it lasts they ask on and others come for the first time, and ten seconds
after its end all must be answered, once and in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof.house import House, Person, counted
from proof.nursery import Nursery
from proof.processes import BOT, Agent, Program, reference_agent
from surfaces_testing.homeserver import (
    Changed,
    Dropped,
    Endless,
    FakeHomeserver,
    Fault,
    Html,
    Lost,
    Nothing,
    Record,
    Request,
    Reset,
    Restless,
    Slow,
    SlowHead,
    Stall,
    Status,
    Truncated,
    limited,
    repeated,
    unknown_since,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults_homeserver"), pytest.mark.asyncio(loop_scope="module")]

PEOPLE = 10
NEWCOMERS = 2
NUMBERS = 60
FAULT_S = 5.0
NOTICED_S = 1.5
"""What is on its way when the fault begins, and the few failures by which it is noticed, are not counted."""
BACK_S = 20.0
"""Ten on a machine that does nothing else; beside other tests it may take twice as long."""
AT_MOST = 2
"""Requests a second to a homeserver that fails."""
NAMED = ("sync", "delivery", "surface")
"""Troubles of which the log tells the begin and the end, once each."""
AT_ONCE = 3
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
    Case("files fail", lambda hs: failing(hs, [*ERRORS, *CUTS, *SLOW], "upload", "download"), parts=True),
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
            await _logged_as_over(host)
            back_s = time.monotonic() - ended
            met = Record([request for request in hs.requests if request.fault or not case.parts])
            since = began + NOTICED_S
            return Outcome(
                busiest=met.busiest_second(since=since, until=ended),
                asked=sum(since <= request.at < ended for request in met.requests),
                back_s=back_s,
                code=await host.stop(),
                log=_logged(host),
            )


async def _fault(case: Case, house: House, people: Sequence[Person]) -> tuple[float, float]:
    """What everybody says before and during a fault; when it began and ended, in monotonic seconds."""
    for person in people:
        person.say("one")
        person.say(f"count to {NUMBERS}")
    await house.hs.until(lambda: all(person.heard for person in people), timeout=30)
    began = time.monotonic()
    async with case.arm(house.hs):
        newcomers = [Person(house, f"new{number}") for number in range(NEWCOMERS)]
        people[0].send_file(f"{house.folder.name}.txt", b"a line\n")
        people[1].say("make a file")
        for person in people:
            person.say("two")  # the sync that is waiting brings it all
        await asyncio.sleep(NOTICED_S)
        for person in people:
            person.say("three")
        await asyncio.sleep(FAULT_S - NOTICED_S)  # for so long it lasts
    ended = time.monotonic()
    await enter(newcomers)
    return began, ended


async def _logged_as_over(host: Program) -> None:
    """Wait until every trouble that the log names has its end there."""
    async with asyncio.timeout(BACK_S):
        while any(  # noqa: ASYNC110 - a file has no event for this
            _logged(host)[f"{what}.down"] != _logged(host)[f"{what}.back"] for what in NAMED
        ):
            await asyncio.sleep(0.05)


def _logged(host: Program) -> Counter[str]:
    """How often each event stands in the log."""
    return Counter(json.loads(line)["event"] for line in host.log().splitlines() if line.startswith("{"))


async def enter(people: Sequence[Person]) -> None:
    """Let everybody in, each into a conversation of their own."""
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.enter())


def answers(number: int, file: str) -> list[str]:
    """What must be said to somebody, in this order."""
    first = [echo("one"), counted(NUMBERS)]
    if number == 0:
        got = f"I got {file}.txt (7 bytes), first line: a line.\n\n"
        return [*first, f"Got `{file}.txt`. 1 waiting for your next message.", got + echo("two", 3), echo("three", 4)]
    if number == 1:
        return [*first, "Here is your file.", "A note", echo("two", 4), echo("three", 5)]
    return [*first, echo("two", 3), echo("three", 4)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all worlds, slow enough for typing and drafts."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "40") as agent:
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
    wanted: list[Case] = [item.callspec.params["case"] for item in items if "outcomes" in item.fixturenames]  # type: ignore[misc]
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
        f"\n{case.name}: {outcome.busiest} requests in the busiest second, {outcome.asked} in {FAULT_S - NOTICED_S} s, "
        f"back after {outcome.back_s:.1f} s, log {dict(outcome.log)}\n"
    )
    # on a busy machine what was on its way, at most a request of each person, may still go out in the counted time
    assert outcome.asked <= AT_MOST * (FAULT_S - NOTICED_S) + PEOPLE
    assert outcome.back_s <= BACK_S
    assert outcome.code == 0
    for what in NAMED:
        assert outcome.log[f"{what}.down"] == outcome.log[f"{what}.back"] <= 1


# What is more than trouble that passes ----------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def house(agent: Agent, nursery: Nursery, tmp_path: Path) -> AsyncIterator[House]:
    """A world without a host yet."""
    async with FakeHomeserver() as homeserver:
        house = House(homeserver, agent, tmp_path, nursery)
        house.configure(matrix=SETTINGS, host={"log_level": "info"})
        yield house


@asynccontextmanager
async def talking(house: House, *names: str) -> AsyncIterator[tuple[Program, list[Person]]]:
    """A host that lives, and people in their conversations; it must live to the end of the block."""
    async with house.host() as host:
        await host.ready()
        people = [Person(house, name) for name in names]
        await enter(people)
        yield host, people
        assert await host.stop() == 0, host.log()


def echo(text: str, number: int = 1) -> str:
    """What the agent says to a text."""
    return f"You said: {text}. (message {number} in this context)"


def letters(house: House) -> list[str]:
    """Why something was put aside; the host must not run."""
    with closing(sqlite3.connect(house.database)) as database:
        rows = database.execute("SELECT value FROM kv WHERE key >= ? AND key < ?", (b"dead\0", b"dead\1")).fetchall()
    return [json.loads(value).get("reason", "") for (value,) in rows]


MISSING = ("filter", "filter.post", "profile", "account_data", "account_data.put", "event", "typing", "receipt")
"""What a small homeserver may not have; rooms without names in the directory are refused when they are made."""


async def test_a_minimal_homeserver_will_do(house: House) -> None:
    """Whatever is optional in the specification may be missing."""
    for route in (*MISSING, "alias", "alias.put", "joined_members", "unknown"):
        house.hs.faults.always(route, Status(status=404, errcode="M_UNRECOGNIZED"))
    house.hs.faults.where(_names_a_room, Status(status=400, errcode="M_UNKNOWN"))
    async with talking(house, "ann") as (_, [ann]):
        ann.say("one")
        await ann.hears(echo("one"))
        ann.say("make a file")
        await ann.hears("A note")
    assert len([room for room in house.hs.rooms if ("io.surfaces.binding", "") in house.hs.state(room)]) == 1


def _names_a_room(request: Request) -> bool:
    return request.route == "createRoom" and "room_alias_name" in request.body


async def test_a_homeserver_that_says_nothing_at_the_start_is_waited_for(house: House) -> None:
    """Something on the way that answers `{}` to everything is no mistake in the settings."""
    house.hs.faults.always("*", Nothing())
    async with house.host() as host:
        await house.hs.until(lambda: len(house.hs.requests) >= 3, timeout=30)
        house.hs.faults.clear()
        await host.ready()
        assert await host.stop() == 0


@pytest.mark.parametrize(
    ("status", "errcode"), [(403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"), (413, "M_TOO_LARGE"), (400, "M_BAD_JSON")]
)
async def test_what_is_refused_in_one_room_disturbs_no_other(house: House, status: int, errcode: str) -> None:
    """The answer is put aside with what the homeserver said, the next is given when it may be, others don't wait."""
    async with talking(house, "ann", "bob") as (host, [ann, bob]):
        refused = Status(status=status, errcode=errcode)
        house.hs.faults.where(lambda request: request.route == "send" and request.args[0] == ann.room, refused)
        for person in (ann, bob):
            person.say("one")
        await bob.hears(echo("one"))
        await host.logged("delivery.rejected")
        await house.hs.until(lambda: _refused(house, ann.room) >= 2, timeout=30)
        house.hs.faults.clear()
        ann.say("two")
        await ann.hears(echo("two", 2))
    assert any(errcode in reason for reason in letters(house))


def _refused(house: House, room: str) -> int:
    """How often sending was refused: the answer, and the line in its place."""
    return sum(request.status >= 400 and request.args[0] == room for request in house.hs.record.of("send"))


@pytest.mark.parametrize("how", ["leave", "ban"])
async def test_being_put_out_disturbs_no_other_conversation(house: House, how: str) -> None:
    """Whoever runs the homeserver can take the bot out of a room; what it would say there is put aside."""
    async with talking(house, "ann", "bob") as (_, [ann, bob]):
        ann.say("count to 200")
        room = house.hs.rooms[ann.room]
        house.hs.world.add(room, "@admin:hs.test", "m.room.member", {"membership": how}, state_key=BOT)
        bob.say("one")
        await bob.hears(echo("one"))


async def test_an_invite_that_can_not_be_taken_up_disturbs_nobody(house: House) -> None:
    """A join that is refused for good is the end of that invite alone."""
    async with talking(house, "ann") as (host, [ann]):
        house.hs.faults.always("join", Status(status=403, errcode="M_FORBIDDEN"))
        Person(house, "eve")
        ann.say("one")
        await ann.hears(echo("one"))
        await host.logged("entry.gone")


async def test_a_room_whose_state_can_not_be_read_disturbs_no_other(house: House) -> None:
    """Nobody knows whether it is encrypted, so nothing is said there, and elsewhere all goes on."""
    async with talking(house, "ann") as (_, [ann]):
        hidden = Status(status=403, errcode="M_FORBIDDEN")
        house.hs.faults.where(lambda request: request.route == "state.get" and request.args[0] != ann.room, hidden)
        Person(house, "eve")
        ann.say("one")
        await ann.hears(echo("one"))


async def test_what_comes_twice_is_answered_once(house: House) -> None:
    """Events and invites that several syncs show, whatever was shown before."""
    async with talking(house, "ann") as (_, [ann]):
        ann.say("one")
        await ann.hears(echo("one"))
        shown = [event for event in house.hs.events(ann.room) if event.content.get("body") == "one"]
        rooms = len(house.hs.rooms)
        for _ in range(3):
            house.hs.fault("sync", repeated(shown[0]), Changed(change=_invited_again))
            ann.say("x")
        await house.hs.until(lambda: len(ann.heard) == 4, timeout=30)
        assert [text.partition(".")[0] for text in ann.heard] == ["You said: one", *["You said: x"] * 3]
    assert len(house.hs.rooms) == rooms


def _invited_again(body: dict[str, Any]) -> dict[str, Any]:
    """A sync that shows the same invite each time."""
    events = [
        {"type": "m.room.member", "state_key": BOT, "sender": "@eve:hs.test", "content": {"membership": "invite"}},
    ]
    body.setdefault("rooms", {}).setdefault("invite", {})["!gone:hs.test"] = {"invite_state": {"events": events}}
    return body


async def test_a_server_set_back_is_gone_on_with(house: House) -> None:
    """Restored from a backup it has forgotten questions and answers; what is said from then on is answered."""
    async with talking(house, "ann", "bob") as (_, people):
        backup = house.hs.world.pos
        for person in people:
            person.say("lost")
            await person.hears(echo("lost"))
        await house.hs.refuse()
        house.hs.roll_back(backup)
        for person in people:
            person.say("new")
        await house.hs.accept()
        for person in people:
            await person.hears(echo("new", 2))
            assert person.heard == [echo("new", 2)]


async def test_a_sync_of_ninety_megabytes_is_taken(house: House) -> None:
    """As much as ever a homeserver sends at once: the host goes on answering, in bounded memory."""
    async with talking(house, "ann") as (host, [ann]):
        before = _peak_mb(host.pid)
        house.hs.fault("sync", Changed(change=_notices), times=3)  # each with a smaller limit
        ann.say("one")
        await ann.hears(echo("one"), timeout_s=120)
        peak = _peak_mb(host.pid)
        sys.stdout.write(f"\n{before} MB before, {peak} MB at the peak, {host.log().count('loop.stalled')} stalls\n")
        assert house.hs.faults.pending("sync") == 0
        assert peak < 600


def _notices(body: dict[str, Any]) -> dict[str, Any]:
    """A sync with ninety megabytes of what bots say to each other."""
    notice = {
        "type": "m.room.message",
        "sender": "@eve:hs.test",
        "content": {"msgtype": "m.notice", "body": "x" * 1800},
    }
    rooms = body.setdefault("rooms", {}).setdefault("join", {})
    for number in range(900):
        events = [{**notice, "event_id": f"${number}-{n}", "origin_server_ts": 1} for n in range(50)]
        rooms[f"!{number}:hs.test"] = {"timeline": {"events": events, "limited": False, "prev_batch": "s0"}}
    return body


def _peak_mb(pid: int) -> int:
    """The most memory that a process has had so far."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


async def test_a_revoked_token_that_nobody_can_renew_ends_the_host(house: House) -> None:
    """78 and one line that names the setting, however it is found out."""
    device = house.hs.world.log_in(house.hs.world.user(BOT), "D")
    house.configure(matrix={**SETTINGS, "password": None, "access_token": device.token})
    async with house.host() as host:
        await host.ready()
        house.hs.revoke(BOT)
        assert await host.ended() == os.EX_CONFIG
    said = [line for line in host.log().splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert "surfaces.matrix.access_token" in said[0]
