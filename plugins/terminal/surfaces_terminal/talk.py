"""Owns what a person can do in `surfaces chat`, whatever it looks like."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

from surfaces_core import speaking
from surfaces_terminal import words
from surfaces_terminal.client import Client, FileError
from surfaces_terminal.render import clean_line
from surfaces_terminal.saving import save
from surfaces_terminal.wire import LONGEST_TEXT, MARK, Chat, Chats, Knowledge, Message, WireError

LOCAL = {
    "/send": ("PATH [TEXT]", words.HELP_SEND),
    "/chat": ("[NUMBER]", words.HELP_CHAT),
    "/quit": ("", words.HELP_QUIT),
}
"""What begins with a slash, with its arguments and what it does; `/help` shows them."""


class Left(Exception):
    """The person wants to leave."""


class Talk:
    """One person's talk in one conversation at a time."""

    def __init__(self, folder: Path) -> None:
        self.tell: Callable[[str], Awaitable[None]]
        """Shows a line of this program's own."""
        self.client: Client
        self.current: Chat | None = None
        self.knowledge = Knowledge(commands=(), language="en")
        self._folder = folder
        self._chats: dict[str, Chat] = {}
        self._early: list[str] = []
        """What was said before there was a conversation."""
        self._made_by_me = False
        """The next conversation that comes is one that was asked for here."""

    @property
    def label(self) -> str:
        """The conversation, as short as can be."""
        return f"C{self.current.number}" if self.current else "…"

    def named(self, chat: str) -> str:
        """How a conversation is called."""
        there = self._chats.get(chat)
        if there is None:
            return ""
        label = f"C{there.number}"
        return label if there.name == label else f"{label} {clean_line(there.name)}"

    # What the host tells

    async def take_chats(self, told: Chats) -> None:
        """Other conversations; the first is gone to by itself, and a new one that was asked for here."""
        new = [chat for chat in told.chats if chat.id not in self._chats]
        self._chats |= {chat.id: chat for chat in told.chats}
        if self.current is None and told.chats:
            self.current = told.chats[0]
            early, self._early = self._early, []
            for line in early:
                self.say(line)
        elif new and self._made_by_me:
            self._made_by_me = False
            await self._go(new[-1])
        elif self.current is not None:
            self.current = self._chats[self.current.id]

    def take_knowledge(self, told: Knowledge) -> None:
        """Other commands, another language."""
        self.knowledge = told

    async def saved(self, message: Message) -> str:
        """Save the file of a message; a line about it."""
        assert message.file is not None
        try:
            path = await save(self.client, message, self._folder)
        except FileError as error:
            return self.word(words.NOT_SAVED, name=clean_line(message.file.name), reason=clean_line(str(error)))
        return self.word(words.SAVED, path=path)

    def word(self, sentence: Callable[..., str], **values: object) -> str:
        """One of our sentences in the person's language."""
        with speaking(self.knowledge.language):
            return sentence(**values)

    # What the person does

    async def enter(self, line: str) -> None:
        """A line of theirs. Raises `Left`."""
        if not line.strip():
            return
        if len(line) > LONGEST_TEXT:  # the host would let go of who says it, again and again
            await self.tell(self.word(words.TOO_LONG, most=LONGEST_TEXT))
            return
        dragged = _dragged(line)
        if dragged is not None:
            await self._send(dragged, "")
        elif re.match(r"/[a-z]+(\s|$)", line):
            await self._local(line)
        else:
            self.say(line.strip())

    def say(self, text: str) -> None:
        """Say something in the present conversation."""
        if self.current is None:
            self._early.append(text)
            return
        self._made_by_me = self._made_by_me or text.split()[0] == f"{self.client.prefix}new"
        self.client.say(self.current.id, text)

    def mark(self, word: str) -> None:
        """Have a word said back when everything before it is answered."""
        self.say(f"{self.client.prefix}{MARK} {word}")

    async def _local(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        match name:
            case "/quit" | "/exit":
                raise Left
            case "/help":
                await self._help()
            case "/chat":
                await self._chat(rest.strip())
            case "/send":
                await self._send_named(rest)
            case _:
                await self.tell(self.word(words.UNKNOWN, name=name))

    async def _help(self) -> None:
        for name, (usage, about) in LOCAL.items():
            await self.tell(f"{name} {usage}".ljust(20) + self.word(about))
        await self.tell(self.word(words.HELP_SPACE))

    async def _chat(self, number: str) -> None:
        if not number:
            for chat in sorted(self._chats.values(), key=lambda chat: chat.number):
                await self.tell(("▸ " if chat == self.current else "  ") + self.named(chat.id))
            return
        wanted = number.upper().removeprefix("C")
        found = [chat for chat in self._chats.values() if str(chat.number) == wanted]
        if found:
            await self._go(found[0])
        else:
            await self.tell(self.word(words.NO_CHAT, number=number))

    async def _go(self, chat: Chat) -> None:
        self.current = chat
        await self.tell(self.word(words.NOW_IN, name=self.named(chat.id)))

    async def _send_named(self, rest: str) -> None:
        try:
            path, *text = shlex.split(rest)
        except ValueError:
            path, text = rest, []
        await self._send(_at(path), " ".join(text))

    async def _send(self, path: Path, text: str) -> None:
        if self.current is None or not path.is_file():  # noqa: ASYNC240 - one look at a name that was just typed
            await self.tell(self.word(words.NO_FILE, name=path))
            return
        chat = self.current
        try:
            upload = await self.client.upload(path)
        except (FileError, WireError) as error:
            reason = clean_line(str(error)) if isinstance(error, FileError) else self.word(words.HOST_AWAY)
            await self.tell(self.word(words.NOT_SENT, name=path.name, reason=reason))
            return
        self.client.say(chat.id, text, upload)
        await self.tell(self.word(words.SENT, name=path.name))


def _at(path: str) -> Path:
    return Path(path).expanduser()


def _dragged(line: str) -> Path | None:
    """The file that was dragged into the terminal, which types its path, quoted somehow."""
    try:
        found = shlex.split(line)
    except ValueError:
        return None
    if len(found) != 1 or not found[0].startswith("/"):
        return None
    path = Path(found[0])
    return path if path.is_file() else None
