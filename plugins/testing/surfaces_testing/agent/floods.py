"""Agents that do not stop: each goes on until the host has had enough and hangs up."""

from __future__ import annotations

import asyncio
import itertools
import json

from surfaces_testing.agent.memory import chunk
from surfaces_testing.agent.wire import CONTINUATION, PING, PONG, Wire, encode, head

_BLOCK = 1 << 16
"""Bytes that are written at once."""
_TINY = encode(json.dumps(chunk("a")))
MEGABYTES = 200
"""How long the one text is that is not endless."""


async def _endless(wire: Wire, *frames: bytes) -> None:
    once = b"".join(frames)
    block = once * max(1, _BLOCK // len(once))
    while True:
        await wire.write(block)
        await asyncio.sleep(0)  # a socket with room doesn't wait, and others live on this loop


async def headers(wire: Wire) -> None:
    """An answer to the upgrade whose head does not end."""
    await wire.write(head(101, {"Upgrade": "websocket"})[:-2])
    await _endless(wire, b"X-Header: " + b"x" * 1000 + b"\r\n")


async def continues(wire: Wire) -> None:
    """`100 Continue` without end."""
    await _endless(wire, head(100, {}))


async def tiny_chunks(wire: Wire) -> None:
    """Text, a letter at a time, more than ten million of them if the host lets it."""
    await _endless(wire, _TINY)


async def text_stream(wire: Wire) -> None:
    """One text of 200 MB in frames of 64 KiB, and an end if it comes to that."""
    piece = encode(json.dumps(chunk("lorem ipsum " * 5461)))
    for _ in range(MEGABYTES * 16):
        await wire.write(piece)
        await asyncio.sleep(0)
    await wire.send({"type": "AGENT_EVENT_END"})


async def big_frames(wire: Wire) -> None:
    """Frames of nearly 4 MiB, of letters that take four bytes each in memory."""
    await _endless(wire, encode(json.dumps(chunk("\U0001f600" * 1_000_000), ensure_ascii=False)))


async def heavy_json(wire: Wire) -> None:
    """Frames of nearly 4 MiB that make a million objects each."""
    await _endless(wire, encode('{"type": "AGENT_EVENT_CUSTOM_UPDATE", "x": [' + "[]," * 1_390_000 + "[]]}"))


async def unknown_types(wire: Wire) -> None:
    """Frames of ever new types."""
    for number in itertools.count():
        await wire.write(b"".join(encode(json.dumps({"type": f"X{number}-{part}"})) for part in range(500)))
        await asyncio.sleep(0)


async def progress(wire: Wire) -> None:
    """Progress that comes to nothing."""
    one, other = ({"type": "AGENT_EVENT_CUSTOM_UPDATE", "text": f"step {x}", "progress": x / 2} for x in (0, 1))
    await _endless(wire, encode(json.dumps(one)), encode(json.dumps(other)))


async def tools(wire: Wire) -> None:
    """One tool after the other."""
    call = {"type": "AGENT_EVENT_TOOL_CALL_CHUNK", "tool_name": "hammer", "id": "1"}
    await _endless(wire, encode(json.dumps(call)), encode(json.dumps({**call, "type": "AGENT_EVENT_TOOL_RESULT"})))


async def pings(wire: Wire) -> None:
    """Pings as fast as they go; the answers are read."""
    await wire.send(chunk("half an "))
    await _endless(wire, encode(b"", PING))


async def pings_unheard(wire: Wire) -> None:
    """Pings as fast as they go, to which nobody reads the answers."""
    await wire.send(chunk("half an "))
    wire.deafen()
    await _endless(wire, encode(b"", PING))


async def pings_now_and_then(wire: Wire) -> None:
    """Alive, and with nothing to say."""
    while True:
        await wire.write(encode(b"", PING))
        await asyncio.sleep(0.05)


async def pongs(wire: Wire) -> None:
    """Answers to pings that nobody sent."""
    await wire.send(chunk("half an "))
    await _endless(wire, encode(b"", PONG))


async def empty_pieces(wire: Wire) -> None:
    """One message in pieces without content, never whole."""
    await wire.write(encode("", fin=False))
    await _endless(wire, encode(b"", CONTINUATION, fin=False))


async def empty_texts(wire: Wire) -> None:
    """Pieces of an answer without a letter in them."""
    await _endless(wire, encode(json.dumps(chunk(""))))


async def files(wire: Wire) -> None:
    """Files that are not there."""
    await _endless(wire, encode(json.dumps({"type": "AGENT_EVENT_SEND_FILE", "path": "missing.txt"})))


async def questions(wire: Wire) -> None:
    """Questions to the person that nobody could answer in time."""
    for number in itertools.count():
        question = {"type": "AGENT_EVENT_CONFIRM", "id": str(number), "text": "May I?", "timeout_s": 0.001}
        await wire.send(question)
        await asyncio.sleep(0)


async def never_ending(wire: Wire) -> None:
    """An answer that goes on and on at its ease."""
    for number in itertools.count():
        await wire.send(chunk(f"{number} "))
        await asyncio.sleep(0.1)
