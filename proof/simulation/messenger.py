"""The messengers of a simulated world: what people said, what they see, and the surface that connects a host."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from proof.simulation.judge import Judge
from proof.simulation.life import InjectedBug, Life
from proof.simulation.story import Chat, Said
from proof.simulation.trace import HOST, Trace
from proof.simulation.verdicts import FILE_GONE, split
from proof.simulation.weather import Weather
from surfaces_core.contracts import Conversations, Intake, Pace, Surface, SurfaceContext
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Address, Attachment, Binding, Draft, Inbound, Opening, Outbound, Receipt

REMEMBERED = 3000
"""Events that can still be asked for behind the newest that the host has taken."""
MOST_AT_ONCE = 40
"""Events of one batch."""
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


class Rooms(Conversations):
    """One life's way to the rooms of a messenger."""

    def __init__(self, surface: SimulatedSurface) -> None:
        self._surface = surface

    async def enter(self, entry: Address, person: str) -> bool:
        """Come in."""
        await self._surface.call(person)
        self._surface.messenger.inside[entry.conversation] = True
        await self._surface.called(person)
        return True

    async def open(self, opening: Opening) -> Address:
        """Make a room; the same key makes one."""
        await self._surface.call(opening.owner)
        address = Address(surface=opening.surface, conversation=f"{opening.owner[1:]}-{opening.key[:6]}")
        messenger = self._surface.messenger
        if address.conversation not in messenger.rooms:
            binding = Binding(
                address=address,
                owner=opening.owner,
                number=opening.number,
                name=opening.name,
                agent=opening.agent,
                context=opening.context,
                created_at=opening.created_at,
            )
            messenger.rooms[address.conversation] = binding
            messenger.inside[address.conversation] = True
            messenger.on_room(binding)
        await self._surface.called(opening.owner)
        return address

    async def find(self, address: Address) -> Binding | None:
        """The binding of a room that the bot is in."""
        await self._surface.call("")
        messenger = self._surface.messenger
        return messenger.rooms.get(address.conversation) if messenger.inside.get(address.conversation) else None

    async def record(self, binding: Binding) -> None:
        """Write a binding."""
        await self._surface.call(binding.owner)
        self._surface.messenger.rooms[binding.address.conversation] = binding
        await self._surface.called(binding.owner)

    async def recall(self, person: str, live: Sequence[Binding]) -> None:
        """Let a person in again."""
        await self._surface.call(person)

    def link(self, address: Address) -> str:
        """A link."""
        return f"sim:{address.conversation}"


class SimulatedSurface(Surface):
    """One life's way to a messenger."""

    def __init__(
        self,
        messenger: Messenger,
        context: SurfaceContext,
        life: Life,
        weather: Callable[[], Weather],
        chance: random.Random,
        *,
        rooms: bool,
        pace: Pace | None,
    ) -> None:
        super().__init__(self.Settings(), context)
        self.messenger = messenger
        self.conversations = Rooms(self) if rooms else None
        self.pace = pace
        self._life = life
        self._weather = weather
        self._chance = chance

    # Calls, whatever they are about

    async def _trip(self) -> None:
        """The way of a request. Raises `Unavailable` when nobody answers."""
        self._life.step("call")
        await asyncio.sleep(self._chance.uniform(0.005, 0.1))
        self._life.step("arrives")
        if self.messenger.away:
            raise Unavailable("nobody answers", retry_after=self._chance.choice([None, None, None, 0.2, 3.0]))

    def _may_fail(self, probability: float, what: str) -> None:
        """Raises `Unavailable`, perhaps."""
        if self._chance.random() < probability:
            raise Unavailable(what)

    async def call(self, person: str) -> None:
        """Ask for something on somebody's behalf. Raises `Unavailable` before anything is done."""
        try:
            await self._trip()
            self._may_fail(self._weather().rooms_fail, "not now")
        except Unavailable:
            self._failed(person)
            raise

    async def called(self, person: str) -> None:
        """It is done. Raises `Unavailable` when that is not learned."""
        await asyncio.sleep(self._chance.uniform(0.005, 0.1))
        self._life.step("called")
        try:
            self._may_fail(self._weather().rooms_fail, "the answer is lost")
        except Unavailable:
            self._failed(person)
            raise

    def _failed(self, person: str) -> None:
        for chat in self.messenger.chats.values():
            if chat.person == person or not person:
                chat.failures += 1

    # Receiving

    async def run(self, intake: Intake) -> None:
        """Hand over what people do, in batches, with repeats."""
        messenger = self.messenger
        await self._trip()
        if self.conversations is not None:
            found = [binding for name, binding in messenger.rooms.items() if messenger.inside[name]]
            await self._trip()
            await intake.restore(found)
        position = int(await intake.cursor() or 0)
        intake.ready()
        while True:
            await messenger.wait(position)
            await self._trip()
            await self._poll()
            batch = messenger.after(position, self._chance.randrange(1, MOST_AT_ONCE))
            position += len(batch)
            await intake.accept(self._with_repeats(batch, position), str(position))
            messenger.taken(position)

    async def _poll(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 0.3))
        if self._chance.random() < self._weather().poll_fails:
            raise Unavailable("the connection is lost", retry_after=self._chance.choice([None, 1.0]))

    def _with_repeats(self, batch: list[Inbound], position: int) -> list[Inbound]:
        """A batch that also brings something again, before or behind what is new."""
        if self._chance.random() >= self._weather().repeats:
            return batch
        messenger = self.messenger
        start = max(position - self._chance.randrange(1, 60), 0)
        again = messenger.after(start, min(self._chance.randrange(1, 8), position - start))
        known = [event for event in again if self._chance.random() < 0.5 and messenger.has_taken(event)]
        return [*known, *batch] if self._chance.random() < 0.5 else [*batch, *known]

    async def fetch(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The bytes of an upload: its name."""
        weather, chance = self._weather(), self._chance
        try:
            await self._trip()
            if self.messenger.lost_upload(attachment, weather.fetch_gone, chance):
                raise Rejected("gone", public=FILE_GONE)
            yield attachment.name.encode()
            self._life.step("fetch")
            self._may_fail(weather.fetch_fails, "the connection is lost")
        except Unavailable:
            self.messenger.judge.failed(attachment.ref.partition("/")[0])
            raise

    # Saying

    async def send(self, message: Outbound) -> Receipt:
        """Show a message."""
        weather, chance = self._weather(), self._chance
        content = await self._read(message)
        await self._under_way(message, content)
        if self.messenger.away or chance.random() < weather.send_unavailable:
            raise Unavailable("nobody answers", retry_after=chance.choice([None, None, None, 0.2, 3.0]))
        if chance.random() < weather.send_chokes and message.key not in self.messenger._shown:
            self.messenger.note_refused(message)
            raise InjectedBug
        if self.messenger.refuses(message, weather.send_rejected, chance):
            raise Rejected("too odd")
        self.messenger.put(message, content)
        self._life.step("shown")
        self._may_fail(weather.send_lost, "the answer is lost")
        return Receipt(remote_id=f"$shown-{message.key}")

    async def _read(self, message: Outbound) -> bytes | None:
        self._life.step("send")
        if message.file is None:
            return None
        async with await self.context.files.open(message.file.workspace, message.file.path) as opened:
            return b"".join([chunk async for chunk in opened.chunks()])

    async def _under_way(self, message: Outbound, content: bytes | None) -> None:
        """The request is on its way; who stops waiting for it does not stop it."""
        weather, chance = self._weather(), self._chance
        wait, luck = chance.uniform(0.005, 0.1), chance.random()
        if luck < weather.send_hangs:
            wait = 60.0
        elif luck < weather.send_hangs + weather.send_slow:
            wait = chance.uniform(1.0, 10.0)
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            if chance.random() < 0.5 and not self.messenger.away and wait < 60.0:
                self.messenger.put(message, content)
            raise
        self._life.step("sent")
        if wait == 60.0:
            raise Unavailable("no answer came in time")

    async def show(self, draft: Draft) -> None:
        """Show a draft."""
        weather, chance = self._weather(), self._chance
        self._life.step("show")
        try:
            slow = chance.random() < weather.show_slow
            await asyncio.sleep(chance.uniform(1.0, 20.0) if slow else chance.uniform(0.005, 0.1))
        except asyncio.CancelledError:
            if draft.version and chance.random() < 0.5:
                self.messenger.draft(draft)
            raise
        self._life.step("showing")
        luck = chance.random() * 3
        if luck < weather.show_fails or self.messenger.away:
            raise Unavailable("not now", retry_after=chance.choice([None, 2.0]))
        if luck < 2 * weather.show_fails:
            raise Rejected("not so")
        if draft.version:
            self.messenger.draft(draft)
        if luck > 3 - weather.show_fails:
            raise Unavailable("the answer is lost")

    def split(self, text: str) -> Sequence[str]:
        """Cut at a fixed length."""
        return split(text)
