"""Shows people which of their messages wait behind others: by a reaction, which is taken back when one is taken up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pydantic import BaseModel

from surfaces_core import Inbound, Kind, Rejected, Store, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.relations import event_id
from surfaces_matrix.tempo import Tempo

PER_S = 2.0
"""Reactions and their ends of one account, over all rooms; what is taken up before its turn gets none."""
MOST_IN_ROOM = 10
MOST = 1000
TIMEOUT_S = 5.0
PAUSE_S = 30.0
"""A homeserver that fails at this is left alone for so long."""
_ROWS = "waiting/"


class _Mark(BaseModel):
    """A message that waits, or did."""

    event_id: str
    room_id: str
    thread: str
    sent_at: float
    stored: bool = False
    """The reaction may be there."""
    reaction: str = ""
    """Its event, if known."""
    over: bool = False
    """The message waits no more."""

    def ends_with(self, message: Inbound) -> bool:
        """Whether it waits no more when a message is taken up: it is that one, or came earlier in its lane."""
        same = (self.room_id, self.thread) == (message.address.conversation, message.thread)
        return same and (self.event_id == message.event_id or self.sent_at < message.sent_at)


class Waiting:
    """The reactions of one account ("Event annotations and reactions"); `run` is a task that sends them.

    Reactions are not encrypted, in no room. A row is stored before each, so that a later life takes it
    back; its transaction id is made from the message, so that a repeat shows nothing twice.
    """

    def __init__(self, client: Client, store: Store, reaction: str) -> None:
        self._client = client
        self._store = store
        self._key = reaction
        self._tempo = Tempo(PER_S)
        self._marks: dict[str, _Mark] = {}
        """By the message's event id."""
        self._changed = asyncio.Event()

    async def recall(self) -> None:
        """Read which reactions there are, from an earlier life."""
        rows = await self._store.scan(_ROWS)
        marks = map(_Mark.model_validate_json, rows.values())
        self._marks = {mark.event_id: mark for mark in marks}
        self._changed.set()

    def waits(self, message: Inbound) -> None:
        """A message waits behind others."""
        room_id, event = message.address.conversation, event_id(message.event_id)
        if not (self._key and event and message.kind is Kind.MESSAGE) or event in self._marks:
            return
        here = sum(mark.room_id == room_id and not mark.over for mark in self._marks.values())
        if here < MOST_IN_ROOM and len(self._marks) < MOST:
            self._marks[event] = _Mark(event_id=event, room_id=room_id, thread=message.thread, sent_at=message.sent_at)
            self._changed.set()

    def taken_up(self, message: Inbound) -> None:
        """A message waits no more, nor does any that came before it in its lane."""
        for mark in [mark for mark in self._marks.values() if mark.ends_with(message)]:
            mark.over = True
            if not mark.stored:
                del self._marks[mark.event_id]
        self._changed.set()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        while True:
            self._changed.clear()
            mark = next(self._due(), None)
            if mark is None:
                await self._changed.wait()
                continue
            try:
                self._tempo.take()
            except Unavailable as error:
                await asyncio.sleep(error.retry_after or 0.0)
                continue  # it may have been taken up meanwhile
            await self._bring(mark)

    def _due(self) -> Iterator[_Mark]:
        """What is over comes first."""
        yield from (mark for mark in self._marks.values() if mark.over)
        yield from (mark for mark in self._marks.values() if not mark.reaction)

    async def _bring(self, mark: _Mark) -> None:
        """Show what is to show of a message now; what is refused is left."""
        try:
            await (self._take_back(mark) if mark.over else self._react(mark))
        except Unavailable as error:
            self._tempo.failed(error)
            await asyncio.sleep(max(PAUSE_S, error.retry_after or 0.0))
        except Rejected:
            await self._forget(mark)

    async def _react(self, mark: _Mark) -> None:
        mark.stored = True
        await self._keep(mark)
        relation = {"rel_type": "m.annotation", "event_id": mark.event_id, "key": self._key}
        path = quote("v3", "rooms", mark.room_id, "send", "m.reaction", f"waits.{mark.event_id}")
        content = {"m.relates_to": relation}
        answer = await self._client.call("PUT", path, content, timeout_s=TIMEOUT_S, needs="event_id")
        mark.reaction = str(answer["event_id"])
        await self._keep(mark)

    async def _take_back(self, mark: _Mark) -> None:
        if not mark.reaction and self._key:
            await self._react(mark)  # a repeat tells which it is
        if mark.reaction:
            path = quote("v3", "rooms", mark.room_id, "redact", mark.reaction, f"waits.{mark.event_id}.r")
            await self._client.call("PUT", path, {}, timeout_s=TIMEOUT_S)
        await self._forget(mark)

    async def _keep(self, mark: _Mark) -> None:
        await self._store.put(_ROWS + mark.event_id, mark.model_dump_json().encode())

    async def _forget(self, mark: _Mark) -> None:
        self._marks.pop(mark.event_id, None)
        await self._store.delete(_ROWS + mark.event_id)
