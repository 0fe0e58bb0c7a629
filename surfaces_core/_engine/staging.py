"""Files that a person sent and that wait for their next text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from surfaces_core._engine.journal import Changes, Entry, Journal, Rows, key, ordinal, place, prefix
from surfaces_core.contracts import Files, Staged, Surface
from surfaces_core.errors import Rejected
from surfaces_core.events import Address, Agent, Attachment, FileRef
from surfaces_core.filenames import clean_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A stored file that waits."""

    sender: str
    file: FileRef
    staged_at: float
    thread: str = ""
    event_id: str = ""
    """The message that brought it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of the files of one message."""

    stored: Sequence[str]
    """Their names."""
    surplus: Sequence[str]
    """The names of those for which there is no place."""
    lines: Sequence[str]
    """Why others were refused."""


WAITING = Rows(Waiting)


class Staging:
    """Fetches files into the agent's workspace and remembers which of them wait."""

    def __init__(self, journal: Journal, files: Files) -> None:
        self._journal = journal
        self._files = files
        self._waiting: dict[Address, dict[bytes, Waiting]] = {}
        """As in the journal: by conversation and row, oldest first."""

    async def open(self) -> None:
        """Read what waits."""
        for row, value in (await self._journal.scan("staged")).items():
            _, surface, conversation, *_ = row.decode().split("\0")
            address = Address(surface=surface, conversation=conversation)
            self._waiting.setdefault(address, {})[row] = WAITING.load(value)

    def waiting(self, address: Address, person: str, thread: str | None = None) -> dict[bytes, Waiting]:
        """A person's files that wait in a conversation, or in one thread of it, oldest first, by their rows."""
        here = self._waiting.get(address, {})
        mine = {row: item for row, item in here.items() if item.sender == person}
        return mine if thread is None else {row: item for row, item in mine.items() if item.thread == thread}

    async def take_in(self, entry: Entry, surface: Surface, agent: Agent) -> Taken:
        """Fetch and stage what a message carries.

        A repeat after a crash fetches only what is not staged yet. Raises `Unavailable`.
        """
        stored: list[str] = []
        surplus: list[str] = []
        lines: list[str] = []
        for index, attachment in enumerate(entry.message.attachments):
            try:
                file = await self._fetch(entry, index, attachment, surface, agent)
            except Rejected as error:
                lines.append(error.public)
            else:
                if file is None:
                    surplus.append(clean_name(attachment.name, attachment.mime))
                else:
                    stored.append(file.name)
        return Taken(stored=stored, surplus=surplus, lines=lines)

    async def _fetch(
        self, entry: Entry, index: int, attachment: Attachment, surface: Surface, agent: Agent
    ) -> FileRef | None:
        """The stored file; None where there is no place for another."""
        message = entry.message
        row = key("staged", *place(message.address), ordinal(entry.seq), ordinal(index))
        already = self.waiting(message.address, message.sender)
        if row in already:
            return already[row].file
        if len(already) >= self._files.max_staged:
            return None
        file = await self._files.save(
            agent.workspace,
            attachment.name,
            surface.fetch(attachment),
            mime=attachment.mime,
            key=f"{entry.turn}.{index}",
        )
        waiting = Waiting(
            sender=message.sender,
            file=file,
            staged_at=self._journal.now(),
            thread=message.thread,
            event_id=message.event_id,
        )
        await self._journal.write({row: WAITING.dump(waiting)})
        self._waiting.setdefault(message.address, {})[row] = waiting
        return file

    def listed(self, address: Address, person: str, thread: str | None = None) -> Sequence[Staged]:
        """As commands see it."""
        waiting = self.waiting(address, person, thread).values()
        return [Staged(file=item.file, staged_at=item.staged_at) for item in waiting]

    async def drop(self, address: Address, person: str, thread: str, number: int | None) -> Sequence[Staged]:
        """Remove the n-th file (from 1) or all, and the stored files; what was removed."""
        waiting = list(self.waiting(address, person, thread).items())
        chosen = waiting if number is None else waiting[number - 1 : number] if number > 0 else []
        for row, item in chosen:
            await self._files.remove(item.file.workspace, item.file.path)
            await self._journal.write(self.consume(address, [row]))
        return [Staged(file=item.file, staged_at=item.staged_at) for _, item in chosen]

    async def withdraw(self, entry: Entry) -> Changes:
        """Remove the stored files of a message that was taken back; the rows to forget with it."""
        address = entry.message.address
        mine = prefix("staged", *place(address), ordinal(entry.seq))
        files = {row: item.file for row, item in self._waiting.get(address, {}).items() if row.startswith(mine)}
        await self.remove(files.values())
        return self.consume(address, files)

    def brought(self, address: Address, event_id: str) -> dict[bytes, FileRef]:
        """The files that a message brought and that still wait, by their rows."""
        return {row: item.file for row, item in self._waiting.get(address, {}).items() if item.event_id == event_id}

    async def remove(self, files: Iterable[FileRef]) -> None:
        """Remove stored files."""
        for file in files:
            await self._files.remove(file.workspace, file.path)

    def put_back(self, entry: Entry) -> Changes:
        """What went with a question that was put aside waits again, as that failed in the end; the rows to keep."""
        message = entry.message
        here = self._waiting.setdefault(message.address, {})
        known = {item.file.path for item in here.values()}
        rows: dict[bytes, bytes | None] = {}
        for index, file in enumerate(entry.files):
            if file.path in known:
                continue
            row = key("staged", *place(message.address), ordinal(entry.seq), ordinal(index))
            here[row] = Waiting(
                sender=message.sender,
                file=file,
                staged_at=self._journal.now(),
                thread=message.thread,
                event_id=message.event_id,
            )
            rows[row] = WAITING.dump(here[row])
        return rows

    def consume(self, address: Address, rows: Iterable[bytes]) -> Changes:
        """These wait no longer; the rows to forget with what they were used for."""
        here = self._waiting.get(address, {})
        gone: dict[bytes, bytes | None] = dict.fromkeys(rows)
        for row in gone:
            here.pop(row, None)
        if not here:
            self._waiting.pop(address, None)
        return gone
