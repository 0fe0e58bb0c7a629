"""Owns what is kept of a context: one row for each turn, written when the turn is over.

A row is named by its turn, so a turn that is repeated after a crash finds its answer, or takes the
place of the one that it asked otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart

from surfaces_core import Agent, AgentRequest, Store

LARGEST_ROW = 1 << 20
"""Of a turn that takes more bytes than this only the answer's text is kept."""
MOST_BYTES = 8 << 20
"""More is not kept of one context: all of it is read for each question."""
IMAGE_TOKENS = 1000
"""What a picture is reckoned at."""


def fingerprint(request: AgentRequest) -> str:
    """What was asked: a turn that is asked otherwise has another."""
    return hashlib.sha256("\0".join((request.text, *request.attachments)).encode()).hexdigest()


def tokens_of(text: str) -> int:
    """How much a text is reckoned at: rather too much, as no two models count alike."""
    return len(text.encode()) // 3 + 4


def reckoned(messages: Sequence[ModelMessage]) -> int:
    """Tokens of messages without pictures."""
    parts = [part for message in messages for part in message.parts]
    return sum(tokens_of(part.content if isinstance(part, TextPart) else str(part)) for part in parts)


class KeptTurn(BaseModel):
    """One turn as it is kept."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    number: int
    """Its place in the context, from 1."""
    asked: str
    """`fingerprint` of the request."""
    text: str
    """What the model was told: the person's words, and the files that came along."""
    images: tuple[str, ...] = ()
    """Paths in the workspace."""
    messages: list[ModelMessage]
    """What came of it: the model's answers, the use of tools and what that gave."""
    answer: str
    """All that was said to the person."""
    tokens: int

    def dump(self) -> bytes:
        """As it is stored."""
        row = self.model_dump_json().encode()
        if len(row) <= LARGEST_ROW:
            return row
        short = self.model_copy(update={"messages": [ModelResponse(parts=[TextPart(self.answer)])]})
        return short.model_dump_json().encode()

    @property
    def size(self) -> int:
        """Tokens that it takes of a model's context, reckoned."""
        return tokens_of(self.text) + reckoned(self.messages) + IMAGE_TOKENS * len(self.images)


def prefix(agent: Agent, context: str) -> str:
    """What the rows of a context begin with."""
    return f"turn/{context}/{quote(agent.id, safe='')}/"


class Memory:
    """The contexts of all agents, in the store."""

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most

    async def turns(self, request: AgentRequest) -> dict[str, KeptTurn]:
        """What is kept of a request's context, by turn, oldest first."""
        below = prefix(request.agent, request.context)
        return _known(await self._store.scan(below), below)

    async def keep(self, request: AgentRequest, turn: KeptTurn) -> None:
        """Write a turn; one of that name is replaced, in its place."""
        below = prefix(request.agent, request.context)
        rows = await self._store.scan(below)
        turns = _known(rows, below)
        before = turns.pop(request.turn, None)
        number = before.number if before else max((kept.number for kept in turns.values()), default=0) + 1
        row = turn.model_copy(update={"number": number}).dump()
        sizes = [(below + name, len(rows[below + name])) for name in turns]
        await self._store.write({**dict.fromkeys(self._too_old(sizes, len(row))), below + request.turn: row})

    def _too_old(self, sizes: list[tuple[str, int]], new: int) -> list[str]:
        """Which rows, of these from oldest to latest, are to go for a new one."""
        first, bytes_left = len(sizes), MOST_BYTES - new
        while first and len(sizes) - first + 1 < self._most and sizes[first - 1][1] <= bytes_left:
            first -= 1
            bytes_left -= sizes[first][1]
        return [key for key, _ in sizes[:first]]

    async def forget(self, agent: Agent, context: str) -> None:
        """Remove all that is kept of a context."""
        rows = await self._store.scan(prefix(agent, context))
        if rows:
            await self._store.write(dict.fromkeys(rows))


def _known(rows: Mapping[str, bytes], below: str) -> dict[str, KeptTurn]:
    turns = {name.removeprefix(below): _load(row) for name, row in rows.items()}
    known = [(name, turn) for name, turn in turns.items() if turn is not None]
    return dict(sorted(known, key=lambda item: item[1].number))


def _load(row: bytes) -> KeptTurn | None:
    """A row that this version cannot read is passed over: the conversation goes on without it."""
    try:
        return KeptTurn.model_validate_json(row)
    except ValidationError:
        return None


def fitting(turns: Sequence[KeptTurn], budget: int) -> Sequence[KeptTurn]:
    """The latest turns that together take no more than a budget of tokens."""
    first = len(turns)
    while first and turns[first - 1].size <= budget:
        first -= 1
        budget -= turns[first].size
    return turns[first:]
