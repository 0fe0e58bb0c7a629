"""What a host must survive of an agent: each row of the table in the spec agent-api, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from surfaces_agent_api import words
from surfaces_agent_api.connection import CLOSE_TIMEOUT_S
from surfaces_agent_api.reference.behaviours import text_chunk
from surfaces_agent_api.reference.faults import BAD_FILES, END, FAULTS, HALF, STATUS, Fault, Wire, in_turn, sends
from surfaces_core import End, File, Rejected, Text, Unavailable

INTERNALS = ("127.0.0.1", "ws://", "http", "socket", "frame", "JSON", "AGENT_", "Error", "STATUS")


TABLE = {
    "refuse-upgrade": ("", "AGENT_UNREACHABLE"),
    "refuse-upgrade-404": ("", "AGENT_UNREACHABLE"),
    "no-status": ("", "AGENT_NO_STATUS"),
    "drop-before-status": ("", "AGENT_NO_STATUS"),
    "wrong-first": ("", "AGENT_PROTOCOL"),
    "error-first": ("", "AGENT_ERROR"),
    "error": ("half an ", "AGENT_ERROR"),
    "silent": ("half an ", "AGENT_TIMEOUT"),
    "pings-only": ("half an ", "AGENT_TIMEOUT"),
    "drop-midway": ("half an ", "AGENT_CUT_OFF"),
    "unknown-type": ("half an answer", ""),
    "garbage": ("half an ", "AGENT_PROTOCOL"),
    "not-object": ("half an ", "AGENT_PROTOCOL"),
    "binary": ("half an ", "AGENT_PROTOCOL"),
    "huge-frame": ("half an ", "AGENT_PROTOCOL"),
    "double-end": ("answer", ""),
    "text-after-end": ("answer", ""),
    "empty-end": ("", ""),
    "bad-file": ("answer", ""),
    "deaf": ("You said: hello. (message 1 in this context)", ""),
    "flood": ("0".ljust(100), ""),
}
IMPATIENT = {
    "no-status": {"status_timeout_s": 0.05},
    "silent": {"idle_timeout_s": 0.1},
    "pings-only": {"idle_timeout_s": 0.1},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_table(fault: str, talking: Any):
    """Of every way to misbehave comes the text that was said, and one code; other agents notice nothing."""
    async with talking(fault, **IMPATIENT.get(fault, {})) as talk, talking() as other:
        heard, unharmed = await talk.ask(), await other.ask()
    text, code = TABLE[fault]
    assert (heard.text[:100], heard.code, heard.ended) == (text, code, not code)
    assert unharmed.ended
    assert heard.failure is None or no_internals(heard.failure.public)


def no_internals(sentence: str) -> bool:
    return bool(sentence) and not any(word in sentence for word in INTERNALS)


@pytest.mark.parametrize("fault", ["refuse-upgrade", "refuse-upgrade-404"])
async def test_refused_upgrade(fault: str, talking: Any):
    """An upgrade that is answered with 4xx or 5xx may be tried again later."""
    async with talking(fault) as talk:
        heard = await talk.ask()
    assert isinstance(heard.failure, Unavailable)
    assert (heard.code, heard.events) == ("AGENT_UNREACHABLE", [])
    assert no_internals(heard.failure.public)


async def test_refused_connection(talking: Any):
    """An agent that listens nowhere may be tried again later."""
    async with talking() as talk:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            closed = {"base_url": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
            heard = await talk.ask(agent=replace(talk.agent, options=closed))
    assert isinstance(heard.failure, Unavailable)
    assert (heard.code, heard.events) == ("AGENT_UNREACHABLE", [])
    assert no_internals(heard.failure.public)


async def test_connection_never_answered(talking: Any):
    """An agent that takes the connection and never answers the upgrade is given up on in time."""

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with talking(connect_timeout_s=0.05) as talk, await asyncio.start_server(wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        heard = await talk.ask(agent=replace(talk.agent, options={"base_url": f"http://127.0.0.1:{port}"}))
    assert isinstance(heard.failure, Unavailable)
    assert heard.code == "AGENT_UNREACHABLE"


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..example", "[::1%25x]:1"])
async def test_impossible_host(host: str, talking: Any):
    """A host name that cannot be one is an agent that cannot be reached, not a crash."""
    async with talking() as talk:
        heard = await talk.ask(agent=replace(talk.agent, options={"base_url": f"http://{host}"}))
    assert heard.code == "AGENT_UNREACHABLE"


async def test_retry_after(talking: Any):
    """A refused upgrade says when to try again."""
    async with talking(Fault(status=503, headers={"Retry-After": "7"})) as talk:
        heard = await talk.ask()
    assert isinstance(heard.failure, Unavailable)
    assert heard.failure.retry_after == 7


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect(status: int, talking: Any):
    """A redirect is not followed: the question goes where the registry says or nowhere."""
    async with talking() as elsewhere:
        location = f"{elsewhere.peer.base_url}v1/agent_ws/1/"
        async with talking(Fault(status=status, headers={"Location": location})) as talk:
            heard = await talk.ask()
        assert elsewhere.peer.connections == 0
    assert isinstance(heard.failure, Unavailable)
    assert heard.code == "AGENT_UNREACHABLE"


async def test_no_status(talking: Any):
    """Without STATUS nothing is sent, and the turn may be tried again."""
    async with talking("no-status", status_timeout_s=0.05) as talk:
        heard = await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert talk.peer.received == []
    assert isinstance(heard.failure, Unavailable)
    assert heard.code == "AGENT_NO_STATUS"
    assert no_internals(heard.failure.public)


async def test_drop_before_status(talking: Any):
    """A socket that is gone before STATUS may be tried again."""
    async with talking("drop-before-status") as talk:
        heard = await talk.ask()
    assert isinstance(heard.failure, Unavailable)
    assert heard.code == "AGENT_NO_STATUS"


async def test_closed_with_status(talking: Any):
    """A socket that is closed together with STATUS gets no question, so the turn may be tried again."""

    async def status_and_close(wire: Wire) -> None:
        status = json.dumps(STATUS).encode()
        text, close = bytes([0x81, len(status)]) + status, b"\x88\x02\x03\xe8"  # RFC 6455, section 5.2
        wire.request.transport.write(text + close)  # type: ignore[union-attr]

    async with talking(Fault(greet=status_and_close)) as talk:
        heard = await talk.ask()
        assert talk.peer.received == []
    assert isinstance(heard.failure, Unavailable)
    assert heard.code == "AGENT_UNREACHABLE"


@pytest.mark.parametrize("first", ["no JSON", "[]", "{}", '{"type": "HELLO"}', json.dumps(text_chunk("early"))])
async def test_wrong_first(first: str, talking: Any):
    """Anything but STATUS first breaks the protocol; no question is sent."""
    async with talking(Fault(greet=sends(first))) as talk:
        heard = await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert talk.peer.received == []
    assert isinstance(heard.failure, Rejected)
    assert (heard.code, heard.events) == ("AGENT_PROTOCOL", [])
    assert no_internals(heard.failure.public)


async def test_binary_first(talking: Any):
    """A binary frame instead of STATUS breaks the protocol."""

    async def binary(wire: Wire) -> None:
        await wire.socket.send_bytes(b"STATUS")

    async with talking(Fault(greet=binary)) as talk:
        heard = await talk.ask()
    assert heard.code == "AGENT_PROTOCOL"


async def test_error_first(talking: Any):
    """An ERROR instead of STATUS is shown."""
    async with talking("error-first") as talk:
        heard = await talk.ask()
    assert isinstance(heard.failure, Rejected)
    assert (heard.code, heard.failure.public) == ("AGENT_ERROR", "I am full today.")


async def test_error_in_turn(talking: Any):
    """An ERROR in a turn is shown behind what came, and its socket is not used again."""
    async with talking("error") as talk:
        heard = await talk.ask()
        await talk.ask()
        assert talk.peer.connections == 2
    assert isinstance(heard.failure, Rejected)
    assert (heard.text, heard.failure.public) == ("half an ", "My tools broke.")


@pytest.mark.parametrize(
    ("message", "public"),
    [
        ("", words.ERROR()),
        (None, words.ERROR()),
        (["x"], words.ERROR()),
        ("a\nb\x00\x1b[31mc\ud800", "a b [31mc"),
        ("\u202eevil", "evil"),
        ("x" * 10_000, "x" * 499 + "…"),
    ],
)
async def test_error_message(message: object, public: str, talking: Any):
    """The agent's message is one clean line of bounded length, or a sentence of our own."""
    async with talking(Fault(answer=sends({"type": "ERROR", "message": message}))) as talk:
        heard = await talk.ask()
    assert heard.failure is not None
    assert heard.failure.public == public


@pytest.mark.parametrize("fault", ["silent", "pings-only"])
async def test_silent(fault: str, talking: Any):
    """An agent that says nothing more, pings or not, is given up on; what came is kept."""
    async with talking(fault, idle_timeout_s=0.1) as talk:
        heard = await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
    assert isinstance(heard.failure, Rejected)
    assert (heard.text, heard.code) == ("half an ", "AGENT_TIMEOUT")
    assert no_internals(heard.failure.public)


async def test_meaningless_frames(talking: Any):
    """Frames that mean nothing leave an agent silent, however many there are."""

    async def chatter(wire: Wire) -> None:
        while not wire.socket.closed:
            await wire.socket.send_str('{"type": "HEARTBEAT"}')
            await wire.socket.send_str('{"type": "STATUS"}')
            await asyncio.sleep(0)

    async with talking(Fault(answer=chatter), idle_timeout_s=0.1) as talk:
        heard = await talk.ask()
    assert heard.code == "AGENT_TIMEOUT"


async def test_reads_nothing(talking: Any):
    """An agent that doesn't read a large question is given up on."""
    given_up = asyncio.Event()

    async def stand_still(wire: Wire) -> None:
        await wire.socket.send_json(STATUS)
        wire.request.transport.pause_reading()  # type: ignore[union-attr]
        await given_up.wait()
        wire.request.transport.resume_reading()  # type: ignore[union-attr]

    async with talking(Fault(greet=stand_still), idle_timeout_s=0.1) as talk:
        heard = await talk.ask("x" * (16 << 20))
        given_up.set()
    assert heard.code == "AGENT_TIMEOUT"


async def test_drop_midway(talking: Any):
    """What came before the socket was lost is kept, and the person is told how to go on."""
    async with talking("drop-midway") as talk:
        heard = await talk.ask()
    assert isinstance(heard.failure, Rejected)
    assert (heard.text, heard.code) == ("half an ", "AGENT_CUT_OFF")
    assert "Ask again" in heard.failure.public
    assert no_internals(heard.failure.public)


async def test_closed_midway(talking: Any):
    """A socket that is closed politely in mid-turn is a cut too."""

    async def close(wire: Wire) -> None:
        await wire.socket.close()

    async with talking(Fault(answer=in_turn(sends(HALF), close))) as talk:
        heard = await talk.ask()
    assert (heard.text, heard.code) == ("half an ", "AGENT_CUT_OFF")


async def test_unknown_type(talking: Any):
    """Frames of an unknown type are skipped, and each type is logged once."""
    async with talking("unknown-type") as talk:
        with capture_logs() as logs:
            heard = await talk.ask()
            await talk.ask(context="2")
    assert (heard.text, heard.failure) == ("half an answer", None)
    assert logs == [{"event": "agent.frame_skipped", "type": "MOOD", "log_level": "debug"}]


@pytest.mark.parametrize("fault", ["garbage", "not-object", "binary", "huge-frame"])
async def test_broken_frame(fault: str, talking: Any):
    """A frame that cannot be understood ends the turn and the socket; what came is kept, others go on."""
    async with talking(fault) as talk, talking() as other:
        heard = await talk.ask()
        await talk.peer.until(lambda peer: peer.open == 0)
        assert (await other.ask()).ended
        talk.peer.fault = Fault()
        assert (await talk.ask()).ended
    assert isinstance(heard.failure, Rejected)
    assert (heard.text, heard.code) == ("half an ", "AGENT_PROTOCOL")
    assert no_internals(heard.failure.public)


async def test_frame_limit(talking: Any):
    """A frame of exactly the limit passes, one byte more doesn't."""
    empty = len(json.dumps(text_chunk("")))
    for size, code in ((4096, ""), (4097, "AGENT_PROTOCOL")):
        fault = Fault(answer=sends(text_chunk("x" * (size - empty)), END))
        async with talking(fault, max_frame_bytes=4096) as talk:
            assert (await talk.ask()).code == code


@pytest.mark.parametrize("fault", ["double-end", "text-after-end"])
async def test_after_end(fault: str, talking: Any):
    """What comes after END is ignored, in this turn and in the next ones on the same socket."""
    async with talking(fault) as talk:
        for _ in range(3):
            heard = await talk.ask()
            assert (heard.text, heard.events[-1]) == ("answer", End())
        assert talk.peer.connections == 1


async def test_empty_end(talking: Any):
    """A turn without text gives its end alone; the host says that there was no answer."""
    async with talking("empty-end") as talk:
        assert (await talk.ask()).events == [End()]


async def test_bad_files(talking: Any):
    """Files are passed on as the agent names them, for the files driver to refuse; the turn goes on."""
    async with talking("bad-file") as talk:
        heard = await talk.ask()
    assert heard.events == [*(File(path=path) for path in BAD_FILES), Text("answer"), End()]


async def test_flood(talking: Any):
    """Text is joined and cut at the limit, with one note; the turn ends well."""
    async with talking("flood", max_reply_chars=1000) as talk:
        heard = await talk.ask()
    assert len(heard.text) == 1000 + len(words.note(words.TOO_LONG))
    assert heard.text.endswith(words.note(words.TOO_LONG))
    assert heard.ended
    assert len(heard.events) < 20


async def test_long_answer_goes_on(talking: Any):
    """Behind the cut nothing but text is left out, and text that is left out keeps the turn alive."""
    parts = [text_chunk("x" * 30), text_chunk("y"), {"type": "AGENT_EVENT_SEND_FILE", "path": "a"}, END]
    async with talking(Fault(answer=sends(*parts)), max_reply_chars=10) as talk:
        heard = await talk.ask()
    assert heard.events == [Text("x" * 10 + words.note(words.TOO_LONG)), File(path="a"), End()]


async def test_close_while_flooded(talking: Any):
    """Stopping an agent that talks on and never hears the goodbye takes no longer than that may."""

    async def talk_on(wire: Wire) -> None:
        wire.request.transport.pause_reading()  # type: ignore[union-attr]
        try:
            while True:
                await wire.socket.send_json(text_chunk("x" * 1000))
                await asyncio.sleep(0.001)
        finally:
            wire.request.transport.resume_reading()  # type: ignore[union-attr]

    async with talking(Fault(answer=talk_on)) as talk:
        turn = talk.transport.run(talk.request())
        await anext(turn)
        await turn.aclose()
        async with asyncio.timeout(10 * CLOSE_TIMEOUT_S):
            await talk.peer.until(lambda peer: peer.open == 0)


async def test_slow_is_not_silent(talking: Any):
    """A turn may take longer than the time that an agent may be silent, also when its text is cut."""

    async def drip(wire: Wire) -> None:
        for _ in range(4):
            await sends(text_chunk("drop "))(wire)
            await asyncio.sleep(0.3)
        await sends(END)(wire)

    async with talking(Fault(answer=drip), idle_timeout_s=1, max_reply_chars=5) as talk:
        heard = await talk.ask()
    assert (heard.text, heard.ended) == ("drop " + words.note(words.TOO_LONG), True)
