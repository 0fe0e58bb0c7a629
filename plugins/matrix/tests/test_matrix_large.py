"""Answers of many megabytes: taken in slices, with others running in between, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from .conftest import ANN, ME, Bot

pytestmark = pytest.mark.slow

LARGE = 90 * 1024 * 1024
FULL = 30 * 1024 * 1024
"""Of one that is full of messages, each of which is worked on."""
LARGEST_SHARE = 0.4
"""Of all the work of the loop that may be done between two of its turns; without slices it is four fifths."""


def message(number: int) -> dict[str, Any]:
    """Something that Ann said."""
    return {
        "type": "m.room.message",
        "event_id": f"${number}",
        "sender": ANN,
        "origin_server_ts": int(time.time() * 1000),
        "content": {"msgtype": "m.text", "body": f"{number} {'x' * 1500}", "format": "org.matrix.custom.html"},
        "unsigned": {"age": 5, "membership": "join"},
    }


def many_messages() -> tuple[bytes, int]:
    """A response full of messages, as from many rooms after a long time away, and how many they are."""
    rooms, size, count = {}, 0, 0
    while size < FULL:
        events = [message(count + number) for number in range(50)]
        rooms[f"!{count}:hs"] = {"timeline": {"events": events, "limited": False, "prev_batch": "p"}}
        size += len(orjson.dumps(events))
        count += len(events)
    return orjson.dumps({"next_batch": "s1", "rooms": {"join": rooms}}), count


def padded() -> tuple[bytes, int]:
    """A response with one message and one enormous value that nobody asked for."""
    rooms = {"!a:hs": {"timeline": {"events": [message(0)]}}}
    return orjson.dumps({"org.example.padding": "x" * LARGE, "next_batch": "s1", "rooms": {"join": rooms}}), 1


def one_room() -> tuple[bytes, int]:
    """A response with a single room that is all of it."""
    events = [message(number) for number in range(FULL // 1700)]
    rooms = {"!a:hs": {"timeline": {"events": events, "limited": False}}}
    return orjson.dumps({"next_batch": "s1", "rooms": {"join": rooms}}), len(events)


class _Homeserver(BaseHTTPRequestHandler):
    """Answers every sync behind the first with the same large response."""

    large = b""
    asked: list[int]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if "since" not in query:
            self._answer({"next_batch": "s0"} if path.endswith("/sync") else {"user_id": ME, "device_id": "D"})
        elif query["since"] == ["s1"]:
            time.sleep(1)
            self._answer({"next_batch": "s1"})
        else:
            self.asked.append(json.loads(query["filter"][0])["room"]["timeline"]["limit"])
            self._send(self.large)

    def _answer(self, body: object) -> None:
        self._send(orjson.dumps(body))

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@contextmanager
def homeserver(large: bytes) -> Iterator[tuple[str, list[int]]]:
    """Its address and the limits that it was asked with; in threads, so that its work is none of the loop's."""
    handler = type("Handler", (_Homeserver,), {"large": large, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
        server.shutdown()


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """The share of the loop's work that it did between two turns, at most: of its own processor time."""
    longest, began = [0.0], time.thread_time()

    async def watch() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest[0], before = max(longest[0], now - before), now

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        yield longest
        watching.cancel()
    longest[0] /= time.thread_time() - began


@pytest.mark.parametrize("make", [many_messages, padded, one_room])
async def test_a_large_sync_is_taken_without_holding_anything_up(make: Any):
    """Less is asked for first; what can't be had smaller is taken as it is, in small slices."""
    large, count = make()
    with homeserver(large) as (url, asked):
        bot = Bot(url, settings={"access_token": "tok1"})
        async with watched() as longest, bot.live(request_timeout_s=600):
            async with asyncio.timeout(600):
                while len(bot.intake.entries) < count:  # noqa: ASYNC110 - the recording gives up too soon for this
                    await asyncio.sleep(0.05)
    sys.stdout.write(f"\n{make.__name__}: {longest[0]:.1%} of the work was done at once\n")
    assert [entry.event_id for entry in bot.intake.entries] == [f"${number}" for number in range(count)]
    assert asked == [100, 10, 1]
    assert longest[0] <= LARGEST_SHARE


async def test_a_large_sync_takes_bounded_memory():
    """Padding is not held more than once, and nothing of it stays."""
    large, _ = padded()
    with homeserver(large) as (url, _):
        bot = Bot(url, settings={"access_token": "tok1"})
        tracemalloc.start()
        async with bot.live(request_timeout_s=600):
            await bot.intake.wait_until(lambda: len(bot.intake.entries) == 1, "the message")
        after, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    sys.stdout.write(f"\n{peak / LARGE:.2f} of its size at the peak, {after / LARGE:.2f} afterwards\n")
    assert peak < 1.5 * LARGE
    assert after < 0.1 * LARGE
