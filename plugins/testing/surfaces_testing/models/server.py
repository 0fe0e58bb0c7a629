"""`ModelServer`: the whole of it, as tests hold it in their hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from surfaces_testing.models import wire
from surfaces_testing.models.faults import ModelFault
from surfaces_testing.models.record import Asked, Record
from surfaces_testing.models.replies import Brain, Reply, remembers

GARBAGE = b'data: {"choices": [{"delta": \n\n'
MODELS = ("small", "large")


class ModelServer:
    """A provider on loopback, for as long as its `async with` block.

    It answers as `brain` says. `faults` are taken one for each request, oldest first; None among them
    lets one go well. With `key` set, requests must name it.
    """

    def __init__(self, *, brain: Brain = remembers, key: str = "", port: int = 0) -> None:
        self.brain = brain
        self.key = key
        self.port = port
        self.record = Record()
        self.faults: list[ModelFault | None] = []
        self._news = asyncio.Event()
        app = web.Application(client_max_size=1 << 26)
        for prefix in ("", "/v1"):
            app.router.add_post(f"{prefix}/chat/completions", self._openai)
            app.router.add_get(f"{prefix}/models", self._list)
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_post("/v1beta/models/{call}", self._gemini)
        app.router.add_get("/v1beta/models", self._list)
        # who hangs up cancels what answers them, and so is noticed
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        """Where it serves, without a path: what Anthropic's and Gemini's clients are to be told."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What OpenAI's client is to be told."""
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def until_asked(self, times: int = 1, timeout_s: float = 5.0) -> Asked:
        """Wait until so many requests have come; the last of them. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while len(self.record.asked) < times:
                self._news.clear()
                await self._news.wait()
        return self.record.asked[times - 1]

    # The ways of speaking -------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.record.listed += 1
        if self._is_stranger(request):
            return _error(ModelFault(status=401, code="invalid_api_key"))
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in MODELS]
        return web.json_response({"object": "list", "data": models})

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)

        def events(reply: Reply) -> Iterator[wire.Json | None]:
            usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
            return wire.openai_events(asked.model, reply, usage=usage)

        return await self._answer(request, asked, events, last=b"data: [DONE]\n\n")

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        return await self._answer(request, asked, lambda reply: wire.anthropic_events(asked.model, reply), named=True)

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        asked = await self._asked(request)
        return await self._answer(request, asked, lambda reply: wire.gemini_events(asked.model, reply))

    # One answer -----------------------------------------------------------------------------------

    async def _asked(self, request: web.Request) -> Asked:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(path=request.path, headers=headers, body=await request.json())
        self.record.asked.append(asked)
        self._news.set()
        return asked

    def _is_stranger(self, request: web.Request) -> bool:
        given = {
            request.headers.get("Authorization", "").removeprefix("Bearer "),
            request.headers.get("x-api-key", ""),
            request.headers.get("x-goog-api-key", ""),
        }
        return bool(self.key) and self.key not in given

    async def _answer(
        self, request: web.Request, asked: Asked, events: Any, *, named: bool = False, last: bytes = b""
    ) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else None
        if self._is_stranger(request):
            return _error(ModelFault(status=401, code="invalid_api_key"))
        try:
            if fault is not None and fault.status:
                return _error(fault)
            if fault is not None and fault.pieces is None:
                await _happen(request, fault)
            reply = self.brain(asked)
            if not (asked.body.get("stream") or "Generate" in request.path):
                asked.answered = True
                return web.json_response(wire.openai_whole(asked.model, reply))
            return await self._stream(request, asked, fault, events(reply), named=named, last=last)
        except (asyncio.CancelledError, ConnectionResetError):
            asked.hung_up.set()
            raise

    async def _stream(
        self,
        request: web.Request,
        asked: Asked,
        fault: ModelFault | None,
        events: Iterator[wire.Json | None],
        *,
        named: bool,
        last: bytes,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        pieces = 0
        for event in events:
            if event is not None:
                await response.write(_framed(event, named=named))
                continue
            if fault is not None and fault.pieces == pieces:
                if fault.ends:
                    return response
                if fault.garbled or fault.error:
                    problem = {"error": {"message": "it broke", "type": "server_error", "code": fault.code or None}}
                    await response.write(GARBAGE if fault.garbled else _framed(problem, named=False))
                    return response
                await _happen(request, fault)
            pieces += 1
        await response.write(last)
        asked.answered = True
        return response


def _framed(event: wire.Json, *, named: bool) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


async def _happen(request: web.Request, fault: ModelFault) -> None:
    if fault.gate is not None:
        await fault.gate.wait()
    if fault.cut and request.transport is not None:
        request.transport.abort()
        raise ConnectionResetError("told to")


def _error(fault: ModelFault) -> web.Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    body = {"error": {"message": "told to", "type": fault.code, "param": None, "code": fault.code}}
    return web.json_response(body, status=fault.status, headers=headers)
