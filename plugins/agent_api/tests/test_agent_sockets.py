"""Sockets are kept, shared out and closed as the spec agent-api says (Connections), also when they go wrong."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from surfaces_agent_api.connection import CLOSE_TIMEOUT_S
from surfaces_agent_api.failures import CUT_OFF, Ending
from surfaces_agent_api.inflow import Inflow
from surfaces_agent_api.reference.behaviours import text_chunk
from surfaces_agent_api.reference.faults import END, STATUS, Act, Fault, Wire, drop, in_turn, sends
from surfaces_core import Confirm, End, Rejected, Text, Unavailable


def one_by_one(*acts: Act) -> Act:
    """Another act for each turn, over all sockets."""
    left = iter(acts)

    async def act(wire: Wire) -> None:
        await next(left)(wire)

    return act


ANSWER = sends(text_chunk("answer"), END)


async def close(wire: Wire) -> None:
    await wire.socket.close()


async def test_kept(talking: Any):
    """Turns on one context share a socket."""
    async with talking() as talk:
        for number in (1, 2, 3):
            assert (await talk.ask()).text == f"You said: hello. (message {number} in this context)"
        assert (talk.peer.connections, talk.peer.open) == (1, 1)


async def test_kept_only_for_a_while(talking: Any):
    """A quiet socket is closed after its time, and a later turn makes a new one."""
    async with talking(keepalive_s=0.01) as talk:
        await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert (await talk.ask()).ended
        assert talk.peer.connections == 2


async def test_kept_not_at_all(talking: Any):
    """With keepalive 0 every turn has its own socket."""
    async with talking(keepalive_s=0) as talk:
        await talk.ask()
        await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert talk.peer.connections == 2


async def test_busy_is_not_quiet(talking: Any):
    """A turn that lasts longer than the keepalive is not closed by the timer of the turn before."""
    async with talking() as talk:
        await talk.ask()
        request = talk.request("ask me")
        async with aclosing(talk.transport.run(request)) as turn:
            assert isinstance(await anext(turn), Confirm)
            (connection,) = talk.transport._connections.values()
            assert connection._rest_timer.cancelled()
            await talk.transport.answer(request, "1-2", approved=True)
            assert "yes" in "".join([event.text async for event in turn if isinstance(event, Text)])


async def test_forgotten(talking: Any):
    """Forgetting a context closes its socket at once; forgetting an unknown one does nothing."""
    async with talking() as talk:
        await talk.ask(context="1")
        await talk.ask(context="2")
        await talk.transport.forget(talk.agent, "1")
        await talk.transport.forget(talk.agent, "3")
        await talk.peer.until(lambda peer: peer.open == 1)
        assert (await talk.ask(context="2")).ended
        assert talk.peer.connections == 2


@pytest.mark.parametrize("send_message_id", [False, True])
async def test_forgotten_in_a_turn(send_message_id: bool, talking: Any):
    """A turn of a context that is forgotten is cut off and not asked again."""
    async with talking(options={"send_message_id": send_message_id}) as talk:
        await talk.ask()
        request = talk.request("ask me")
        turn = talk.transport.run(request)
        await anext(turn)
        await talk.transport.forget(talk.agent, "1")
        with pytest.raises(Rejected):
            await anext(turn)
        await talk.peer.until(lambda peer: peer.open == 0)
        assert len(talk.sent("USER_MESSAGE")) == 2


async def test_closed_on_leaving(talking: Any):
    """Leaving the driver closes every socket, and nothing more can be asked."""
    async with talking() as talk:
        for context in "123":
            await talk.ask(context=context)
        await talk.transport.__aexit__(None, None, None)
        await talk.peer.until(lambda peer: peer.open == 0)
        assert isinstance((await talk.ask()).failure, Unavailable)


async def test_contexts_side_by_side(talking: Any):
    """A context that waits for a person holds up no other, and each has its own memory."""
    async with talking() as talk:
        request = talk.request("ask me", "1")
        async with aclosing(talk.transport.run(request)) as waiting:
            await anext(waiting)
            assert (await talk.ask("what did I say?", "2")).text == "You have said nothing yet."
            await talk.transport.answer(request, "1-1", approved=False)
            assert "no" in (await anext(waiting)).text
        assert talk.peer.connections == 2


async def test_turns_of_a_context_wait(talking: Any):
    """A turn is sent when the one before it in its context is over."""
    async with talking() as talk, asyncio.TaskGroup() as group:
        first = talk.request("ask me")
        async with aclosing(talk.transport.run(first)) as turn:
            await anext(turn)
            second = group.create_task(talk.ask())
            assert (await talk.ask(context="2")).ended  # by then the second could have been sent too
            await talk.transport.answer(first, "1-1", approved=True)
            assert isinstance([event async for event in turn][-1], End)
        assert (await second).ended
        order = [got.frame["type"] for got in talk.peer.received if got.context == "1"]
    assert order == ["USER_MESSAGE", "CONFIRM_RESULT", "USER_MESSAGE"]


async def test_moved(talking: Any):
    """When the registry gives an agent another address, the next turn goes there."""
    async with talking() as talk, talking() as new:
        await talk.ask()
        assert (await talk.ask(agent=replace(talk.agent, options={"base_url": new.peer.base_url}))).ended
        await talk.peer.until(lambda peer: peer.open == 0)
        assert new.peer.connections == 1


# Stale sockets


@pytest.mark.parametrize("end", [close, drop])
async def test_closed_between_turns(end: Act, talking: Any):
    """A kept socket that the agent closed meanwhile is replaced, and nobody notices."""
    async with talking(Fault(answer=one_by_one(in_turn(ANSWER, end), ANSWER))) as talk:
        assert (await talk.ask()).ended
        assert (await talk.ask()).ended
        assert talk.peer.connections == 2


async def test_lost_with_the_question(talking: Any):
    """A kept socket that is lost when the agent may have the question is a cut: it is not asked twice."""
    async with talking(Fault(answer=one_by_one(ANSWER, drop))) as talk:
        await talk.ask()
        heard = await talk.ask()
        assert len(talk.sent("USER_MESSAGE")) == 2
    assert isinstance(heard.failure, Rejected)
    assert heard.code == "AGENT_CUT_OFF"


async def test_lost_with_the_question_and_id(talking: Any):
    """An agent that takes message ids is asked once more, with the same id."""
    fault = Fault(answer=one_by_one(ANSWER, drop, ANSWER))
    async with talking(fault, options={"send_message_id": True}) as talk:
        await talk.ask()
        heard = await talk.ask()
        ids = [frame["message_id"] for frame in talk.sent("USER_MESSAGE")]
    assert (heard.text, heard.ended) == ("answer", True)
    assert len(ids) == 3
    assert ids[1] == ids[2] != ids[0]


async def test_lost_twice(talking: Any):
    """It is asked once more only once."""
    fault = Fault(answer=one_by_one(ANSWER, drop, drop))
    async with talking(fault, options={"send_message_id": True}) as talk:
        await talk.ask()
        assert (await talk.ask()).code == "AGENT_CUT_OFF"


async def test_lost_for_good(talking: Any):
    """A question that the agent may have seen is never `Unavailable`, even when the agent is gone now."""

    async def go_away(wire: Wire) -> None:
        talk.peer.fault = Fault(status=503)
        await drop(wire)

    fault = Fault(answer=one_by_one(ANSWER, go_away))
    async with talking(fault, options={"send_message_id": True}) as talk:
        await talk.ask()
        heard = await talk.ask()
    assert isinstance(heard.failure, Rejected)
    assert heard.code == "AGENT_CUT_OFF"


async def test_lost_in_the_answer(talking: Any):
    """When some of the answer came, it is not asked again even with ids: the text would come twice."""
    fault = Fault(answer=one_by_one(ANSWER, in_turn(sends(text_chunk("half")), drop), ANSWER))
    async with talking(fault, options={"send_message_id": True}) as talk:
        await talk.ask()
        heard = await talk.ask()
    assert (heard.text, heard.code) == ("half", "AGENT_CUT_OFF")


@pytest.mark.parametrize("how", ["silent", "forgotten"])
async def test_asked_again_only_when_lost(how: str, talking: Any):
    """A question is not asked again because the agent is slow or this side closed the socket."""
    heard_it = asyncio.Event()

    async def wait(wire: Wire) -> None:
        heard_it.set()

    fault = Fault(answer=one_by_one(ANSWER, wait, ANSWER))
    settings = {"idle_timeout_s": 0.3} if how == "silent" else {}
    async with talking(fault, options={"send_message_id": True}, **settings) as talk, asyncio.TaskGroup() as group:
        await talk.ask()
        second = group.create_task(talk.ask())
        await heard_it.wait()
        if how == "forgotten":
            await talk.transport.forget(talk.agent, "1")
        assert (await second).code == {"silent": "AGENT_TIMEOUT", "forgotten": "AGENT_CLOSED"}[how]
        assert len(talk.sent("USER_MESSAGE")) == 2


async def test_deaf(talking: Any):
    """An agent that answers no pings gets new sockets, and is not waited for twice."""
    async with talking("deaf", status_timeout_s=0.3) as talk:
        for _ in range(4):
            assert (await talk.ask()).ended
        assert talk.peer.connections == 4
        await talk.peer.until(lambda peer: peer.open == 0)


# What belongs to another turn


async def test_late_leftovers(talking: Any):
    """What an agent sends after END, just before the next question, is not in the next answer."""
    gate, sent = asyncio.Event(), asyncio.Event()

    async def late(wire: Wire) -> None:
        await ANSWER(wire)
        await gate.wait()
        await sends(text_chunk("leftover"), END)(wire)
        sent.set()

    async with talking(Fault(answer=one_by_one(late, ANSWER))) as talk:
        assert (await talk.ask()).text == "answer"
        gate.set()
        await sent.wait()
        assert (await talk.ask()).events == [Text("answer"), End()]
        assert talk.peer.connections == 1


async def test_talks_on_between_turns(talking: Any):
    """A socket on which an agent goes on talking is given up."""

    async def talk_on(wire: Wire) -> None:
        await ANSWER(wire)
        while True:
            await wire.socket.send_json(text_chunk("leftover"))

    async with talking(Fault(answer=one_by_one(talk_on, ANSWER))) as talk:
        await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert (await talk.ask()).text == "answer"


async def test_nonsense_between_turns(talking: Any):
    """A kept socket on which the protocol is broken is closed."""

    async def nonsense(wire: Wire) -> None:
        await ANSWER(wire)
        await wire.socket.send_bytes(b"nonsense")

    async with talking(Fault(answer=one_by_one(nonsense, ANSWER))) as talk:
        await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert (await talk.ask()).ended


@pytest.mark.parametrize("how", ["closed", "cancelled", "failed"])
async def test_unfinished(how: str, talking: Any):
    """The socket of a turn that did not end well is not used again."""
    gate = asyncio.Event()

    async def fail(wire: Wire) -> None:
        await gate.wait()
        await sends({"type": "ERROR"}, text_chunk("leftover"))(wire)

    async with talking(Fault(answer=in_turn(sends(text_chunk("half")), fail))) as talk:
        turn = talk.transport.run(talk.request())
        assert await anext(turn) == Text("half")
        if how == "closed":
            await turn.aclose()
        elif how == "cancelled":
            async with asyncio.TaskGroup() as group:
                task = group.create_task(anext(turn))
                await asyncio.sleep(0)
                task.cancel()
        else:
            gate.set()
            with pytest.raises(Rejected):
                await anext(turn)
        gate.set()
        talk.peer.fault = Fault()
        assert (await talk.ask()).text == "You said: hello. (message 1 in this context)"
        assert talk.peer.connections == 2
        await talk.peer.until(lambda peer: peer.open == 1)
        assert (await talk.ask()).ended
        assert talk.peer.connections == 2


async def test_old_socket_lingers(talking: Any):
    """A socket that takes long to close is not mistaken for the one that came after it."""
    gate = asyncio.Event()

    async def linger(wire: Wire) -> None:
        wire.request.transport.pause_reading()  # type: ignore[union-attr]
        await sends(text_chunk("half"))(wire)
        with suppress(asyncio.CancelledError):  # the agent doesn't let a newer socket end this one
            await gate.wait()
        await gate.wait()
        wire.request.transport.resume_reading()  # type: ignore[union-attr]

    async with talking(Fault(answer=one_by_one(linger, ANSWER, ANSWER, ANSWER))) as talk:
        turn = talk.transport.run(talk.request())
        await anext(turn)
        await turn.aclose()
        assert (await talk.ask()).ended
        gate.set()
        await talk.peer.until(lambda peer: peer.open == 1)
        await talk.ask(context="2")
        assert (await talk.ask()).ended
        assert talk.peer.connections == 3


@pytest.mark.parametrize("supported", [True, False])
async def test_cancel(supported: bool, talking: Any):
    """Closing a turn sends CANCEL where the agent takes it, and closes the socket in any case."""
    async with talking(options={"supports_cancel": supported}) as talk:
        turn = talk.transport.run(talk.request("count to 20000"))
        await anext(turn)
        await turn.aclose()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert talk.sent("CANCEL") == ([{"type": "CANCEL"}] if supported else [])


async def test_no_cancel_without_question(talking: Any):
    """A turn that ended well, or that was never asked, is not cancelled."""
    async with talking(options={"supports_cancel": True}) as talk:
        await talk.ask()
        await talk.transport.forget(talk.agent, "1")
        talk.peer.fault = Fault(greet=sends(text_chunk("no STATUS")))
        assert (await talk.ask()).code == "AGENT_PROTOCOL"
        await talk.peer.until(lambda peer: peer.open == 0)
        assert talk.sent("CANCEL") == []


# Questions


@pytest.mark.parametrize(("approved", "word"), [(True, "yes"), (False, "no")])
async def test_confirm(approved: bool, word: str, talking: Any):
    """The person's decision reaches the agent under the question's id."""
    async with talking() as talk:
        request = talk.request("ask me")
        turn = talk.transport.run(request)
        assert await anext(turn) == Confirm(id="1-1", text="May I go on?", timeout_s=300)
        await talk.transport.answer(request, "1-1", approved)
        assert f"You said {word}" in "".join([event.text async for event in turn if isinstance(event, Text)])
        assert talk.sent("CONFIRM_RESULT") == [{"type": "CONFIRM_RESULT", "id": "1-1", "approved": approved}]


async def test_confirm_id_as_spelled(talking: Any):
    """An id that is a number goes back as a number."""
    fault = Fault(answer=sends({"type": "AGENT_EVENT_CONFIRM", "id": 7, "text": "?"}, END))
    async with talking(fault) as talk:
        request = talk.request()
        turn = talk.transport.run(request)
        assert await anext(turn) == Confirm(id="7", text="?")
        await talk.transport.answer(request, "7", approved=True)
        assert [End()] == [event async for event in turn]
        await talk.peer.until(lambda peer: len(peer.received) == 2)
        assert talk.sent("CONFIRM_RESULT")[0]["id"] == 7


async def test_confirm_too_late(talking: Any):
    """An answer to a question that is answered, unknown or over is Rejected."""
    async with talking() as talk:
        request = talk.request("ask me")
        turn = talk.transport.run(request)
        await anext(turn)
        await talk.transport.answer(request, "1-1", approved=True)
        for question in ("1-1", "other"):
            with pytest.raises(Rejected):
                await talk.transport.answer(request, question, approved=True)
        with pytest.raises(Rejected):
            await talk.transport.answer(talk.request("ask me"), "1-1", approved=True)
        assert [event async for event in turn][-1] == End()
        with pytest.raises(Rejected):
            await talk.transport.answer(request, "1-1", approved=True)


async def test_confirm_on_a_lost_socket(talking: Any):
    """A decision that can no longer reach the agent is Rejected as a cut."""
    ask = sends({"type": "AGENT_EVENT_CONFIRM", "id": "q", "text": "?"})
    async with talking(Fault(answer=in_turn(ask, close))) as talk:
        request = talk.request()
        turn = talk.transport.run(request)
        await anext(turn)
        await talk.peer.until(lambda peer: peer.open == 0)
        with pytest.raises(Rejected) as raised:
            await talk.transport.answer(request, "q", approved=True)
        await turn.aclose()
    assert raised.value.code == "AGENT_CUT_OFF"


async def test_pings_while_a_person_thinks(talking: Any):
    """An agent's pings are answered while its question waits, so that it doesn't give up."""
    answers: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await socket.send_json(STATUS)
        await socket.receive()
        await socket.send_json({"type": "AGENT_EVENT_CONFIRM", "id": "q", "text": "?"})
        await socket.ping(b"still there?")
        answers.put_nowait(await socket.receive())
        return socket

    app = web.Application()
    app.router.add_get("/v1/agent_ws/1/", serve)
    async with talking() as talk, TestServer(app) as server:
        agent = replace(talk.agent, options={"base_url": str(server.make_url("/"))})
        async with aclosing(talk.transport.run(talk.request(agent=agent))) as turn:
            assert isinstance(await anext(turn), Confirm)
            answer = await answers.get()
    assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"still there?")


async def test_goodbye_that_is_not_answered(talking: Any):
    """An agent that doesn't answer a close, or reads nothing, is dropped soon."""
    left = asyncio.Event()

    async def ignore(wire: Wire) -> None:
        await ANSWER(wire)
        wire.request.transport.pause_reading()  # type: ignore[union-attr]
        await left.wait()
        wire.request.transport.resume_reading()  # type: ignore[union-attr]

    async with talking(Fault(answer=ignore)) as talk:
        await talk.ask()
        async with asyncio.timeout(10 * CLOSE_TIMEOUT_S):
            await talk.transport.__aexit__(None, None, None)
        left.set()


# Memory


async def test_inflow_waits():
    """A reader waits while a turn is slow; what it holds is bounded."""
    inflow = Inflow(1000)
    put = 0

    async def read() -> None:
        nonlocal put
        while await inflow.put("x" * 300):
            put += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for expected in (3, 6, 9):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert put == expected
            assert await inflow.all() == ["x" * 300] * 3
        inflow.close()


async def test_inflow_ends():
    """What came before the end can still be taken; then there is nothing, at once."""
    inflow = Inflow(1000)
    await inflow.put("a")
    await inflow.put("b")
    inflow.end(Ending(code=CUT_OFF, detail="gone"))
    inflow.end(Ending(code=CUT_OFF, detail="later"))
    assert await inflow.first() == "a"
    assert await inflow.all() == ["b"]
    assert await inflow.all() == []
    assert await inflow.first() is None
    assert inflow.ending == Ending(code=CUT_OFF, detail="gone")


async def test_slow_consumer_holds_the_agent_up(talking: Any):
    """While nobody takes the answer, the agent's frames stay with the agent."""

    async def talk_on(wire: Wire) -> None:
        while True:
            await wire.socket.send_json(text_chunk("x" * 10_000))

    async with talking(Fault(answer=talk_on)) as talk:
        turn = talk.transport.run(talk.request())
        await anext(turn)
        (connection,) = talk.transport._connections.values()
        for _ in range(1000):
            await asyncio.sleep(0)
            assert connection._inflow._size < 100_000
        assert not connection._inflow._room.is_set()
        await turn.aclose()


async def test_nothing_is_left(talking: Any):
    """Contexts that came and went leave nothing behind."""
    async with talking(keepalive_s=0) as talk:
        for context in range(50):
            await talk.ask(context=str(context))
        await talk.peer.until(lambda peer: peer.open == 0)
        assert not talk.transport._turns
        assert len(talk.transport._locks) == 0
        assert len(talk.transport._connections) <= 1  # the last may still be saying goodbye
    assert not talk.transport._connections


async def test_greeting_and_status_again(talking: Any):
    """STATUS comes once for each socket; one that comes again in a turn means nothing."""
    fault = Fault(answer=sends(STATUS, text_chunk("answer"), STATUS, END))
    async with talking(fault) as talk:
        assert (await talk.ask()).events == [Text("answer"), End()]
