"""The messengers of a simulated world: what people said, and what they see."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from proof.simulation.judge import Judge
from proof.simulation.story import Chat, Said
from proof.simulation.trace import HOST, Trace
from surfaces_core.events import Attachment, Binding, Draft, Inbound, Outbound

REMEMBERED = 3000
"""Events that can still be asked for behind the newest that the host has taken."""
KEYS_KEPT_S = 600.0
"""How long a key is recognised after what it said is over."""


@dataclass(slots=True)
class Message:
    """A message of the bot as it shows now."""

    text: str
    final: bool
    version: tuple[int, int] = (0, 0)


@dataclass(kw_only=True, eq=False)
class Messenger:
    """The far side; it outlives the host."""

    name: str
    trace: Trace
    judge: Judge
    now: Callable[[], float]
    chats: dict[str, Chat]
    """By conversation id."""
    on_room: Callable[[Binding], None] = lambda binding: None
    rooms: dict[str, Binding] = field(default_factory=dict)
    inside: dict[str, bool] = field(default_factory=dict)
    """Whether the bot is in a room."""
    away_until: float = 0.0

    def __post_init__(self) -> None:
        self._events: deque[Inbound] = deque()
        self._turns: dict[str, str] = {}
        self._first = 0
        """The position of the first of them."""
        self._news = asyncio.Event()
        self._shown: dict[str, Message] = {}
        self._over: deque[tuple[float, str]] = deque()
        self._refused: set[tuple[str, str]] = set()
        self._gone: set[str] = set()

    @property
    def end(self) -> int:
        """The position behind the newest event."""
        return self._first + len(self._events)

    @property
    def away(self) -> bool:
        """Nobody reaches it now."""
        return self.away_until > self.now()

    # What comes in

    def take(self, message: Inbound, turn: str = "") -> None:
        """Somebody did something, which makes a turn of that name."""
        self._events.append(message)
        self._turns[message.event_id] = turn
        self._news.set()

    async def wait(self, position: int) -> None:
        """Until there is something behind a position."""
        while self.end <= position:
            self._news.clear()
            await self._news.wait()

    def after(self, position: int, most: int) -> list[Inbound]:
        """The next events."""
        at = position - self._first
        if at < 0:
            self.judge.fail("wrong", HOST, f"{self.name} is asked for what was taken long ago")
        return [self._events[index] for index in range(max(at, 0), min(at + most, len(self._events)))]

    def taken(self, position: int) -> None:
        """The host has taken everything before a position."""
        while self._first < position - REMEMBERED:
            del self._turns[self._events.popleft().event_id]
            self._first += 1

    def has_taken(self, event: Inbound) -> bool:
        """The host has stored an event; only such are repeated, else a repeat would mend what was lost."""
        said = self.judge.open.get(self._turns[event.event_id])
        return said is None or said.stored

    # What shows

    def put(self, message: Outbound, file: bytes | None) -> None:
        """Show a message for good; a repeated key changes nothing unless it ends a draft."""
        before = self._shown.get(message.key)
        chat = self.chats[message.address.conversation]
        if before is None or (message.streamed and not before.final):
            self._shown[message.key] = Message(message.text, final=True)
            self.judge.shown(chat, message.key, message.text, file)
        elif before.final and before.text != message.text:
            self.judge.fail("lost", chat.name, f"{message.key} is said already, and not as {message.text[:60]!r}")

    def shows(self, key: str) -> bool:
        """A message of that key shows, final or not."""
        return key in self._shown

    def draft(self, draft: Draft) -> None:
        """Show a message that is not final."""
        before = self._shown.get(draft.key)
        chat = self.chats[draft.address.conversation]
        if before is not None and before.final:
            self.judge.fail("torn", chat.name, f"a draft for {draft.key}, which is final")
            return
        version = draft.attempt, draft.version
        if before is None or before.version <= version:
            self._shown[draft.key] = Message(draft.text or draft.status, final=False, version=version)
            self.judge.drafted(chat, draft)

    def over(self, said: Said) -> None:
        """What was said is over; its keys are forgotten some time later."""
        self._gone.difference_update(f"{said.turn}/{index}" for index in range(len(said.files)))
        self._refused = {content for content in self._refused if not content[0].startswith(said.turn)}
        names = {"0": None, **dict.fromkeys(said.parts), **dict.fromkeys(said.refused)}
        self._over.extend((self.now(), f"{said.turn}.{name}") for name in names)
        while self._over and self._over[0][0] < self.now() - KEYS_KEPT_S:
            self._shown.pop(self._over.popleft()[1], None)

    def refuses(self, message: Outbound, chance: float, random_: random.Random) -> bool:
        """Whether it refuses a message, which it then does whenever it is sent."""
        content = (message.key, message.text)
        if content not in self._refused:
            if message.key in self._shown and self._shown[message.key].final:
                return False
            if random_.random() >= chance:
                return False
            self._refused.add(content)
        self.note_refused(message)
        return True

    def note_refused(self, message: Outbound) -> None:
        """It does not show a message, and the host knows."""
        said = self.judge.open.get(message.turn)
        if said is not None:
            said.refused.add(message.key.partition(".")[2].removesuffix("x"))
            self.trace.line(said.chat.name, f"#{said.number} refused {message.key} {message.text[:40]!r}")

    def lost_upload(self, attachment: Attachment, chance: float, random_: random.Random) -> bool:
        """Whether the bytes of a file are gone, which they then stay."""
        if attachment.ref not in self._gone and random_.random() >= chance:
            return False
        self._gone.add(attachment.ref)
        said = self.judge.open.get(attachment.ref.partition("/")[0])
        if said is not None:
            said.gone.add(attachment.name)
        return True
