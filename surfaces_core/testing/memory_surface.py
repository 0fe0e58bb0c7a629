"""A messenger in memory and the surface that connects it: for tests of the host and of plugins.

`MemoryMessenger` is the far side and outlives restarts of the host; `MemorySurface` is the plugin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from surfaces_core.contracts import Command, Conversations, Files, Intake, Pace, Store, Surface, SurfaceContext
from surfaces_core.errors import Rejected, SurfacesError
from surfaces_core.events import (
    Address,
    Attachment,
    Binding,
    Draft,
    FileRef,
    Inbound,
    Kind,
    Opening,
    Outbound,
    Receipt,
    Said,
)
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_core.testing.memory_files import MemoryFiles

NAME = "memory"
WINDOW_S = 43_200.0
"""Keys that are older than this the messenger may have forgotten; it does when `forget_keys` is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A message of the bot, as people see it now."""

    key: str
    text: str
    conversation: str
    final: bool
    file: FileRef | None = None
    versions: tuple[str, ...] = ()
    """Every text it has had, oldest first."""
    thread: str = ""
    reply_to: str = ""
    notice: bool = False
    """The host speaks, not the agent."""


@dataclass(slots=True, kw_only=True, eq=False)
class MemoryMessenger:
    """The far side: what people said, and what they see.

    `faults` are raised by the coming calls of `send`, one each, before anything shows;
    `lost_answers` likewise, but after it shows. A repeated key changes nothing as long as it is
    recognised: for the device that sent it, and until `forget_keys`.
    """

    name: str = NAME
    incoming: list[Inbound] = field(default_factory=list)
    shown: dict[str, Shown] = field(default_factory=dict)
    """By key, in the order in which they first showed; a second one of the same key stands under `<key>#2`."""
    rooms: dict[str, Binding] = field(default_factory=dict)
    """The bindings that the messenger itself knows."""
    typing: set[str] = field(default_factory=set)
    acknowledged: list[tuple[str, bool]] = field(default_factory=list)
    """Event ids of what the bot has taken up, and with True of what waits behind others."""
    recalled: list[str] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[SurfacesError] = field(default_factory=list)
    lost_answers: list[SurfacesError] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    """Conversations in which `send` waits for ever."""
    device: str = "device-1"
    """With which device the bot speaks; another one may be set while the host rests, or runs."""
    now: Callable[[], float] = time.time
    """The messenger's clock, Unix seconds; people's messages count from 1 instead, where a test says no `sent_at`."""
    _line: list[tuple[float, Inbound | str]] = field(default_factory=list)
    """What was said and shown (by its name), with when, oldest first."""
    _sent: dict[tuple[str, str], str] = field(default_factory=dict)
    """By device and key: which message of `shown` a repeat is taken for."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def say(
        self,
        text: str = "",
        *,
        conversation: str = "home",
        sender: str = "@ann",
        files: Mapping[str, bytes] | None = None,
        kind: Kind = Kind.MESSAGE,
        event_id: str | None = None,
        voice: bool = False,
        **more: Any,
    ) -> Inbound:
        """A person says something, sends files (or a `voice` message), or does what `more` of `Inbound` says."""
        number = len(self.incoming) + 1
        uploads = enumerate((files or {}).items())
        attachments = tuple(self._upload(f"upload-{number}-{index}", name, data) for index, (name, data) in uploads)
        message = Inbound(
            address=Address(surface=self.name, conversation=conversation),
            event_id=event_id or f"$e{number}",
            sender=sender,
            sender_name=sender.removeprefix("@").title(),
            kind=kind,
            text=text,
            attachments=tuple(replace(file, voice=voice) for file in attachments),
            **{"sent_at": float(number), **more},
        )
        self.incoming.append(message)
        self._line.append((self.now(), message))
        await self.change()
        return message

    def _upload(self, ref: str, name: str, data: bytes) -> Attachment:
        self.uploads[ref] = data
        return Attachment(ref=ref, name=name, size=len(data))

    def forget_keys(self) -> None:
        """Take a repeat of what was sent until now for something new, as messengers do in time."""
        self._sent.clear()

    def post(self, message: Shown) -> str:
        """Show a message, unless its key is recognised; under which name it stands in `shown`."""
        sent = (self.device, message.key)
        name = self._sent.get(sent)
        if name is None:
            name = message.key
            if name in self.shown:
                name += f"#{2 + sum(other.startswith(f'{message.key}#') for other in self.shown)}"
            self.shown[name] = message
            self._sent[sent] = name
            self._line.append((self.now(), name))
        return name

    def said(self, conversation: str, thread: str, before: str, prefix: str) -> list[Said]:
        """What people and the agent said in a conversation ahead of an event, oldest first."""
        found: list[Said] = []
        for at, what in self._line:
            if isinstance(what, Inbound):
                if what.event_id == before:
                    return found
                here = (what.address.conversation, what.thread, what.kind) == (conversation, thread, Kind.MESSAGE)
                if here and what.text and not what.text.startswith(prefix):
                    found.append(Said(by="person", text=what.text, at=at, name=what.sender_name))
            else:
                shown = self.shown[what]
                if (shown.conversation, shown.thread) == (conversation, thread) and shown.final and not shown.notice:
                    found.append(Said(by="agent", text=shown.text, at=at))
        return found

    def put_in_place(self, message: Outbound) -> str | None:
        """Change what a message replaces, once; under which name it stands in `shown`, None where nothing shows."""
        name = message.replaces if message.replaces in self.shown else None
        if name is not None and (self.device, message.key) not in self._sent:
            self._sent[self.device, message.key] = name
            self.edit(name, message.text, final=True)
        return name

    def edit(self, name: str, text: str, *, final: bool) -> None:
        """Change what a message says."""
        before = self.shown[name]
        self.shown[name] = replace(before, text=text, final=final, versions=(*before.versions, text))

    def texts(self, conversation: str = "home") -> list[str]:
        """What the bot's messages in a conversation say now."""
        return [message.text for message in self.shown.values() if message.conversation == conversation]

    async def change(self) -> None:
        """Wake whoever waits for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = 5.0) -> None:
        """Wait until something is so. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(condition)

    async def until_final(self, count: int, conversation: str = "home", timeout_s: float = 5.0) -> list[str]:
        """Wait until so many messages of the bot are final in a conversation; their texts."""

        def finals() -> list[str]:
            return [m.text for m in self.shown.values() if m.conversation == conversation and m.final]

        await self.until(lambda: len(finals()) >= count, timeout_s)
        return finals()


class MemoryRooms(Conversations):
    """Conversations of the memory messenger: made by name, so a repeat finds the first."""

    def __init__(self, messenger: MemoryMessenger) -> None:
        self._messenger = messenger

    async def enter(self, entry: Address, person: str) -> bool:
        return True

    async def open(self, opening: Opening) -> Address:
        address = Address(surface=opening.surface, conversation=f"room-{opening.key}")
        self._messenger.rooms.setdefault(
            address.conversation,
            Binding(
                address=address,
                owner=opening.owner,
                number=opening.number,
                name=opening.name,
                agent=opening.agent,
                context=opening.context,
                created_at=opening.created_at,
            ),
        )
        await self._messenger.change()
        return address

    async def find(self, address: Address) -> Binding | None:
        return self._messenger.rooms.get(address.conversation)

    async def record(self, binding: Binding) -> None:
        self._messenger.rooms[binding.address.conversation] = binding

    async def recall(self, person: str, live: Sequence[Binding]) -> list[Address]:
        self._messenger.recalled.append(person)
        return [binding.address for binding in live if binding.address.conversation not in self._messenger.rooms]

    def link(self, address: Address) -> str:
        return f"memory:{address.conversation}"


class MemorySurface(Surface):
    """Connects a `MemoryMessenger`; `rooms` gives it conversations, `pace` drafts."""

    def __init__(
        self,
        messenger: MemoryMessenger,
        *,
        context: SurfaceContext | None = None,
        rooms: bool = False,
        pace: Pace | None = None,
        longest: int = 4000,
        now: Callable[[], float] = time.time,
        own: Sequence[Command] = (),
    ) -> None:
        super().__init__(self.Settings(), context)
        self.messenger = messenger
        self.conversations = MemoryRooms(messenger) if rooms else None
        self.pace = pace
        self.sent: list[Outbound] = []
        """Every call of `send`, repeats included."""
        self._longest = longest
        self._now = now
        self._own = own

    def commands(self) -> Sequence[Command]:
        """Those that it was made with."""
        return self._own

    @property
    def device(self) -> str:
        """With which device the bot speaks."""
        return self.messenger.device

    async def run(self, intake: Intake) -> None:
        """Hand over what people say, in the order in which they said it."""
        messenger = self.messenger
        if self.conversations is not None:
            await intake.restore(list(messenger.rooms.values()))
        position = int(await intake.cursor() or 0)
        intake.ready()
        while True:
            await messenger.until(lambda known=position: len(messenger.incoming) > known, timeout_s=None)  # type: ignore[misc]
            batch = messenger.incoming[position:]
            await intake.accept(batch, str(position + len(batch)))
            position += len(batch)

    async def send(self, message: Outbound) -> Receipt:
        """Show a message; a repeated key changes nothing unless it ends a draft."""
        messenger = self.messenger
        self.sent.append(message)
        if message.address.conversation in messenger.held:
            await asyncio.Event().wait()
        if messenger.faults:
            raise messenger.faults.pop(0)
        await self._read(message)
        shown = _shown(message, message.text, final=True, file=message.file)
        name = messenger.put_in_place(message) or self._posted(shown, message.device, message.frozen_at)
        if message.streamed and not messenger.shown[name].final:
            messenger.edit(name, message.text, final=True)
        await messenger.change()
        if messenger.lost_answers:
            raise messenger.lost_answers.pop(0)
        return Receipt(remote_id=f"$shown-{name}")

    async def _read(self, message: Outbound) -> None:
        if message.file is not None and isinstance(self.context, SurfaceContext):
            files: Files = self.context.files
            async with await files.open(message.file.workspace, message.file.path) as opened:
                self.messenger.uploads[message.key] = b"".join([chunk async for chunk in opened.chunks()])

    async def show(self, draft: Draft) -> None:
        """Show a draft."""
        typing = self.messenger.typing
        (typing.discard if draft.done else typing.add)(draft.address.conversation)
        if draft.version > 0:
            text = draft.text or draft.status
            name = self._posted(_shown(draft, text, final=False), draft.device, draft.first_at)
            before = self.messenger.shown[name]
            if not before.final and before.text != text:
                self.messenger.edit(name, text, final=False)
        await self.messenger.change()

    async def acknowledge(self, message: Inbound, *, waiting: bool) -> None:
        """Show that a message was seen."""
        self.messenger.acknowledged.append((message.event_id, waiting))
        await self.messenger.change()

    def _posted(self, message: Shown, device: str, since: float) -> str:
        """Post a message, after a look for it where its key may be forgotten; its name in `shown`."""
        forgotten = device != self.device or not 0 <= self._now() - since < WINDOW_S
        if forgotten and message.key in self.messenger.shown:
            return message.key
        return self.messenger.post(message)

    async def fetch(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The bytes of an upload."""
        if attachment.ref not in self.messenger.uploads:
            raise Rejected("no such upload", public="That file is gone.")
        yield self.messenger.uploads[attachment.ref]

    async def history(self, address: Address, *, before: str, limit: int, thread: str = "") -> Sequence[Said]:
        """What the messenger still shows."""
        context: SurfaceContext | None = self.context
        prefix = "!" if context is None else context.prefix
        return self.messenger.said(address.conversation, thread, before, prefix)[-limit:]

    def split(self, text: str) -> Sequence[str]:
        """Cut at a fixed length."""
        cuts = range(0, len(text), self._longest)
        return [text[start : start + self._longest] for start in cuts] or [text]


def _shown(what: Outbound | Draft, text: str, *, final: bool, file: FileRef | None = None) -> Shown:
    """A message as it shows at first."""
    place = what.address.conversation
    return Shown(
        key=what.key,
        text=text,
        conversation=place,
        final=final,
        file=file,
        versions=(text,),
        thread=what.thread,
        reply_to=what.reply_to,
        notice=isinstance(what, Outbound) and what.notice,
    )


def memory_context(name: str = NAME, *, store: Store | None = None, files: Files | None = None) -> SurfaceContext:
    """What a surface is handed that is tested on its own: a store and files in memory, unless others are given."""
    log = structlog.get_logger(name)
    return SurfaceContext(name=name, log=log, store=store or MemoryStore(), files=files or MemoryFiles())
