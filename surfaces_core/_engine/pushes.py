"""What a push comes to: where it is said, and as what.

The updates of one task are one message, which is changed in place at a bounded pace; the last one
always shows. What is done or has failed is said as a message of its own, and ends that line; unlike
an update it is no notice, for messengers do not ring for those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from surfaces_core._engine import words
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.inlet import Push, Refused
from surfaces_core._engine.journal import Changes, Entry, Journal, Rows, key, place, storable
from surfaces_core._engine.work import Outcome, Say
from surfaces_core.events import Address, Binding, Inbound, Kind, Outbound, Pushed

EVERY_S = 3.0
"""One line changes at most so often."""
KEEP_S = 7 * 86400.0
"""A task that was silent for so long begins a new line."""
LONGEST_UPDATE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The updates of one task."""

    key: str
    """Of the message that shows them."""
    address: Address
    shown_at: float
    """Unix seconds when it was last changed."""
    waiting: str = ""
    """The turn of the update that waits to be shown."""
    text: str = ""


LINES = Rows(Line)


class Pushes:
    """The pushes of all agents."""

    def __init__(self, journal: Journal, book: Book) -> None:
        self._journal = journal
        self._book = book
        self._lines: dict[bytes, Line] = {}
        """By row."""
        self._changed = asyncio.Event()
        self.say: Callable[[Outbound, Changes], Awaitable[None]]
        """Stores something to say together with rows, and sends it; set by the host."""

    async def open(self) -> None:
        """Read which lines there are."""
        now = self._journal.now()
        found = {row: LINES.load(value) for row, value in (await self._journal.scan("task")).items()}
        self._lines = {row: line for row, line in found.items() if line.waiting or line.shown_at > now - KEEP_S}
        if gone := dict.fromkeys(found.keys() - self._lines.keys()):
            await self._journal.write(gone)

    async def inbound(self, token: str, agents: Sequence[str], push: Push) -> Inbound:
        """A push as something that came in, in the conversation that is meant. Raises `Refused`."""
        binding = await self._meant(agents, push)
        return Inbound(
            address=binding.address,
            event_id=storable(f"push:{token}:{push.id}"),
            sender=binding.owner,
            sent_at=round(self._journal.now(), 3),
            kind=Kind.PUSH,
            push=Pushed(
                kind=push.kind,
                task=storable(f"{token}/{push.task}"),
                title=storable(push.title or push.task),
                text=storable(push.text),
                progress=push.progress,
            ),
        )

    async def _meant(self, agents: Sequence[str], push: Push) -> Binding:
        may = [one for one in self._book.all_live() if not agents or one.agent in agents]
        mine = [one for one in may if push.surface in ("", one.address.surface) and push.person in ("", one.owner)]
        exact = [
            one
            for one in mine
            if push.conversation in ("", one.address.conversation, one.label if push.person else "")
            and push.agent in ("", one.agent)
            and push.context in ("", one.context)
        ]
        found = exact or ([] if push.conversation or not push.person else mine)
        if not found:
            raise Refused(HTTPStatus.NOT_FOUND, "no conversation is so for this token")
        if len(found) > 1 and not push.person:
            raise Refused(HTTPStatus.CONFLICT, "several conversations are so; name the person or the surface")
        used = [((await self._book.usages.of(one.address)).last_active or one.created_at, one.number) for one in found]
        return found[used.index(max(used))]

    def handle(self, entry: Entry) -> Outcome:
        """Say it, or keep it until its line may change."""
        push, where = entry.message.push, entry.message.address
        if push is None:
            return Outcome()
        row = key("task", *place(where), push.task)
        if push.kind != "progress":
            self._lines.pop(row, None)
            return Outcome(says=[Say(text=words.pushed(push), notice=False)], changes={row: None})
        text = words.pushed(push)[:LONGEST_UPDATE]
        now, line = self._journal.now(), self._lines.get(row)
        if line is not None and 0 <= now - line.shown_at < EVERY_S:
            says = []
            line = replace(line, waiting=entry.turn, text=text)
            self._changed.set()
        else:
            says = [Say(text=text, replaces=line.key if line else "")]
            line = Line(key=line.key if line else f"{entry.turn}.0", address=where, shown_at=now)
        self._lines[row] = line
        return Outcome(says=says, changes={row: LINES.dump(line)})

    async def run(self) -> None:
        """Show the updates that wait, when their time has come, until cancelled."""
        while True:
            self._changed.clear()
            now = self._journal.now()
            left = [EVERY_S]
            for row, line in [*self._lines.items()]:
                if line.waiting:
                    wait_s = EVERY_S - (now - line.shown_at)
                    if 0 < wait_s <= EVERY_S:
                        left.append(wait_s)
                    else:
                        await self._show(row, line, now)
            if any(line.waiting for line in self._lines.values()):
                await asyncio.sleep(min(left))
            else:
                await self._changed.wait()

    async def _show(self, row: bytes, line: Line, now: float) -> None:
        shown = self._lines[row] = replace(line, shown_at=now, waiting="", text="")
        update = Outbound(
            key=f"{line.waiting}.0",
            turn=line.waiting,
            part=0,
            address=line.address,
            text=line.text,
            notice=True,
            replaces=line.key,
        )
        await self.say(update, {row: LINES.dump(shown)})
