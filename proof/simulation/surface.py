"""How a life of the simulated host reaches a messenger: a surface whose every call may fail, or be the last."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

from proof.simulation.life import InjectedBug, Life
from proof.simulation.messenger import Messenger
from proof.simulation.verdicts import FILE_GONE, split
from proof.simulation.weather import Weather
from surfaces_core.contracts import Conversations, Intake, Pace, Surface, SurfaceContext
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Address, Attachment, Binding, Draft, Inbound, Opening, Outbound, Receipt

MOST_AT_ONCE = 40
"""Events of one batch."""
HANGS_S = 60.0
"""So long a request is waited for that is never answered."""


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

    async def recall(self, person: str, live: Sequence[Binding]) -> list[Address]:
        """Let a person in again."""
        await self._surface.call(person)
        return []

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
        if chance.random() < weather.send_chokes and not self.messenger.shows(message.key):
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
        try:
            async with await self.context.files.open(message.file.workspace, message.file.path) as opened:
                return b"".join([chunk async for chunk in opened.chunks()])
        except Rejected:
            self.messenger.note_refused(message)
            raise

    async def _under_way(self, message: Outbound, content: bytes | None) -> None:
        """The request is on its way; who stops waiting for it does not stop it."""
        weather, chance = self._weather(), self._chance
        wait, luck = chance.uniform(0.005, 0.1), chance.random()
        if luck < weather.send_hangs:
            wait = HANGS_S
        elif luck < weather.send_hangs + weather.send_slow:
            wait = chance.uniform(1.0, 10.0)
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            if chance.random() < 0.5 and not self.messenger.away and wait < HANGS_S:
                self.messenger.put(message, content)
            raise
        self._life.step("sent")
        if wait == HANGS_S:
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
