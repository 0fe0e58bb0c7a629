"""What a supervisor can ask the host over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError

from surfaces_core import Unavailable
from surfaces_core._engine.ops import OpsSettings, serving
from surfaces_core.testing.bot import TestBot


async def ask(port: int, request: str) -> tuple[int, Any]:
    """Status and body of one raw request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body) if body else None


async def test_live_and_ready_follow_the_host() -> None:
    """Before the first exchange it is not ready, then it is, and not while the messenger is away."""
    bot = TestBot()
    engine = bot.build()
    async with serving(OpsSettings(listen="127.0.0.1:0"), engine.facts) as port:
        assert await ask(port, "GET /livez HTTP/1.1\r\n\r\n") == (200, {"live": True})
        status, facts = await ask(port, "GET /readyz?x=1 HTTP/1.1\r\n\r\n")
        assert (status, facts["ready"]) == (503, False)
    async with bot.running(), serving(OpsSettings(listen="127.0.0.1:0"), bot.engine.facts) as port:
        status, facts = await ask(port, "GET /readyz HTTP/1.1\r\n\r\n")
        assert (status, facts["surfaces"]) == (200, {"memory": {"connected": True, "outbox": 0}})
        bot.messenger.faults.append(Unavailable("away", retry_after=0.3))
        await bot.push("hello")
        async with asyncio.timeout(5):
            while bot.engine.deliveries["memory"].trouble is None:  # noqa: ASYNC110 - a gate has no event for this
                await asyncio.sleep(0)
        status, facts = await ask(port, "GET /readyz HTTP/1.1\r\n\r\n")
        assert (status, facts["surfaces"]["memory"]["outbox"]) == (503, 1)
        await bot.pop()


async def test_other_requests_are_refused() -> None:
    """Unknown paths and methods get their status; `HEAD` gets no body."""
    async with serving(OpsSettings(listen="127.0.0.1:0"), lambda: {"ready": True}) as port:
        assert (await ask(port, "GET / HTTP/1.1\r\n\r\n"))[0] == 404
        assert (await ask(port, "POST /livez HTTP/1.1\r\n\r\n"))[0] == 405
        assert await ask(port, "HEAD /livez HTTP/1.1\r\n\r\n") == (200, None)


@pytest.mark.parametrize("listen", ["9400", "localhost", "127.0.0.1:99999", ":1"])
def test_a_wrong_address_is_refused(listen: str) -> None:
    """An address needs both halves."""
    with pytest.raises(ValidationError):
        OpsSettings(listen=listen)
