"""Owns what came to the server: every request, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True, eq=False)
class Asked:
    """One request for an answer."""

    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: Mapping[str, Any]
    answered: bool = False
    """The whole answer went out."""
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when who asked closed the connection before that."""

    @property
    def model(self) -> str:
        """Which model was asked for."""
        if "/models/" in self.path:  # Gemini names it in the path
            return self.path.rpartition("/models/")[2].partition(":")[0]
        return str(self.body.get("model", ""))

    @property
    def said(self) -> list[tuple[str, str]]:
        """The conversation as it was sent: role and text of each message, the system's among them."""
        if "contents" in self.body:
            head = (
                [("system", _text(self.body["systemInstruction"]["parts"]))] if "systemInstruction" in self.body else []
            )
            return head + [(turn.get("role", ""), _text(turn.get("parts"))) for turn in self.body["contents"]]
        head = [("system", _text(self.body["system"]))] if self.body.get("system") else []
        return head + [(message["role"], _text(message.get("content"))) for message in self.body.get("messages", ())]

    @property
    def images(self) -> int:
        """How many pictures came along."""
        return sum(
            isinstance(part, Mapping) and (part.get("type") in ("image_url", "image") or "inlineData" in part)
            for message in self.body.get("messages", self.body.get("contents", ()))
            for part in _parts(message.get("content", message.get("parts")))
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Record:
    """Everything that came, oldest first."""

    asked: list[Asked] = field(default_factory=list)
    listed: int = 0
    """How often the list of models was asked for."""


def _parts(content: Any) -> Sequence[Any]:
    return content if isinstance(content, list) else ()


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _parts(content) if isinstance(part, Mapping) and "text" in part)
