"""What operators ask of a host, and what they are answered: the same whether it runs or rests."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from surfaces_core._engine.journal import DEAD, DeadLetter, Journal
from surfaces_core._operating import letters as post
from surfaces_core._operating.export import exported, snapshot
from surfaces_core._operating.letters import Letters, NoSuchLetter, Taken
from surfaces_core._operating.overview import Standing
from surfaces_core._operating.queue import Waiting
from surfaces_core.contracts import Surface
from surfaces_core.errors import SurfacesError

NAMED = 10
"""Numbers that an error names when there are many."""


class Request(BaseModel):
    """One question or order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    do: Literal["queue", "list", "show", "retry", "drop", "export", "backup", "report", "status"]
    numbers: tuple[int, ...] = Field((), description="Of dead letters; without any all are meant.")
    conversation: str | None = Field(None, description="Only those of one conversation.")
    content: bool = Field(False, description="With what was said.")
    surface: str = Field("", description="Which one is to report.")
    report: str = Field("", description="The report's name.")


class Refusal(SurfacesError):
    """A request that cannot be met; what is said about it names the remedy."""

    code = "REFUSED"

    def __init__(self, message: str, *, code: str | None = None, exit_code: int = os.EX_NOINPUT) -> None:
        super().__init__(message, code=code)
        self.exit_code = exit_code


Line = Mapping[str, Any]
"""A piece of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A host, as far as it is asked."""

    journal: Journal
    letters: Letters
    lanes: Callable[[], Sequence[Waiting]]
    """What waits."""
    reasons: Callable[[], Sequence[str]]
    """Why it is not better."""
    running: bool
    overview: Callable[[], Awaitable[Standing]] | None = None
    """The whole of it, of one that runs."""
    taken: Callable[[Taken], None] = lambda _: None
    """Takes up what came back."""
    folder: Path | None = None
    """Where there is room to write."""
    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    """Those that can report."""


async def answer(host: Asked, request: Request) -> AsyncGenerator[Line, None]:
    """`{"row": …}` for each thing, and in the end `{"end": …}` about them all. Raises `Refusal`."""
    match request.do:
        case "queue":
            lines = _queue(host)
        case "list":
            lines = _list(host, request)
        case "show":
            lines = _show(host, request)
        case "retry":
            lines = _retry(host, request)
        case "drop":
            lines = _drop(host, request)
        case "export":
            lines = _export(host)
        case "backup":
            lines = _backup(host)
        case "report":
            lines = _report(host, request)
        case "status":
            lines = _status(host)
    async for line in lines:
        yield line


async def _queue(host: Asked) -> AsyncIterator[Line]:
    lanes = sorted(host.lanes(), key=lambda lane: lane.oldest_s, reverse=True)
    for lane in lanes:
        yield {"row": asdict(lane)}
    yield {
        "end": {
            "running": host.running,
            "inbox": sum(lane.depth for lane in lanes if lane.box == "in"),
            "outbox": sum(lane.depth for lane in lanes if lane.box == "out"),
            "dead_letters": host.journal.dead,
            "reasons": list(host.reasons()),
        }
    }


async def _export(host: Asked) -> AsyncIterator[Line]:
    count = 0
    async for row in exported(host.journal.storage, host.folder):
        count += 1
        yield {"row": row}
    yield {"end": {"rows": count}}


async def _backup(host: Asked) -> AsyncIterator[Line]:
    """Every row as it is stored, secrets included: whoever may ask this host may read its state."""
    count = 0
    async for row, value in snapshot(host.journal.storage, host.folder):
        count += 1
        yield {"row": {"key": b64encode(row).decode(), "value": b64encode(value).decode()}}
    yield {"end": {"rows": count}}


async def _status(host: Asked) -> AsyncIterator[Line]:
    if host.overview is None:
        raise Refusal("the host does not run", exit_code=os.EX_UNAVAILABLE)
    yield {"end": (await host.overview()).as_json()}


async def _report(host: Asked, request: Request) -> AsyncIterator[Line]:
    surface = host.surfaces.get(request.surface)
    if surface is None or request.report not in surface.reports:
        raise Refusal(f"no surface {request.surface} with a report {request.report} is there; was the config changed?")
    count = 0
    async for line in surface.report(request.report):
        count += 1
        yield {"row": {"line": line}}
    yield {"end": {"lines": count}}


# Dead letters -------------------------------------------------------------------------------------


async def _list(host: Asked, request: Request) -> AsyncIterator[Line]:
    count = 0
    async for letter in host.letters.each(request.conversation):
        count += 1
        yield {"row": _short(host, letter)}
    yield {"end": {"letters": count, "of": host.journal.dead}}


async def _show(host: Asked, request: Request) -> AsyncIterator[Line]:
    count = 0
    async for letter in _chosen(host, request):
        count += 1
        stored = json.loads(DEAD.dump(letter))
        yield {"row": {**_short(host, letter), **(stored if request.content else _without_content(stored))}}
    yield {"end": {"letters": count}}


async def _retry(host: Asked, request: Request) -> AsyncIterator[Line]:
    if request.numbers:  # who names one that can't be tried again is told before anything is done
        async for letter in _chosen(host, request):
            obstacle = host.letters.obstacle(letter)
            if obstacle:
                raise Refusal(f"dead letter {letter.seq} cannot be tried again: {obstacle}; nothing was done")
    retried = stuck = 0
    async for letter in _chosen(host, request):
        if host.letters.obstacle(letter):
            stuck += 1
            continue
        try:
            taken = await host.letters.retry(letter.seq)
        except NoSuchLetter:  # somebody else was quicker
            continue
        host.taken(taken)
        retried += 1
        yield {"row": {**_short(host, letter), "turn": post.new_turn(taken)}}
    yield {"end": {"retried": retried, "stuck": stuck}}


async def _drop(host: Asked, request: Request) -> AsyncIterator[Line]:
    gone = await host.letters.drop([letter.seq async for letter in _chosen(host, request)])
    for number in gone:
        yield {"row": {"number": number}}
    yield {"end": {"dropped": len(gone)}}


async def _chosen(host: Asked, request: Request) -> AsyncIterator[DeadLetter]:
    """The letters that are meant. Raises `Refusal`, before the first, when one that is named is not there."""
    if request.numbers:
        for letter in [await _named(host, number) for number in dict.fromkeys(request.numbers)]:
            yield letter
        return
    async for letter in host.letters.each(request.conversation):
        yield letter


async def _named(host: Asked, number: int) -> DeadLetter:
    try:
        return await host.letters.get(number)
    except NoSuchLetter:
        raise Refusal(f"no dead letter has the number {number}; {await _there(host)}") from None


async def _there(host: Asked) -> str:
    numbers = [str(letter.seq) async for letter in host.letters.each()]
    if not numbers:
        return "there is none"
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return f"there are {', '.join(numbers[:NAMED])}{more}" if len(numbers) > 1 else f"there is {numbers[0]}"


def _short(host: Asked, letter: DeadLetter) -> dict[str, Any]:
    where, entry = post.address(letter), letter.entry
    return {
        "number": letter.seq,
        "box": "out" if entry is None else "in",
        "kind": "answer" if entry is None else entry.message.kind.value,
        "surface": where.surface,
        "conversation": where.conversation,
        "turn": post.turn(letter),
        "reason": letter.reason,
        "died_at": letter.died_at,
        "tries": 0 if entry is None else entry.attempts,
        "obstacle": host.letters.obstacle(letter),
    }


CONTENT = ("text", "name", "ref", "path", "sender_name")
"""Keys of stored values that say what people or agents said, or how they call themselves and their files."""


def _without_content(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "[private]" if key in CONTENT else _without_content(inner) for key, inner in value.items()}
    return [_without_content(inner) for inner in value] if isinstance(value, list) else value
