"""Owns what a model is told: what was said before, the question, and the pictures, as the library's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

from surfaces_core import Said
from surfaces_llm.attachments import Picture
from surfaces_llm.kept import KeptTurn, reckoned, tokens_of

CUT = "\n[cut: there is no room for more]"
LEAST_RESULT = 300
"""Bytes of what a tool gave that are told however little room there is."""
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


def fitted(fresh: Sequence[ModelMessage], room: int) -> list[ModelMessage]:
    """What came of a question; where it takes more tokens than there are, what tools gave is cut to even shares."""
    over = reckoned(fresh) - room
    given = [part for message in fresh for part in message.parts if isinstance(part, ToolReturnPart)]
    if over <= 0 or not given:
        return list(fresh)
    left = sum(len(str(part.content).encode()) for part in given) - 3 * over - len(CUT) * len(given)
    each = max(LEAST_RESULT, left // len(given))
    return [
        replace(
            message, parts=[_cut(part, each) if isinstance(part, ToolReturnPart) else part for part in message.parts]
        )
        if isinstance(message, ModelRequest)
        else message
        for message in fresh
    ]


def _cut(part: ToolReturnPart, most: int) -> ToolReturnPart:
    said = str(part.content).encode()
    return part if len(said) <= most else replace(part, content=said[:most].decode(errors="ignore") + CUT)


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
