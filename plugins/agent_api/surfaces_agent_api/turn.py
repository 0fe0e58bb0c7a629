"""Owns one turn on a connected socket: the frames of an agent become the events of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

from surfaces_agent_api import failures, words
from surfaces_agent_api.connection import Connection
from surfaces_agent_api.frames import (
    BadFrame,
    Failed,
    Question,
    Status,
    Unknown,
    confirm_result,
    read_frame,
    user_message,
)
from surfaces_agent_api.patience import Patience
from surfaces_agent_api.reply import Reply, joined
from surfaces_agent_api.settings import AgentApiSettings
from surfaces_core import AgentEvent, AgentRequest, Confirm, DriverError, End, File, Rejected, Text

UnknownType = Callable[[str], None]
_MAX_QUESTIONS = 100
"""Each is a message to the person."""


class Turn:
    """One request and what comes back of it, on one socket."""

    def __init__(
        self, request: AgentRequest, connection: Connection, settings: AgentApiSettings, unknown_type: UnknownType
    ) -> None:
        self.request = request
        self.connection = connection
        self.came = False
        """Something of the answer was passed on."""
        self.ended = False
        self._settings = settings
        self._unknown_type = unknown_type
        self._reply = Reply(settings.max_reply_chars)
        self._files = 0
        self._asked = 0
        self._questions: dict[str, str | int] = {}
        self._heard = False
        """The last frames held one that means something; others leave an agent silent."""

    async def run(self, *, with_id: bool) -> AsyncGenerator[AgentEvent, None]:
        """Ask, then yield what comes until `End`. Raises `Rejected`, or `Unavailable` while nothing was sent."""
        if not self.connection.takes:  # whoever finds that out by sending doesn't know what was sent
            raise failures.unavailable(failures.UNREACHABLE, "closed before it was asked anything")
        await self._send(user_message(self.request, with_id=with_id))
        loop = asyncio.get_running_loop()
        patience = Patience(idle_s=self._settings.idle_timeout_s, turn_s=self._settings.turn_timeout_s)
        while True:
            frames = await self._frames(patience)
            self._heard = False
            events: Iterator[AgentEvent | DriverError] = joined(self._events(frames))
            for event in events:
                if isinstance(event, DriverError):
                    raise event
                self.came = True
                self.ended = isinstance(event, End)
                gave = loop.time()
                yield event
                patience.stood_still(gave)
                if self.ended:
                    return
            if self._heard:
                patience.heard()

    async def answer(self, question: str, approved: bool) -> None:
        """Answer a question of this turn. Raises `Rejected`."""
        wire_id = self._questions.pop(question, None)
        if wire_id is None:
            raise failures.rejected(failures.NOT_ASKED, "no such question in this turn")
        await self._send(confirm_result(wire_id, approved))

    async def _send(self, frame: str) -> None:
        try:
            async with asyncio.timeout(self._settings.idle_timeout_s):
                await self.connection.send(frame)
        except failures.CAUGHT as error:
            raise failures.translate(error, asked=True) from error

    async def _frames(self, patience: Patience) -> Sequence[str]:
        try:
            async with asyncio.timeout_at(patience.ends):
                frames = await self.connection.frames()
        except TimeoutError:
            raise patience.failure() from None
        if patience.over:  # a flood may leave no gap in which a timer could strike
            raise patience.failure()
        ending = self.connection.ending
        if not frames and ending is not None:
            raise failures.rejected(ending.code, ending.detail)
        return frames

    def _events(self, frames: Sequence[str]) -> Iterator[AgentEvent | DriverError]:
        """What the frames mean; each is read when its turn comes, so nothing behind the end is."""
        for frame in frames:
            event = self._event(frame)
            if event is not None:
                self._heard = True
                yield event

    def _event(self, raw: str) -> AgentEvent | Rejected | None:
        try:
            frame = read_frame(raw)
        except BadFrame as error:
            return failures.rejected(failures.PROTOCOL, str(error))
        match frame:
            case Failed(code=code, message=message):
                return failures.rejected(failures.ERROR, f"the agent's code: {code or 'none'}", message)
            case Question(event=event, wire_id=wire_id):
                return self._question(event, wire_id)
            case Unknown(kind):
                self._unknown_type(kind)
                return None
            case Status():
                return None
            case Text(text):
                return Text(self._reply.take(text))
            case File():
                return self._file(frame)
            case _:
                return frame

    def _question(self, event: Confirm, wire_id: str | int) -> Confirm | Rejected:
        self._asked += 1
        if self._asked > _MAX_QUESTIONS:
            return failures.rejected(failures.PROTOCOL, f"more than {_MAX_QUESTIONS} questions in a turn")
        self._questions[event.id] = wire_id
        return event

    def _file(self, event: File) -> File | Text:
        """The file, or once a note that there were too many, or nothing."""
        self._files += 1
        if self._files <= self._settings.max_files:
            return event
        return Text(words.note(words.TOO_MANY_FILES) if self._files == self._settings.max_files + 1 else "")
