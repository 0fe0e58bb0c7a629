"""The sweeps over the standard scenario: one kill at every point, two kills, three at one message, and bugs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from proof.cases import Case
from proof.double import SPOILED, Spoiled, pairs
from proof.lives import Outcome, live, world
from proof.nursery import Nursery
from proof.planted import Catch
from proof.points import NAMES, Counts, Point, catalogue
from proof.processes import HOST

SHORT_PATIENCE_S = 2.5
"""The same where a bug is planted, so that not every one costs half a minute; with and without the bug."""


async def measured() -> Counts:
    """How often a life without a kill comes to each point."""
    async with world(None) as run:
        return await run.counts()


async def swept(nursery: Nursery, point: Point) -> Outcome:
    """One kill at a point; where this run never came there, at the same point one time earlier."""
    async with world(nursery) as run:
        outcome = await live(run, [point])
    if outcome.landed or not outcome.good or point.count == 1:
        return outcome
    return await swept(nursery, replace(point, count=point.count - 1))


async def swept_all(nursery: Nursery, points: Sequence[Point]) -> Outcome:
    """Several kills in one run, life after life."""
    async with world(nursery) as run:
        return await live(run, points)


async def spoiled(nursery: Nursery, case: Spoiled) -> Outcome:
    """Kills that leave a message without an answer."""
    async with world(nursery, spoiled=case.message, on_interrupt=case.on_interrupt) as run:
        return await live(run, case.at)


async def with_bug(nursery: Nursery, catch: Catch) -> Outcome:
    """The run in which a planted bug must be seen."""
    return await _caught(nursery, catch, (*HOST[:2], "proof.planted", catch.name))


async def without_bug(nursery: Nursery, catch: Catch) -> Outcome:
    """The same run with the host as it is."""
    return await _caught(nursery, catch, HOST)


async def _caught(nursery: Nursery, catch: Catch, command: Sequence[str]) -> Outcome:
    made = world(nursery, command, spoiled=catch.spoiled, on_interrupt=catch.on_interrupt, calm=catch.calm)
    async with made as run:
        return await live(run, catch.at, SHORT_PATIENCE_S)


def sweep_cases(nursery: Nursery, counts: Counts, each: int | None, names: Sequence[str] = NAMES) -> Iterator[Case]:
    """Every point, at most so many occurrences of each."""
    for point in catalogue(counts, each, names):
        yield Case(name=str(point), run=partial(swept, nursery, point))


def double_cases(nursery: Nursery, counts: Counts, share: int) -> Iterator[Case]:
    """One in so many of all pairs of points."""
    for pair in pairs(counts, share):
        yield Case(name="+".join(map(str, pair)), run=partial(swept_all, nursery, pair))


def spoiled_cases(nursery: Nursery) -> Iterator[Case]:
    """Every message that kills leave without an answer."""
    for case in SPOILED:
        yield Case(name=str(case), run=partial(spoiled, nursery, case))
