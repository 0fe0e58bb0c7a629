"""Owns `surfaces chat` on a terminal: answers above, what is being answered below them, and the line one writes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText, FormattedText, merge_formatted_text, to_formatted_text
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from surfaces_terminal import words
from surfaces_terminal.render import clean, clean_line, drawn, drawn_draft
from surfaces_terminal.talk import LOCAL, Left, Talk
from surfaces_terminal.wire import MARKED, Chats, Knowledge, Message, Running

STYLE = Style.from_dict({"label": "bold ansicyan", "said": "bold", "quiet": "ansibrightblack", "away": "ansiyellow"})
KEPT_LINES = 6
"""Lines of the screen that a running answer leaves to others."""

GREETING_S = 3.0
"""How long the line to write on waits for a conversation."""


class Screen:
    """Looks at a talk on a terminal."""

    def __init__(self, talk: Talk, history: Path, *, input: Input | None = None, output: Output | None = None) -> None:  # noqa: A002 - as prompt_toolkit calls it
        self._talk = talk
        self._there = True
        self._greeted = asyncio.Event()
        self._entered: asyncio.Queue[str | None] = asyncio.Queue()
        self._drafts: dict[str, Running] = {}
        """What is being answered, by its key; gone when it is said for good."""
        self._over: set[str] = set()
        """Conversations in which nothing more is being answered: what still shows there waits for its end."""
        self._colours = "NO_COLOR" not in os.environ
        self._output = output
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            style=STYLE,
            erase_when_done=True,
            completer=_Completer(talk),
            complete_while_typing=False,
            reserve_space_for_menu=6,
            auto_suggest=AutoSuggestFromHistory(),
            history=FileHistory(str(history)),
            key_bindings=self._keys(),
            input=input,
            output=output,
        )

    # What is shown

    def _prompt(self) -> AnyFormattedText:
        """The running answer, how things are, and where one writes."""
        size = shutil.get_terminal_size()
        parts: list[tuple[str, str]] = []
        draft = self._running()
        if draft is not None:
            text = drawn_draft(draft.text, size.columns, max(3, size.lines - KEPT_LINES), colours=self._colours)
            if text:
                parts += [*_plain(ANSI(text)), ("", "\n")]
            status = "\n".join(clean(draft.status).splitlines()[:3]) or ("" if text else "…")
            if status:
                parts.append(("class:quiet", f"{status}\n"))
        if not self._there:
            parts.append(("class:away", f"{self._talk.word(words.AWAY)}\n"))
        return FormattedText([*parts, ("class:label", f"{self._talk.label} › ")])

    def _running(self) -> Running | None:
        here = [draft for draft in self._drafts.values() if self._talk.current and draft.chat == self._talk.current.id]
        return here[-1] if here else None

    def _print(self, *parts: AnyFormattedText) -> None:
        """Show something for good, above the line one writes on.

        Not by `run_in_terminal`, which lets go of the keyboard: keys that are pressed meanwhile would be lost.
        """
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
        for part in parts:
            app.print_text(merge_formatted_text([part, "\n"]))
        if app.is_running:
            app.renderer.request_absolute_cursor_position()
            app.invalidate()

    def _refresh(self) -> None:
        self._session.app.invalidate()

    async def tell(self, line: str) -> None:
        """A line of the program's own."""
        width = shutil.get_terminal_size().columns
        self._print(FormattedText([("class:quiet", textwrap.fill(clean(line), width, subsequent_indent="  "))]))

    async def attached(self, attached: bool) -> None:
        """Say so below the answers; a running one begins anew."""
        self._there = attached
        if not attached:
            self._drafts.clear()
        self._refresh()

    async def chats(self, told: Chats) -> None:
        """Other conversations."""
        await self._talk.take_chats(told)
        self._greeted.set()
        self._refresh()

    async def knows(self, told: Knowledge) -> None:
        """Other commands, another language."""
        self._talk.take_knowledge(told)
        self._refresh()

    async def running(self, draft: Running) -> None:
        """How a running answer looks; what only says that something comes keeps the text that shows."""
        if draft.done:
            self._over.add(draft.chat)
            self._drop(draft.chat, with_text=False)
        else:
            self._over.discard(draft.chat)
            if draft.key not in self._drafts or draft.text or draft.status:
                self._drafts[draft.key] = draft
        self._refresh()

    def _drop(self, chat: str, *, with_text: bool) -> None:
        self._drafts = {
            key: draft for key, draft in self._drafts.items() if draft.chat != chat or (draft.text and not with_text)
        }

    async def message(self, message: Message) -> None:
        """An answer for good, in the place of what was running."""
        self._drafts.pop(message.key, None)
        if message.chat in self._over:
            self._drop(message.chat, with_text=True)
        if MARKED.fullmatch(message.text):
            return
        parts: list[AnyFormattedText] = []
        if self._talk.current is None or message.chat != self._talk.current.id:
            parts.append(FormattedText([("class:label", f"[{self._talk.named(message.chat)}]")]))
        if message.text:
            width = shutil.get_terminal_size().columns
            parts.append(ANSI(drawn(message.text, width, quiet=message.notice, colours=self._colours)))
        if message.file is not None:
            parts.append(FormattedText([("class:quiet", await self._talk.saved(message))]))
        self._print(*parts, "")

    async def refused(self, why: str) -> None:
        """What was said cannot be."""
        await self.tell(why)

    # What the person does

    async def run(self) -> None:
        """Talk until they leave."""
        await self.tell(self._talk.word(words.HINT, prefix=self._talk.client.prefix))
        with suppress(TimeoutError):  # then there is somebody to write to
            async with asyncio.timeout(GREETING_S):
                await self._greeted.wait()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(self._work())
            with suppress(EOFError):
                await self._session.prompt_async()
            self._entered.put_nowait(None)
            await working

    async def _work(self) -> None:
        """Do what was entered, one line after the other."""
        while (line := await self._entered.get()) is not None:
            try:
                await self._talk.enter(line)
            except Left:
                self._session.app.exit()
                return

    def _enter(self, event: KeyPressEvent) -> None:
        """Take a line; the next may be written at once."""
        line = event.current_buffer.text
        event.current_buffer.reset(append_to_history=True)
        if line.strip():
            self._print(FormattedText([("class:label", f"{self._talk.label} › "), ("class:said", clean(line))]))
            self._entered.put_nowait(line)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add("enter")(self._enter)

        @keys.add("c-c")
        def interrupt(event: KeyPressEvent) -> None:
            """Stops the running answer, else takes back what is being written."""
            if self._running() is not None:
                self._talk.say(f"{self._talk.client.prefix}stop")
            elif event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.create_background_task(self.tell(self._talk.word(words.LEAVE)))

        return keys


def _plain(text: ANSI) -> Iterable[tuple[str, str]]:
    return [(style, piece) for style, piece, *_ in to_formatted_text(text)]


class _Completer(Completer):
    """Commands of the host and of this program, numbers of conversations, paths."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may follow."""
        text = document.text_before_cursor
        if text.startswith("/send "):
            rest = Document(text[len("/send ") :])
            yield from self._paths.get_completions(rest, complete_event)
        elif " " not in text and text[:1]:
            for name, about in self._names():
                if name.startswith(text):
                    yield Completion(name, start_position=-len(text), display_meta=about)

    def _names(self) -> Iterable[tuple[str, str]]:
        prefix = self._talk.client.prefix
        for command in self._talk.knowledge.commands:
            yield f"{prefix}{command.name}", clean_line(command.help)
        for name, (_, about) in LOCAL.items():
            yield name, self._talk.word(about)
