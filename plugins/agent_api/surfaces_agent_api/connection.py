"""Owns one socket to one agent for one context: reads it all the time, sends to it, closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

import aiohttp
from aiohttp import WSCloseCode, WSMsgType

from surfaces_agent_api.failures import CAUGHT, CLOSED, CUT_OFF, PROTOCOL, Ending
from surfaces_agent_api.frames import CANCEL
from surfaces_agent_api.inflow import Inflow
from surfaces_agent_api.pace import Crowd, Pace
from surfaces_agent_api.wire import AgentSocket

CLOSE_TIMEOUT_S = 1.0
"""How long the goodbye to an agent may take before the socket is simply dropped."""
_GOODBYE = WSCloseCode.OK.to_bytes(2)
_LAST = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
_INFLOW_CHARS = 1 << 13
_MAX_STRAYS = 64
"""Frames that nobody asked for, after which a resting socket is not worth keeping."""

Tap = Callable[[str, str], None]
"""Sees every text frame: `"in"` or `"out"`, and the frame."""
Spawn = Callable[[Coroutine[None, None, None]], object]
"""Starts a task in the group of the driver."""


class Connection:
    """A connected socket. `start` reads it from then on, so that pings are answered and closes are seen."""

    def __init__(self, socket: AgentSocket, *, address: str, spawn: Spawn, tap: Tap, crowd: Crowd) -> None:
        self.address = address
        self.retired = False
        """This side has given the socket up."""
        self._socket = socket
        self._spawn = spawn
        self._tap = tap
        self._inflow = Inflow(_INFLOW_CHARS)
        self._pace = Pace(crowd)
        self._left = asyncio.Event()
        """Nobody wants anything of it any more."""
        self._over = asyncio.Event()
        """Nothing comes any more."""
        self._pings = 0
        self._settled = asyncio.Event()
        self._strays = 0
        self._rest_timer: asyncio.TimerHandle | None = None

    def start(self, ended: Callable[[], None]) -> None:
        """Begin to read; `ended` is called once, when the socket is over."""
        self._spawn(self._live(ended))

    # A turn's side

    @property
    def ending(self) -> Ending | None:
        """Why it is over; frames that came before can still be taken."""
        return self._inflow.ending

    @property
    def takes(self) -> bool:
        """What is sent now goes out to the agent, as far as this side can know."""
        return self.ending is None and self._socket.takes

    async def first(self) -> str | None:
        """The next text frame, None when the socket is over."""
        return await self._inflow.first()

    async def frames(self) -> list[str]:
        """The text frames that have come, at least one; none when the socket is over."""
        return await self._inflow.all()

    async def send(self, frame: str) -> None:
        """Send a text frame; waits while the agent doesn't read. Raises the library's errors (`CAUGHT`)."""
        self._tap("out", frame)
        await self._socket.send_str(frame)

    def rest(self, seconds: float) -> None:
        """The turn is over: stay open for so long, and drop what still comes of it."""
        if self.retired:
            return
        self._inflow.close()
        self._strays = 0
        self._rest_timer = asyncio.get_running_loop().call_later(seconds, self.retire)

    async def wake(self, timeout_s: float) -> bool:
        """Make a resting socket ready for a turn; False when it is not to be used any more.

        Nothing in the protocol says which turn a frame belongs to, but frames keep their order: when
        the answer to a ping is here, so is everything the agent had sent before it, and that is dropped.
        It also shows that the agent is alive before it gets the question. Raises `TimeoutError`.
        """
        self._stop_timer()
        self._settled.clear()
        self._pings += 1
        if self.ending is not None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._socket.ping(self._ping)
                await self._settled.wait()
        except aiohttp.ClientError:
            return False
        self._inflow.open()
        return self.ending is None

    def retire(self, *, cancel: bool = False) -> None:
        """Close in the background; `cancel` tells the agent to stop first. More than once does nothing."""
        if self.retired:
            return
        self._inflow.end(Ending(code=CLOSED, detail="closed by this side"))
        self._inflow.close()
        self._retire(cancel=cancel)

    def _retire(self, *, cancel: bool) -> None:
        self.retired = True
        self._stop_timer()
        self._settled.set()
        self._left.set()
        self._spawn(self._part(cancel=cancel))

    def _stop_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()

    @property
    def _ping(self) -> bytes:
        return str(self._pings).encode()

    # The reader's side

    async def _live(self, ended: Callable[[], None]) -> None:
        try:
            await self._read()
        except CAUGHT as error:  # answering a ping on a socket that has just gone
            self._inflow.end(Ending(code=CUT_OFF, detail=f"{type(error).__name__}: {error}"))
        finally:
            self._over.set()
            self._settled.set()
            self._stop_timer()
            ended()
            if not self.retired:
                self.retired = True
                await self._part(cancel=False)

    async def _read(self) -> None:
        """Read until the socket is over; what comes when nobody wants it any more is dropped."""
        while (message := await self._socket.receive()).type not in _LAST:
            await self._pace.spend(_size(message), self._left)
            if self.ending is None:
                await self._hear(message)
        self._inflow.end(_ending(message, self._socket.close_code))

    async def _hear(self, message: aiohttp.WSMessage) -> None:
        match message.type:
            case WSMsgType.TEXT:
                await self._take(message.data)
            case WSMsgType.PING:
                await self._socket.pong(message.data)
            case WSMsgType.PONG:
                if bytes(message.data) == self._ping:
                    self._settled.set()
            case _:
                self._inflow.end(Ending(code=PROTOCOL, detail="a binary frame"))
                self._retire(cancel=False)

    async def _take(self, frame: str) -> None:
        self._tap("in", frame)
        if await self._inflow.put(frame):
            return
        self._strays += 1
        if self._strays > _MAX_STRAYS:
            self.retire()

    async def _part(self, *, cancel: bool) -> None:
        """Say goodbye, but never wait long for an agent that goes on talking or doesn't read."""
        with suppress(*CAUGHT):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if cancel:
                    await self.send(CANCEL)
                await self._socket.send_frame(_GOODBYE, WSMsgType.CLOSE)
                await self._over.wait()
        self._socket.drop()


def _size(message: aiohttp.WSMessage) -> int:
    return len(message.data) if isinstance(message.data, str | bytes | bytearray) else 0


def _ending(message: aiohttp.WSMessage, close_code: int | None) -> Ending:
    if message.type is WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
        return Ending(code=PROTOCOL, detail=f"WebSocket: {message.data}")
    if message.type is WSMsgType.ERROR:
        return Ending(code=CUT_OFF, detail=f"{type(message.data).__name__}: {message.data}")
    return Ending(code=CUT_OFF, detail=f"closed with code {close_code}")
