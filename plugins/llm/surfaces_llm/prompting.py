"""Owns what a model is told: what was said before, the question, and the pictures, as the library's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserContent,
    UserPromptPart,
)

from surfaces_core import Said
from surfaces_llm.attachments import Picture
from surfaces_llm.kept import KeptTurn, tokens_of

Pictures = Mapping[str, Picture]


def question(text: str, images: Sequence[str], pictures: Pictures) -> ModelRequest:
    """What a person says; of the images those that there are pictures of."""
    content: list[UserContent] = [text] if text else []
    content += [
        BinaryContent(data=pictures[path].data, media_type=pictures[path].mime) for path in images if path in pictures
    ]
    plain = text if len(content) <= 1 and text else content
    return ModelRequest(parts=[UserPromptPart(content=plain)])


def earlier(turns: Sequence[KeptTurn], pictures: Pictures) -> list[ModelMessage]:
    """Turns that are kept, as they were."""
    messages: list[ModelMessage] = []
    for turn in turns:
        messages += [question(turn.text, turn.images, pictures), *turn.messages]
    return messages


def reread(history: Sequence[Said], budget: int) -> list[ModelMessage]:
    """What the messenger shows, the latest that fit; it begins with a person, and the two take turns."""
    first = len(history)
    while first and tokens_of(history[first - 1].text) <= budget:
        first -= 1
        budget -= tokens_of(history[first].text)
    several = len({said.name for said in history if said.by == "person"}) > 1
    messages: list[ModelMessage] = []
    for by, group in groupby(history[first:], key=lambda said: said.by):
        text = "\n\n".join(_line(said, several) for said in group)
        if by == "person":
            messages.append(ModelRequest(parts=[UserPromptPart(content=text)]))
        elif messages:
            messages.append(ModelResponse(parts=[TextPart(content=text)]))
    return messages


def _line(said: Said, several: bool) -> str:
    return f"{said.name}: {said.text}" if several and said.by == "person" and said.name else said.text
