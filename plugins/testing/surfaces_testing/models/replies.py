"""Owns what a model answers: text in pieces or the use of a tool, and the brain that chooses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from surfaces_testing.models.record import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """The model wants a tool to be used."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = "call-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    text: str = ""
    tools: tuple[ToolUse, ...] = ()
    finish: str = ""
    """OpenAI's word for why it ended; from what it is unless set. Empty and `None` are the same on the wire."""
    tokens_in: int = 11
    tokens_out: int = 7

    @property
    def pieces(self) -> list[str]:
        """The text in the pieces that it is streamed in."""
        return re.findall(r"\s*\S+\s*?(?=\s|$)|\s+", self.text)

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self.finish or ("tool_calls" if self.tools else "stop")


Brain = Callable[[Asked], Reply]


def remembers(asked: Asked) -> Reply:
    """Says what was asked and how often it was; counts when told to; repeats the conversation when asked for it."""
    questions = [text for role, text in asked.said if role == "user"]
    question = questions[-1] if questions else ""
    counting = re.fullmatch(r"count to (\d+)", question)
    if counting:
        return Reply(text=" ".join(str(number) for number in range(1, int(counting[1]) + 1)))
    if question == "what did I say?":
        return Reply(text="You said: " + ", ".join(questions[:-1]))
    return Reply(text=f"You said: {question}. (question {len(questions)})")
