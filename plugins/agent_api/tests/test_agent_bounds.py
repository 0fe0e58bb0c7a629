"""What an agent can take of the host is bounded, and whether it has the question is decided right."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from surfaces_agent_api import AgentApi, AgentApiSettings, words
from surfaces_agent_api.connection import CLOSE_TIMEOUT_S
from surfaces_agent_api.frames import load_object
from surfaces_agent_api.pace import AT_ONCE, BURST, FRAME, RATE, Crowd, Pace
from surfaces_agent_api.patience import Patience
from surfaces_agent_api.transport import CHECK_CONTEXT
from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    Confirm,
    DriverError,
    End,
    File,
    Health,
    Rejected,
    Text,
    Unavailable,
)
from surfaces_core.testing import virtual_time
from surfaces_core.testing.driver_contexts import transport_context
from surfaces_testing.agent import END, FakeAgent, Fault, chunk, sends

IMPATIENT: dict[str, Any] = {"connect_timeout_s": 1, "status_timeout_s": 1, "idle_timeout_s": 1}
"""Where an agent is waited for in vain."""


class Talk:
    """A transport and the agent that it talks to."""

    def __init__(self, transport: AgentApi, peer: FakeAgent, *, ids: bool) -> None:
        self.transport = transport
        self.peer = peer
        options = {"base_url": peer.base_url, "send_message_id": ids}
        self.agent = Agent(id="agent", label="Agent", transport="agent_api", workspace="1", options=options)
        self._turns = 0

    def request(self, text: str = "hello", context: str = "7") -> AgentRequest:
        """The next question."""
        self._turns += 1
        return AgentRequest(turn=f"turn-{self._turns}", agent=self.agent, context=context, text=text)

    async def ask(self, text: str = "hello", context: str = "7") -> tuple[list[AgentEvent], DriverError | None]:
        """What comes of a question, and how it fails."""
        events: list[AgentEvent] = []
        try:
            async with aclosing(self.transport.run(self.request(text, context))) as turn:
                async for event in turn:
                    events.append(event)  # noqa: PERF401 - what came before a failure counts
        except DriverError as error:
            return events, error
        return events, None

    async def code(self, text: str = "hello", context: str = "7") -> str:
        """The code of a question's failure; empty when it is answered."""
        _, failure = await self.ask(text, context)
        return failure.code if failure else ""


@asynccontextmanager
async def talk(*, ids: bool = False, **settings: object) -> AsyncIterator[Talk]:
    """A transport with these settings and an agent that can be told to misbehave."""
    context = transport_context("agent_api")
    async with (
        FakeAgent() as peer,
        AgentApi(AgentApiSettings.model_validate(settings), context) as transport,
    ):
        yield Talk(transport, peer, ids=ids)


def text(events: list[AgentEvent]) -> str:
    """All that was said."""
    return "".join(event.text for event in events if isinstance(event, Text))


# Whether it has the question ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["status-and-fin", "status-and-close"])
async def test_a_socket_that_ends_with_its_status_was_asked_nothing(fault: str):
    """The connection ends right behind STATUS: nothing went out, so it is a matter of later and not a cut."""
    async with talk() as here:
        here.peer.faults.script(fault)
        _, failure = await here.ask()
        assert isinstance(failure, Unavailable)
        assert here.peer.record.questions() == []


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("fault", ["rest-close", "rest-cut", "rest-reset", "rest-frozen", "rest-garbage"])
async def test_a_kept_socket_that_died_is_replaced_silently(fault: str, ids: bool):
    """The agent ended, was started again or its machine vanished between two turns: the next question is asked once."""
    async with talk(ids=ids, **IMPATIENT) as here:
        here.peer.faults.script(fault)
        assert await here.code("first") == ""
        assert await here.code("second") == ""
        assert here.peer.record.texts() == ["first", "second"]


async def test_a_kept_socket_that_dies_with_the_ping_is_replaced_silently():
    """It ends after it answered the ping and before the question went out: nothing was asked, so it is asked anew."""
    async with talk() as here:
        assert await here.code("first") == ""
        (kept,) = here.transport._connections.values()
        wake = kept.wake

        async def wake_and_die(timeout_s: float) -> bool:
            awake = await wake(timeout_s)
            kept._socket.drop()  # what a connection that is lost in this very moment looks like
            return awake

        kept.wake = wake_and_die  # type: ignore[method-assign] # a moment that no agent can hit
        assert await here.code("second") == ""
        assert here.peer.record.texts() == ["first", "second"]


@pytest.mark.parametrize("fault", ["drop-at-once", "close-at-once", "silent-at-once", "reset"])
async def test_without_ids_a_question_goes_out_once(fault: str):
    """Whatever the agent does with it, on a new socket or a kept one."""
    async with talk(**IMPATIENT) as here:
        for question in ("new", "kept"):
            here.peer.faults.script(fault)
            _, failure = await here.ask(question)
            assert isinstance(failure, Rejected)
            assert await here.code(f"after {question}") == ""
        assert here.peer.record.texts() == ["new", "after new", "kept", "after kept"]


async def test_a_new_socket_that_is_lost_is_not_tried_again_at_once():
    """One try is one connection, whatever aiohttp thinks of GET: an agent that fails is not strained."""
    async with talk() as here:
        here.peer.faults.always("upgrade-cut")
        assert await here.code() == "AGENT_UNREACHABLE"
        here.peer.faults.always("upgrade-reset")
        assert await here.code() == "AGENT_UNREACHABLE"
        assert len(here.peer.record.connections) == 2


async def test_what_is_no_tls_is_an_agent_that_cannot_be_reached():
    """An address that says https where something else answers: nothing was asked."""
    async with talk() as here:
        options = {"base_url": here.peer.base_url.replace("http:", "https:")}
        request = replace(here.request(), agent=replace(here.agent, options=options))
        with pytest.raises(Unavailable) as raised:
            await anext(here.transport.run(request))
        assert raised.value.code == "AGENT_UNREACHABLE"
        assert (await here.transport.check(request.agent)).code == "AGENT_UNREACHABLE"


async def test_an_agent_that_left_a_ping_unanswered_may_have_changed():
    """Its sockets are not kept for some time, not for ever: one machine that vanished is no deaf agent."""
    async with talk(**IMPATIENT) as here:
        here.peer.faults.script("rest-frozen")
        for _ in range(4):
            assert await here.code() == ""
        assert len(here.peer.record.connections) == 4
        here.transport._deaf["agent"] = asyncio.get_running_loop().time() - 1
        for _ in range(3):
            assert await here.code() == ""
        assert len(here.peer.record.connections) == 5


# Looking at an agent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("upgrade-503-page", "AGENT_UNREACHABLE"),
        ("upgrade-never", "AGENT_UNREACHABLE"),
        ("no-status", "AGENT_NO_STATUS"),
        ("cut-first", "AGENT_NO_STATUS"),
        ("garbage-first", "AGENT_PROTOCOL"),
        ("error-first", "AGENT_ERROR"),
    ],
)
async def test_a_look_says_what_is_wrong(fault: str, code: str):
    """An agent that would not take a question now is not reachable; the code says why, the particulars no secret."""
    async with talk(**IMPATIENT) as here:
        here.peer.faults.always(fault)
        health = await here.transport.check(here.agent)
        assert (health.reachable, health.code) == (False, code)
        assert health.detail
        here.peer.faults.clear()
        assert await here.transport.check(here.agent) == Health(reachable=True)
        await here.peer.until(lambda: here.peer.open == 0)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        (
            "http://somebody:hunter2@127.0.0.1:1/",
            "ws://127.0.0.1:1/v1/agent_ws/: nothing listens there: is the agent",
        ),
        ("https", "it does not speak TLS there: is it http:// instead of https://?"),
        ("upgrade-404", "there is no agent at this path: correct base_url"),
        ("upgrade-503-page", "is not ready: look at its log"),
        ("no-status", "connected, but no STATUS came"),
    ],
)
async def test_a_look_says_where_and_what_to_do(address: str, hint: str):
    """What an operator may have got wrong is named with the address that was tried, without the login in it."""
    async with talk(**IMPATIENT) as here:
        options = dict(here.agent.options)
        if address == "https":
            options["base_url"] = str(options["base_url"]).replace("http://", "https://")
        elif address.startswith("http"):
            options["base_url"] = address
        else:
            here.peer.faults.always(address)
        health = await here.transport.check(replace(here.agent, options=options))
        assert hint in health.detail.replace(f"{CHECK_CONTEXT}/", "")
        assert "hunter2" not in health.detail


async def test_a_look_asks_nothing_and_leaves_nothing():
    """It has a context of its own, sends no question, hangs up, and takes no socket from a conversation."""
    async with talk() as here:
        assert await here.code(context=CHECK_CONTEXT) == ""
        assert await here.code() == ""
        for _ in range(3):
            await here.transport.check(here.agent)
        await here.peer.until(lambda: here.peer.open == 2)
        assert await here.code(context=CHECK_CONTEXT) == ""
        assert await here.code() == ""
        assert [made.context for made in here.peer.record.connections] == [CHECK_CONTEXT, "7", *[CHECK_CONTEXT] * 3]
        assert len(here.peer.record.frames) == 4


async def test_a_look_at_an_address_that_is_none():
    """A context or address that cannot be is told, not raised; so is a driver that is not open."""
    async with talk() as here:
        wrong = Agent(id="x", label="X", transport="t", workspace="w", options={"base_url": "http://a..example"})
        assert (await here.transport.check(wrong)).code == "AGENT_UNREACHABLE"
    assert (await here.transport.check(here.agent)).code == "AGENT_UNREACHABLE"


# Time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["never-ending", "progress-flood", "heavy-json", "tiny-chunks"])
async def test_a_turn_that_does_not_end_is_ended(fault: str):
    """However much comes, a turn has its time; what came is kept and the rest is told as cut off."""
    async with talk(turn_timeout_s=1) as here:
        here.peer.faults.script(fault)
        events, failure = await here.ask()
        assert isinstance(failure, Rejected)
        assert (failure.code, failure.public) == ("AGENT_OVERTIME", words.OVERTIME())
        assert events
        assert await here.code() == ""


def test_time_stands_still_while_nobody_takes_the_answer():
    """A person who thinks about a question uses up neither the silence nor the turn's time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        patience = Patience(idle_s=10, turn_s=15)
        await asyncio.sleep(8)
        began = loop.time()
        await asyncio.sleep(1000)
        patience.stood_still(began)
        assert not patience.over
        assert patience.ends - loop.time() == pytest.approx(2)
        assert patience.failure().code == "AGENT_TIMEOUT"
        patience.heard()
        assert patience.ends - loop.time() == pytest.approx(7)
        assert patience.failure().code == "AGENT_OVERTIME"
        await asyncio.sleep(7)
        assert patience.over

    virtual_time.run(main())


async def test_a_question_waits_as_long_as_a_person_needs():
    """An agent that gives a person a millisecond doesn't flood them with questions that are over already."""
    ask = {"type": "AGENT_EVENT_CONFIRM", "id": "1", "text": "?", "timeout_s": 0.001}
    async with talk() as here:
        here.peer.faults.script(Fault(stage="answer", act=sends(ask, END)))
        events, _ = await here.ask()
        assert events[0] == Confirm(id="1", text="?", timeout_s=5.0)


# The share of the loop ----------------------------------------------------------------------------


async def spend(frames: int, size: int, crowd: Crowd) -> None:
    """Take so many frames of such a size."""
    pace = Pace(crowd)
    for _ in range(frames):
        await pace.spend(size, asyncio.Event())


@pytest.mark.parametrize("size", [0, 40, 4 << 20])
def test_who_floods_is_slowed_down(size: int):
    """Behind the burst no more is taken in a second than the rate, in bytes or in frames."""
    frames = 3 * BURST // (size + FRAME)

    async def main() -> float:
        await spend(frames, size, Crowd())
        return asyncio.get_running_loop().time()

    least = (frames * (size + FRAME) - BURST) / RATE
    assert least * 0.9 <= virtual_time.run(main()) <= least * 1.1 + 1


def test_many_who_flood_share():
    """More agents that flood at once take no more of the loop together."""

    async def main(agents: int) -> float:
        crowd = Crowd()
        async with asyncio.TaskGroup() as group:
            for _ in range(agents):
                group.create_task(spend(2 * BURST // FRAME, 0, crowd))
        assert crowd.size == 0
        return asyncio.get_running_loop().time()

    few, many = virtual_time.run(main(AT_ONCE)), virtual_time.run(main(4 * AT_ONCE))
    assert 3 * few <= many <= 5 * few


def test_who_talks_as_people_read_is_never_slowed_down():
    """Five hundred words a second for a minute cost no time."""

    async def main() -> float:
        pace, began = Pace(Crowd()), asyncio.get_running_loop().time()
        for _ in range(60 * 500):
            await asyncio.sleep(1 / 500)
            await pace.spend(60, asyncio.Event())
        return asyncio.get_running_loop().time() - began

    assert virtual_time.run(main()) == pytest.approx(60, rel=1e-3)


async def test_frames_that_are_there_already_leave_the_loop_to_others():
    """Taking many frames without a wait gives others their turn every so often."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        beside = group.create_task(other())
        await asyncio.sleep(0)
        await spend(1000, 0, Crowd())
        beside.cancel()
    assert turns >= 10


async def test_a_wait_ends_when_nobody_wants_more():
    """A socket that is given up is not waited for until it has paid."""
    left = asyncio.Event()
    pace = Pace(Crowd())
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(pace.spend(BURST + 1000 * RATE, left))
        await asyncio.sleep(0)
        left.set()


@pytest.mark.parametrize("fault", ["ping-flood-deaf", "ping-flood", "tiny-chunks", "never-ending", "frozen"])
async def test_leaving_is_quick_whatever_an_agent_does(fault: str):
    """The driver closes in its time, though an agent floods, reads nothing or doesn't let go."""
    async with talk(idle_timeout_s=60) as here:
        here.peer.faults.script(fault)
        turn = here.transport.run(here.request())
        await anext(turn)
        async with asyncio.timeout(20 * CLOSE_TIMEOUT_S):
            await here.transport.__aexit__(None, None, None)
        with pytest.raises(Rejected):
            _ = [event async for event in turn]
        here.peer.cut()


def test_large_json_is_read_without_the_collector_and_no_longer():
    """The collector rests while a large frame is read, whether it can be read or not, and works again afterwards."""
    large = json.dumps({"x": [[]] * 50_000})
    passes = [stage["collections"] for stage in gc.get_stats()]
    assert len(load_object(large)["x"]) == 50_000
    assert gc.get_stats()[2]["collections"] == passes[2]
    with pytest.raises(Exception, match="broken JSON"):
        load_object(large[:-1])
    assert gc.isenabled()
    gc.disable()
    try:
        load_object(large)
        assert not gc.isenabled()
    finally:
        gc.enable()


# The amount ---------------------------------------------------------------------------------------


async def test_files_without_end():
    """So many files are passed on and no more, with one note; the turn goes on."""
    files = [{"type": "AGENT_EVENT_SEND_FILE", "path": f"{number}"} for number in range(100)]
    async with talk(max_files=3) as here:
        here.peer.faults.script(Fault(stage="answer", act=sends(*files, chunk(" done"), END)))
        events, failure = await here.ask()
    assert failure is None
    assert [event.path for event in events if isinstance(event, File)] == ["0", "1", "2"]
    assert text(events) == words.note(words.TOO_MANY_FILES) + " done"
    assert isinstance(events[-1], End)


async def test_questions_without_end():
    """An agent that asks and asks is given up."""
    asks = [{"type": "AGENT_EVENT_CONFIRM", "id": number, "text": "?"} for number in range(200)]
    async with talk() as here:
        here.peer.faults.script(Fault(stage="answer", act=sends(*asks, END)))
        events, failure = await here.ask()
    assert len(events) == 100
    assert failure is not None
    assert failure.code == "AGENT_PROTOCOL"


@pytest.mark.parametrize(
    "fault", ["compressed-bomb", "upgrade-deflate", "oversized", "oversized-pieces", "promises-much"]
)
async def test_a_bomb_is_refused_before_it_is_unpacked(fault: str):
    """Compression is never agreed to, also where the agent says it was; sizes count before there is anything."""
    async with talk() as here:
        here.peer.faults.script(fault)
        events, failure = await here.ask()
    assert text(events) == "half an "
    assert failure is not None
    assert failure.code == "AGENT_PROTOCOL"


@pytest.mark.parametrize("fault", ["upgrade-bomb", "upgrade-headers"])
async def test_a_refused_upgrade_is_not_read(fault: str):
    """What stands in the answer to an upgrade is neither unpacked nor kept."""
    async with talk(connect_timeout_s=5) as here:
        here.peer.faults.script(fault)
        assert await here.code() == "AGENT_UNREACHABLE"


async def test_a_machine_that_vanished_is_noticed():
    """TCP asks after a silent agent, and gives up after a minute; an idle connection doesn't notice by itself."""
    async with talk() as here:
        assert await here.code() == ""
        (kept,) = here.transport._connections.values()
        below = kept._socket.get_extra_info("socket")
        assert below.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, times = (
            below.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * times <= 60
