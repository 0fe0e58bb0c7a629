"""Owns how the reference agent can misbehave: one table, a row for each fault that a host must survive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from surfaces_agent_api.reference.behaviours import text_chunk

HUGE_CHARS = 5 << 20
FLOOD_FRAMES = 5_000
_BIG_FILE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a fault can do harm with."""

    request: web.Request
    socket: web.WebSocketResponse
    workspace: Path | None


Act = Callable[[Wire], Awaitable[None]]


def sends(*frames: object) -> Act:
    """Send each as it is (text), or as JSON."""

    async def act(wire: Wire) -> None:
        for frame in frames:
            await wire.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    return act


def in_turn(*acts: Act) -> Act:
    """One after the other."""

    async def act(wire: Wire) -> None:
        for each in acts:
            await each(wire)

    return act


async def drop(wire: Wire) -> None:
    """Cut the connection without a goodbye."""
    if wire.request.transport is not None:
        wire.request.transport.abort()


async def send_binary(wire: Wire) -> None:
    await wire.socket.send_bytes(b"\x00\x01")


async def only_ping(wire: Wire) -> None:
    while not wire.socket.closed:
        await wire.socket.ping()
        await asyncio.sleep(0.005)


async def flood(wire: Wire) -> None:
    for number in range(FLOOD_FRAMES):
        await wire.socket.send_json(text_chunk(f"{number:<99} "))
        await asyncio.sleep(0)  # a socket with room doesn't wait, and others live on this loop


async def send_bad_files(wire: Wire) -> None:
    if wire.workspace is not None:
        await asyncio.to_thread(_lay_bad_files, wire.workspace)
    for path in BAD_FILES:
        await wire.socket.send_json({"type": "AGENT_EVENT_SEND_FILE", "path": path})


BAD_FILES = ("missing.txt", "../outside.txt", "folder", "/dev/zero", "link.txt", "big.bin")


def _lay_bad_files(workspace: Path) -> None:
    (workspace / "folder").mkdir(exist_ok=True)
    if not (workspace / "link.txt").is_symlink():
        (workspace / "link.txt").symlink_to("/etc/hostname")
    with (workspace / "big.bin").open("wb") as big:
        big.truncate(_BIG_FILE_BYTES)  # without using the disk


STATUS = {"type": "STATUS"}
END = {"type": "AGENT_EVENT_END"}
HALF = text_chunk("half an ")
_GREETING = sends(STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done otherwise than an agent should."""

    status: int = 0
    """Refuse the upgrade with this HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    greet: Act = _GREETING
    answer: Act | None = None
    """Instead of an answer; None answers as it should."""
    answers_pings: bool = True


FAULTS: Mapping[str, Fault] = {
    "refuse-upgrade": Fault(status=503),
    "refuse-upgrade-404": Fault(status=404),
    "no-status": Fault(greet=sends()),
    "drop-before-status": Fault(greet=drop),
    "wrong-first": Fault(greet=sends(text_chunk("too early"))),
    "error-first": Fault(greet=sends({"type": "ERROR", "code": "FULL", "message": "I am full today."})),
    "error": Fault(answer=sends(HALF, {"type": "ERROR", "code": "OOPS", "message": "My tools broke."})),
    "silent": Fault(answer=sends(HALF)),
    "pings-only": Fault(answer=in_turn(sends(HALF), only_ping)),
    "drop-midway": Fault(answer=in_turn(sends(HALF), drop)),
    "unknown-type": Fault(
        answer=sends({"type": "MOOD", "is": "fine"}, HALF, {"type": "MOOD"}, text_chunk("answer"), END)
    ),
    "garbage": Fault(answer=sends(HALF, '{"type": "AGENT_EVENT_')),
    "not-object": Fault(answer=sends(HALF, '["AGENT_EVENT_END"]')),
    "binary": Fault(answer=in_turn(sends(HALF), send_binary)),
    "huge-frame": Fault(answer=sends(HALF, text_chunk("x" * HUGE_CHARS))),
    "double-end": Fault(answer=sends(text_chunk("answer"), END, END)),
    "text-after-end": Fault(answer=sends(text_chunk("answer"), END, text_chunk("leftover"))),
    "empty-end": Fault(answer=sends(END)),
    "bad-file": Fault(answer=in_turn(send_bad_files, sends(text_chunk("answer"), END))),
    "deaf": Fault(answers_pings=False),
    "flood": Fault(answer=in_turn(flood, sends(END))),
}
"""By the name that `--misbehave` takes."""
