"""The HTTP side: finds the endpoint, lets faults have their way, writes down what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from surfaces_testing.homeserver.accounts import Device
from surfaces_testing.homeserver.call import Answer, Call, Route, Routes
from surfaces_testing.homeserver.endpoints import ROUTES
from surfaces_testing.homeserver.errors import MatrixError, missing_token, unknown_token, unrecognized
from surfaces_testing.homeserver.event import MAX_BYTES
from surfaces_testing.homeserver.faults import Wire
from surfaces_testing.homeserver.record import Record, Request
from surfaces_testing.homeserver.schedule import Faults
from surfaces_testing.homeserver.world import World


class Door:
    """The control verbs at a port of their own, where they answer while the homeserver refuses everything."""

    def __init__(self, world: World, control: Routes) -> None:
        self._world = world
        self._control = control
        self._runner: web.ServerRunner

    async def __aenter__(self) -> str:
        self._runner = web.ServerRunner(web.Server(self._serve, request_factory=_request, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        found = self._control.find(http.method, http.rel_url.raw_path)
        return Wire(http).respond(await answered(self._world, found[0] if found else None, await _call(http, (), None)))


class Web:
    """Listens on loopback; can stop listening for a while and come back at the same port."""

    def __init__(self, world: World, record: Record, faults: Faults, control: Routes) -> None:
        self._world = world
        self._record = record
        self._faults = faults
        self._control = control
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def listen(self, port: int = 0) -> None:
        """Begin to answer; port 0 takes a free one."""
        # A client that hangs up ends its long poll, as on Synapse.
        server = web.Server(self._serve, request_factory=_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port or self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        found = ROUTES.find(http.method, http.rel_url.raw_path)
        control = None if found else self._control.find(http.method, http.rel_url.raw_path)
        if control is not None:
            return Wire(http).respond(await answered(self._world, control[0], await _call(http, control[1], None)))
        route, args = found or (None, ())
        device = self._device(http)
        request = self._note(http, route, args, device)
        call = await _call(http, args, device)
        request.body = call.body[:MAX_BYTES].decode("utf-8", "replace")
        response = await self._deliver(http, route, request, call)
        self._world.changes.touch()
        return response

    async def _deliver(
        self, http: web.BaseRequest, route: Route | None, request: Request, call: Call
    ) -> web.StreamResponse:
        fault = self._faults.meets(request)
        if fault is not None:
            request.fault = fault.name
            self._world.changes.touch()
        answer = await answered(self._world, route, call) if fault is None or fault.performs else Answer()
        request.answered_at = time.monotonic()
        wire = Wire(http)
        if fault is not None:
            try:
                response = await fault.deliver(answer, wire)
            except ConnectionError:
                response = wire.cut()  # the client has had enough of it
            request.status = 0 if wire.was_cut else response.status
            return response
        request.status = answer.status
        if request.route == "sync" and answer.status == 200:
            request.next_batch = _next_batch(answer.body)
        return wire.respond(answer)

    def _device(self, http: web.BaseRequest) -> Device | None:
        token = http.headers.get("Authorization", "").removeprefix("Bearer ")
        return self._world.devices.get(token)

    def _note(
        self, http: web.BaseRequest, route: Route | None, args: tuple[str, ...], device: Device | None
    ) -> Request:
        request = Request(
            route=route.name if route is not None else "unknown",
            method=http.method,
            path=http.path,
            at=time.monotonic(),
            user_id=device.user_id if device is not None else "",
            device_id=device.device_id if device is not None else "",
            args=args,
            since=http.query.get("since", http.query.get("from")),
        )
        self._record.requests.append(request)
        self._world.changes.touch()
        return request


async def answered(world: World, route: Route | None, call: Call) -> Answer:
    """What an endpoint says; `M_UNRECOGNIZED` where there is none."""
    try:
        if route is None:
            raise unrecognized()
        if not route.open and call.device is None:
            raise unknown_token() if "Authorization" in call.headers else missing_token()
        content = await route.handler(world, call)
    except MatrixError as error:
        return Answer.error(error)
    return content if isinstance(content, Answer) else Answer.json(content)


def _next_batch(body: bytes) -> str:
    # Found without parsing all of it: this runs for every sync.
    head = b'{"next_batch":"'
    return body[len(head) : body.index(b'"', len(head))].decode()


async def _call(http: web.BaseRequest, args: tuple[str, ...], device: Device | None) -> Call:
    query: Mapping[str, str] = http.query
    return Call(args=args, query=query, body=await http.read(), headers=http.headers, device=device)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    # Sizes are judged by the endpoints, in Matrix's words.
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=0)
