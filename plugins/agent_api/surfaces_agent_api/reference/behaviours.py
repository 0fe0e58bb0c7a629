"""Owns what the reference agent can do: one table of what is asked and which function answers.

An answer is an async generator of frames; the session streams them and adds the END.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from surfaces_agent_api.reference.memory import Frame
from surfaces_agent_api.reference.workspace import describe, write_note

_MAX_COUNT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message of a person, and what belongs to it."""

    text: str
    attachments: Sequence[str]
    context: str
    number: int
    """Which message of its context this is, from 1."""
    earlier: Sequence[str]
    """The messages before it in the same context."""
    workspace: Path | None
    confirmed: Callable[[str], Awaitable[bool]]
    """Waits for the person's answer to the question of this id."""


Answer = AsyncIterator[Frame]


async def echo(heard: Heard, match: re.Match[str]) -> Answer:
    for frame in say(f"You said: {heard.text}. (message {heard.number} in this context)"):
        yield frame


async def remember(heard: Heard, match: re.Match[str]) -> Answer:
    said = "; ".join(heard.earlier)
    for frame in say(f"You said: {said}." if said else "You have said nothing yet."):
        yield frame


async def make_a_file(heard: Heard, match: re.Match[str]) -> Answer:
    if heard.workspace is None:
        for frame in say("I have no workspace to make it in."):
            yield frame
        return
    name, content = f"note-{heard.context}-{heard.number}.txt", f"You asked: {heard.text}\n"
    path = await asyncio.to_thread(write_note, heard.workspace, name, content)
    for frame in say("Here is your file."):
        yield frame
    yield {"type": "AGENT_EVENT_SEND_FILE", "path": path, "caption": "A note"}


async def ask_me(heard: Heard, match: re.Match[str]) -> Answer:
    question = f"{heard.context}-{heard.number}"
    yield {"type": "AGENT_EVENT_CONFIRM", "id": question, "text": "May I go on?", "timeout_s": 300}
    approved = await heard.confirmed(question)
    for frame in say("You said yes, so I went on." if approved else "You said no, so I left it."):
        yield frame


async def count(heard: Heard, match: re.Match[str]) -> Answer:
    for number in range(1, min(int(match[1]), _MAX_COUNT) + 1):
        yield text_chunk(f"{number} ")


async def use_a_tool(heard: Heard, match: re.Match[str]) -> Answer:
    call = {"tool_name": "calculator", "id": "call-1"}
    yield {"type": "AGENT_EVENT_TOOL_CALL_CHUNK", **call, "args": {"sum": [2, 3]}}
    yield {"type": "AGENT_EVENT_TOOL_RESULT", **call, "result": 5}
    for frame in say("The calculator says 5."):
        yield frame


async def report_progress(heard: Heard, match: re.Match[str]) -> Answer:
    for step in (1, 2, 3, 4):
        yield {"type": "AGENT_EVENT_CUSTOM_UPDATE", "text": f"step {step} of 4", "progress": step / 4}
    for frame in say("All four steps are done."):
        yield frame


BEHAVIOURS: Sequence[tuple[str, Callable[[Heard, re.Match[str]], Answer]]] = (
    (r"what (?:did i say|do you remember)", remember),
    (r"make (?:me )?a file", make_a_file),
    (r"ask me", ask_me),
    (r"count to (\d{1,9})", count),
    (r"use a tool", use_a_tool),
    (r"progress", report_progress),
    (r"", echo),
)
"""What a message contains, and what answers it; the first that fits."""


async def answer(heard: Heard) -> Answer:
    """Everything there is to say to a message."""
    for path in heard.attachments if heard.workspace else ():
        line = await asyncio.to_thread(describe, heard.workspace or Path(), path)
        for frame in say(f"I got {line}.\n\n"):
            yield frame
    for pattern, behaviour in BEHAVIOURS:
        match = re.search(pattern, heard.text, re.IGNORECASE)
        if match is not None:
            async for frame in behaviour(heard, match):
                yield frame
            return


def say(text: str) -> Iterator[Frame]:
    """The text, word by word."""
    for word in re.findall(r"\s*\S+\s*", text):
        yield text_chunk(word)


def text_chunk(text: str) -> Frame:
    """A piece of the reply."""
    return {"type": "AGENT_EVENT_TEXT_CHUNK", "text": text}
