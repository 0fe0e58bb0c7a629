"""What can be made to go wrong with an agent: one table, a row for each way."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from surfaces_testing.agent import floods
from surfaces_testing.agent.memory import END, STATUS, chunk
from surfaces_testing.agent.wire import BINARY, CONTINUATION, TEXT, Wire, encode, head

Act = Callable[[Wire], Awaitable[None]]
Stage = Literal["upgrade", "greet", "answer", "rest"]
"""Instead of agreeing to the upgrade, instead of `STATUS`, instead of an answer, or behind a good answer."""
HALF = chunk("half an ")
OVERSIZED = 5 << 20
BOMB = 1 << 30
"""What a bomb unpacks to, in bytes."""
BAD_FILES = ("missing.txt", "../outside.txt", "folder", "/dev/zero", "pipe", "link.txt", "big.bin")
MARKDOWN = ("*a_" * 2000, "[" * 6000, "`a" * 3000, "> " * 3000, "|a" * 3000 + "\n" + "|-" * 3000, "<b " * 2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done otherwise than an agent should, and when."""

    stage: Stage
    act: Act


# How faults are made ------------------------------------------------------------------------------


def sends(*frames: object) -> Act:
    """Send each as it is (text, bytes for the wire), or as JSON."""

    async def act(wire: Wire) -> None:
        for frame in frames:
            if isinstance(frame, bytes):
                await wire.write(frame)
            else:
                await wire.send(frame)

    return act


def in_turn(*acts: Act) -> Act:
    """One after the other."""

    async def act(wire: Wire) -> None:
        for each in acts:
            await each(wire)

    return act


def half_then(*then: object) -> Act:
    """Half an answer, then frames, bytes or acts."""
    return in_turn(sends(HALF), *(each if callable(each) else sends(each) for each in then))


def trickled(data: bytes, gap_s: float = 0.5) -> Act:
    """A byte now and then, never coming to an end of sense."""

    async def act(wire: Wire) -> None:
        for byte in data:
            await wire.write(bytes([byte]))
            await asyncio.sleep(gap_s)
        await wire.gone.wait()

    return act


def responds(status: int, body: bytes = b"", **headers: str) -> Act:
    """Answer the upgrade with this; underscores in a header's name are dashes."""

    async def act(wire: Wire) -> None:
        await wire.respond(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    return act


async def nothing(wire: Wire) -> None:
    """Leave it at that."""


async def hang(wire: Wire) -> None:
    """Say nothing until the host has gone."""
    await wire.gone.wait()


async def fin(wire: Wire) -> None:
    """End the stream without a goodbye."""
    await wire.end()


async def abort(wire: Wire) -> None:
    """Drop the connection."""
    wire.cut()


async def reset(wire: Wire) -> None:
    """Drop the connection with a reset."""
    wire.cut(reset=True)


async def freeze(wire: Wire) -> None:
    """Be as if the cable were cut: read nothing, say nothing, close nothing."""
    wire.deafen()


def closes(code: int) -> Act:
    """A close frame with this code."""

    async def act(wire: Wire) -> None:
        await wire.close(code)

    return act


async def wrong_accept(wire: Wire) -> None:
    wire.key = "somebody else's"
    await wire.upgrade()


async def agree_and_bomb(wire: Wire) -> None:
    """As if it had been agreed that frames may be compressed."""
    await wire.upgrade(**{"Sec-WebSocket-Extensions": "permessage-deflate"})
    await wire.send(STATUS)
    await wire.asked.wait()
    await half_then(drop_bomb)(wire)
    await wire.gone.wait()


@cache
def bomb(size: int = BOMB) -> bytes:
    """A compressed frame (RFC 7692) that unpacks to a text of so many bytes, in whole MiB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(b"x" * (1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)  # which stands for itself
    return encode((block * (size >> 20)).removesuffix(b"\x00\x00\xff\xff"), TEXT, rsv1=True)


async def drop_bomb(wire: Wire) -> None:
    await wire.write(bomb())


@cache
def packed_page(size: int = BOMB) -> bytes:
    """A body for `Content-Encoding: gzip` that unpacks to so many bytes, in whole MiB."""
    return gzip.compress(b"x" * (1 << 20)) * (size >> 20)


async def page_that_is_a_bomb(wire: Wire) -> None:
    await wire.respond(503, {"Content-Encoding": "gzip"}, packed_page())


def lay_bad_files(workspace: Path) -> None:
    """Put everything into a folder that `bad-files` names and that exists at all."""
    (workspace / "folder").mkdir(exist_ok=True)
    if not (workspace / "pipe").exists():
        os.mkfifo(workspace / "pipe")
    if not (workspace / "link.txt").is_symlink():
        (workspace / "link.txt").symlink_to("/etc/hostname")
    with (workspace / "big.bin").open("wb") as big:
        big.truncate(1 << 40)  # without using the disk


def file(path: str) -> dict[str, str]:
    """A file that is to be sent."""
    return {"type": "AGENT_EVENT_SEND_FILE", "path": path}


def error(message: object, code: str = "OOPS") -> dict[str, object]:
    """The agent gives up."""
    return {"type": "ERROR", "code": code, "message": message}


# The table ----------------------------------------------------------------------------------------

_TALK = chunk("answer")
_UPGRADE: Mapping[str, Act] = {
    "upgrade-404": responds(404),
    "upgrade-429": responds(429, Retry_After="1"),
    "upgrade-500": responds(500),
    "upgrade-503-page": responds(503, b"<html><h1>bad gateway at 10.0.0.7</h1></html>", Content_Type="text/html"),
    "upgrade-200": responds(200, b"hello"),
    "upgrade-redirect": responds(302, Location="http://127.0.0.1:1/v1/agent_ws/1/"),
    "upgrade-never": hang,
    "upgrade-slow": trickled(head(101, {"Upgrade": "websocket"})),
    "upgrade-cut": abort,
    "upgrade-reset": reset,
    "upgrade-garbage": in_turn(sends(b"\x16\x03\x01 this is no HTTP \xff\xfe\r\n\r\n"), hang),
    "upgrade-wrong-accept": in_turn(wrong_accept, hang),
    "upgrade-headers": floods.headers,
    "upgrade-continues": floods.continues,
    "upgrade-deflate": agree_and_bomb,
    "upgrade-bomb": in_turn(page_that_is_a_bomb, hang),
}
_GREET: Mapping[str, Act] = {
    "no-status": nothing,
    "status-slow": trickled(encode(json.dumps(STATUS))),
    "close-first": closes(1013),
    "cut-first": abort,
    "text-first": sends(chunk("too early")),
    "garbage-first": sends("no JSON"),
    "binary-first": sends(encode(b"\x00\x01", BINARY)),
    "error-first": sends(error("I am full today.", code="FULL")),
    "status-and-close": sends(encode(json.dumps(STATUS)) + encode(b"\x03\xe8", 0x8)),
    "status-and-fin": in_turn(sends(STATUS), fin),
}
_BROKEN: Mapping[str, Act] = {
    "broken-json": half_then('{"type": "AGENT_EVENT_'),
    "no-object": half_then('["AGENT_EVENT_END"]'),
    "no-type": half_then('{"text": "AGENT_EVENT_END"}'),
    "text-that-is-none": half_then({"type": "AGENT_EVENT_TEXT_CHUNK", "text": 7}),
    "binary": half_then(encode(b"\x00\x01", BINARY)),
    "oversized": half_then(chunk("x" * OVERSIZED)),
    "oversized-pieces": half_then(
        encode("x" * (OVERSIZED // 2), fin=False), encode("x" * (OVERSIZED // 2), CONTINUATION)
    ),
    "promises-much": half_then(b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
    "bad-utf8": half_then(encode(b'{"type": "\xff\xfe"}')),
    "reserved-bits": half_then(encode(json.dumps(END), rsv1=True)),
    "bad-opcode": half_then(b"\x83\x00"),
    "lone-continuation": half_then(encode("x", CONTINUATION)),
    "deep-json": half_then('{"type": "X", "x": ' + "[" * (1 << 20)),
    "huge-number": half_then('{"type": "AGENT_EVENT_END", "tokens_used": ' + "9" * (1 << 20) + "}"),
    "nan": half_then('{"type": "AGENT_EVENT_CUSTOM_UPDATE", "progress": NaN}'),
    "compressed-bomb": half_then(drop_bomb),
    "compressed-unasked": half_then(encode(zlib.compress(b"x"), rsv1=True)),
}
_CUT: Mapping[str, Act] = {
    "fin": half_then(fin),
    "cut": half_then(abort),
    "reset": half_then(reset),
    "close-1000": half_then(closes(1000)),
    "close-1012": half_then(closes(1012)),
    "close-4000": half_then(closes(4000)),
    "close-1005": half_then(closes(1005)),
    "drop-at-once": abort,
    "close-at-once": closes(1001),
}
_STILL: Mapping[str, Act] = {
    "silent": half_then(hang),
    "silent-at-once": hang,
    "frozen": half_then(freeze, hang),
    "slow-frame": half_then(trickled(encode(json.dumps(chunk("x" * 1000))))),
    "pings": half_then(floods.pings_now_and_then),
}
_ODD: Mapping[str, Act] = {
    "error": half_then(error("My tools broke.")),
    "error-unclean": sends(error("Look\nat\x1b[31m\u202e this.\ud800")),
    "unknown-types": sends({"type": "MOOD", "is": "fine"}, HALF, {"type": "MOOD"}, _TALK, {"type": "\ud800"}, END),
    "second-end": sends(_TALK, END, END),
    "text-after-end": sends(_TALK, END, chunk("leftover"), END),
    "no-text": sends(END),
    "bad-files": sends(*map(file, BAD_FILES), _TALK, END),
    "duplicate-keys": sends('{"type": "ERROR", "type": "AGENT_EVENT_TEXT_CHUNK", "text": "no", "text": "answer"}', END),
    "lone-surrogates": sends('{"type": "AGENT_EVENT_TEXT_CHUNK", "text": "an\\ud800swer\\udfff"}', END),
    "huge-fraction": sends('{"type": "AGENT_EVENT_CUSTOM_UPDATE", "progress": 1e999}', _TALK, END),
    "odd-tokens": sends(_TALK, '{"type": "AGENT_EVENT_END", "tokens_used": -1e400}'),
    "status-again": sends(STATUS, _TALK, STATUS, END),
    "markdown": sends(*(chunk(f"{piece}\n\n") for piece in MARKDOWN), END),
}
_ENDLESS: Mapping[str, Act] = {
    "tiny-chunks": floods.tiny_chunks,
    "text-stream": floods.text_stream,
    "big-frames": floods.big_frames,
    "heavy-json": floods.heavy_json,
    "unknown-flood": floods.unknown_types,
    "progress-flood": floods.progress,
    "tool-flood": floods.tools,
    "ping-flood": floods.pings,
    "ping-flood-deaf": floods.pings_unheard,
    "pong-flood": floods.pongs,
    "empty-pieces-flood": floods.empty_pieces,
    "empty-texts-flood": floods.empty_texts,
    "file-flood": floods.files,
    "question-flood": floods.questions,
    "never-ending": floods.never_ending,
}
_REST: Mapping[str, Act] = {
    "rest-close": closes(1001),
    "rest-cut": abort,
    "rest-reset": reset,
    "rest-frozen": freeze,
    "rest-chatter": floods.tiny_chunks,
    "rest-garbage": sends(encode(b"\x00", BINARY)),
    "rest-pings": floods.pings,
}
FAULTS: Mapping[str, Fault] = {
    **{name: Fault(stage="upgrade", act=act) for name, act in _UPGRADE.items()},
    **{name: Fault(stage="greet", act=act) for name, act in _GREET.items()},
    **{
        name: Fault(stage="answer", act=act)
        for group in (_BROKEN, _CUT, _STILL, _ODD, _ENDLESS)
        for name, act in group.items()
    },
    **{name: Fault(stage="rest", act=act) for name, act in _REST.items()},
}
"""By name."""
ENDLESS = frozenset(_ENDLESS)
"""The names of those that go on until the host has had enough."""
