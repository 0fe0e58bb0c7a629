"""`FakeAgent`: the whole of it, as tests hold it in their hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from surfaces_testing.agent.faults import Fault
from surfaces_testing.agent.memory import STATUS, Memory
from surfaces_testing.agent.record import Connected, Received, Record
from surfaces_testing.agent.schedule import Faults
from surfaces_testing.agent.wire import Json, Wire

_MAX_HEAD = 1 << 16
Watch = Callable[[str, str], None]
"""Told what happens at once, by stage and context: `connected`, `asked`, `said` (each frame of an answer), `ended`."""


class FakeAgent:
    """An agent on loopback, for as long as its `async with` block, that behaves until it is told otherwise.

    It answers `You said: …. (message n in this context)`, and `count to n` by counting; a message id that comes
    again gets the answer that it got before. `record` is everything that came, `faults` what goes wrong.
    `gap_s` is waited between two words.
    """

    def __init__(self, *, port: int = 0, gap_s: float = 0.0) -> None:
        self.record = Record()
        self.faults = Faults()
        self.port = port
        self.gap_s = gap_s
        self.watchers: list[Watch] = []
        self._memory = Memory(self.record.work)
        self._wires: dict[Wire, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        """What the agent registry is to name."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._wires)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        await self._tasks.__aexit__(None, None, None)  # all are done; what ends the block is no matter of theirs

    # What goes wrong as a whole -------------------------------------------------------------------

    async def refuse(self) -> None:
        """Cut all connections and refuse new ones until `accept`: the process is gone. It remembers all the same."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        while self._wires:
            await self._change()

    async def accept(self) -> None:
        """Listen again, at the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connected, "127.0.0.1", self.port, limit=_MAX_HEAD, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def cut(self, context: str | None = None, *, reset: bool = False) -> None:
        """Drop all connections, or those of one context."""
        for wire, task in self._wires.items():
            if context in (None, wire.context):
                wire.cut(reset=reset)
                task.cancel()

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until a condition holds; it is asked again on every change. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._change()

    async def _change(self) -> None:
        self._news.clear()
        await self._news.wait()

    # One connection -------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self._wires[wire] = self._tasks.create_task(self._serve(wire))

    async def _serve(self, wire: Wire) -> None:
        try:
            with suppress(OSError):
                await self._speak(wire)
        finally:
            wire.cut()
            del self._wires[wire]
            self._tell("ended", wire)

    async def _speak(self, wire: Wire) -> None:
        asked = await wire.ask()
        fault = self.faults.next("upgrade", wire.context) if asked else None
        wire.number = len(self.record.connections) + 1
        name = fault[0] if fault else ""
        self.record.connections.append(
            Connected(at=time.monotonic(), context=wire.context, number=wire.number, fault=name)
        )
        self._tell("connected", wire)
        if not asked:
            await wire.write(b"\x15\x03 what do you want?\r\n")
        elif fault is not None:
            await _until_gone(wire, fault[1])
        else:
            await wire.upgrade()
            await self._greet(wire)
            await self._listen(wire)

    async def _greet(self, wire: Wire) -> None:
        fault = self.faults.next("greet", wire.context)
        if fault is None:
            await wire.send(STATUS)
        else:
            await fault[1].act(wire)

    async def _listen(self, wire: Wire) -> None:
        """One question after the other, as the protocol has it; each may be cancelled by the end of the socket."""
        turn: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while (frame := await wire.receive()) is not None:
                kind = frame.get("type")
                fault = self.faults.next("answer", wire.context) if kind == "USER_MESSAGE" else None
                self._note(wire, frame, fault[0] if fault else "")
                if turn is not None and kind in ("USER_MESSAGE", "CANCEL"):
                    turn.cancel()
                if kind == "USER_MESSAGE":
                    turn = group.create_task(self._take_turn(wire, frame, fault[1] if fault else None))
            if turn is not None:
                turn.cancel()

    async def _take_turn(self, wire: Wire, question: Json, fault: Fault | None) -> None:
        with suppress(OSError):  # the host has gone
            if fault is not None:
                await fault.act(wire)
                return
            for frame in self._memory.answer(wire.context, question):
                await wire.send(frame)
                self._tell("said", wire)
                await asyncio.sleep(self.gap_s)
            rest = self.faults.next("rest", wire.context)
            if rest is not None:
                await rest[1].act(wire)

    def _note(self, wire: Wire, frame: Json, fault: str) -> None:
        self.record.frames.append(
            Received(at=time.monotonic(), context=wire.context, connection=wire.number, frame=frame, fault=fault)
        )
        self._tell("asked" if frame.get("type") == "USER_MESSAGE" else "told", wire)

    def _tell(self, what: str, wire: Wire) -> None:
        self._news.set()
        for watch in self.watchers:
            watch(what, wire.context)


async def _until_gone(wire: Wire, fault: Fault) -> None:
    """Play a fault of the upgrade, and notice when the host hangs up meanwhile."""
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(_played(wire, fault))
        while await wire.receive() is not None:
            pass
        playing.cancel()


async def _played(wire: Wire, fault: Fault) -> None:
    with suppress(OSError):
        await fault.act(wire)
        await wire.finish()
