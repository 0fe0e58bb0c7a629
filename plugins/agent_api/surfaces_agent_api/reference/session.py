"""Owns one socket of the reference agent: the protocol from the agent's side (spec: agent-api)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from surfaces_agent_api.reference.behaviours import Heard, answer
from surfaces_agent_api.reference.faults import Fault, Wire
from surfaces_agent_api.reference.memory import Frame, Memory, RememberedTurn


class Session:
    """Greets, hears messages, answers one after the other."""

    def __init__(
        self,
        *,
        wire: Wire,
        context: str,
        memory: Memory,
        workspace: Path | None,
        words_per_second: float | None,
        fault: Fault,
        received: Callable[[Frame], None],
    ) -> None:
        self._wire = wire
        self._socket: web.WebSocketResponse = wire.socket
        self._context = context
        self._memory = memory
        self._workspace = workspace
        self._pause_s = 1 / words_per_second if words_per_second else 0.0
        self._fault = fault
        self._received = received
        self._turns: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()
        self._questions: dict[str, asyncio.Future[bool]] = {}

    async def run(self) -> None:
        """Serve until the host closes the socket."""
        await self._fault.greet(self._wire)
        async with asyncio.TaskGroup() as turns:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    self._hear(json.loads(message.data), turns)
            self.stop()

    def _hear(self, frame: Frame, turns: asyncio.TaskGroup) -> None:
        self._received(frame)
        match frame.get("type"):
            case "USER_MESSAGE":
                turn = turns.create_task(self._take_turn(frame))
                self._turns.add(turn)
                turn.add_done_callback(self._turns.discard)
            case "CONFIRM_RESULT":
                question = self._question(str(frame["id"]))
                if not question.done():
                    question.set_result(bool(frame["approved"]))
            case "CANCEL":
                self.stop()

    def stop(self) -> None:
        """End what it is answering."""
        for turn in self._turns:
            turn.cancel()

    async def _take_turn(self, frame: Frame) -> None:
        async with self._in_turn:
            try:
                await self._act(frame)
            except ConnectionError:
                return  # the host has gone; what was said is remembered

    async def _act(self, frame: Frame) -> None:
        if self._fault.answer is not None:
            await self._fault.answer(self._wire)
            return
        try:
            await self._answer(frame)
        finally:  # a turn that was cancelled ends too
            await self._send({"type": "AGENT_EVENT_END"})

    async def _answer(self, frame: Frame) -> None:
        memory, message_id = self._memory[self._context], frame.get("message_id")
        turn = memory.hear(frame["text"], message_id)
        await self._memory.save()
        sent: list[Frame] = []
        async for piece in self._pieces(frame, turn):
            await self._send(piece)
            sent.append(piece)
            if piece["type"] == "AGENT_EVENT_TEXT_CHUNK" and self._pause_s:
                await asyncio.sleep(self._pause_s)
        if message_id is not None:
            turn.frames = [piece for piece in sent if piece["type"] != "AGENT_EVENT_CONFIRM"]
            await self._memory.save()

    async def _pieces(self, frame: Frame, turn: RememberedTurn) -> AsyncIterator[Frame]:
        """A new answer, or the one that was given before to the same message."""
        if turn.frames is not None:
            for piece in turn.frames:
                yield piece
            return
        heard = Heard(
            text=frame["text"],
            attachments=frame.get("attachments", []),
            context=self._context,
            number=turn.number,
            earlier=self._memory[self._context].messages[: turn.number - 1],
            workspace=self._workspace,
            confirmed=self._question,
        )
        async for piece in answer(heard):
            yield piece

    def _question(self, question: str) -> asyncio.Future[bool]:
        """Where the answer to a question arrives."""
        return self._questions.setdefault(question, asyncio.get_running_loop().create_future())

    async def _send(self, frame: Frame) -> None:
        await self._socket.send_str(json.dumps(frame))
