"""Owns what the reference agent remembers: one memory for each context, in a file where one is named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

Frame = dict[str, Any]
_MAX_TURNS = 200
"""Message ids that a context remembers; a repeat older than that is taken for new."""


class RememberedTurn(BaseModel):
    """One turn that came with a message id."""

    number: int
    frames: list[Frame] | None = None
    """The whole answer; None until it is complete."""


class ContextMemory(BaseModel):
    """What was said in one context."""

    messages: list[str] = Field(default_factory=list)
    turns: dict[str, RememberedTurn] = Field(default_factory=dict)

    def hear(self, text: str, message_id: str | None) -> RememberedTurn:
        """Remember a message once, however often it comes."""
        known = self.turns.get(message_id) if message_id is not None else None
        if known is not None:
            return known
        self.messages.append(text)
        turn = RememberedTurn(number=len(self.messages))
        if message_id is not None:
            self.turns[message_id] = turn
            while len(self.turns) > _MAX_TURNS:
                del self.turns[next(iter(self.turns))]
        return turn


class _Contexts(BaseModel):
    contexts: dict[str, ContextMemory] = Field(default_factory=dict)


class Memory:
    """All contexts. Without a file they last as long as the process."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._saving = asyncio.Lock()
        stored = file is not None and file.exists()
        self._all = _Contexts.model_validate_json(file.read_bytes()) if file and stored else _Contexts()

    def __getitem__(self, context: str) -> ContextMemory:
        return self._all.contexts.setdefault(context, ContextMemory())

    async def save(self) -> None:
        """Make it last; returns when it does."""
        if self._file is None:
            return
        async with self._saving:
            await asyncio.to_thread(_replace, self._file, self._all.model_dump_json())


def _replace(file: Path, content: str) -> None:
    draft = file.with_name(file.name + ".new")
    draft.write_text(content, encoding="utf-8")
    draft.replace(file)
