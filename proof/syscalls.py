"""The sweep over system calls: the host is killed right before and right after its n-th write, sync and send."""

from __future__ import annotations

import shutil
import time
from asyncio import TaskGroup
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path
from typing import get_args

from proof.lives import PATIENCE_S, Outcome, live
from proof.nursery import Nursery
from proof.points import spread
from proof.processes import HOST, Agent, reference_agent
from proof.trace import Kill, Kind, Side
from proof.traced import SystemCall, TracedRun
from surfaces_testing.homeserver import FakeHomeserver

KINDS: tuple[Kind, ...] = get_args(Kind)
SIDES: tuple[Side, ...] = get_args(Side)
WORDS_PER_SECOND = 100


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where the lives of one run end, one life after the other; the last one lives."""

    kills: tuple[Kill, ...]
    power: bool = False
    """Each kill is a power cut: the next life finds what was synced, and nothing else."""

    def __str__(self) -> str:
        return "+".join([*(["power"] if self.power else []), *map(str, self.kills)])

    @property
    def kind(self) -> str:
        """What is counted together: the kinds of its calls."""
        return "+".join([*(["power"] if self.power else []), *(kill.kind for kill in self.kills)])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many calls of each kind a life makes."""

    first: Mapping[str, int]
    """From nothing to the end of the scenario."""
    second: Mapping[str, int]
    """From a crash in the middle to the end."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of one point."""

    point: Point
    landed: bool
    """Every kill came, with work outstanding."""
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    torn: int = 0
    other: int = 0
    """Rooms, files, exit codes, complaints in a log."""
    text: str = ""
    """What is wrong, for people."""

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not (self.lost or self.doubled or self.reordered or self.torn or self.other)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of all of them."""

    points: int
    landed: int
    lost: int
    doubled: int
    reordered: int
    torn: int
    other: int
    seconds: float
    figures: Mapping[str, tuple[int, int]]
    """Points, and those of them that landed, by the kind of the calls."""
    wrong: Sequence[str]
    """Points at which something is wrong, and what it is."""

    @property
    def good(self) -> bool:
        """Something landed, and nothing is wrong anywhere."""
        return self.landed > 0 and not self.wrong

    def table(self) -> str:
        """For people."""
        lines = [f"{'killed at':<14}{'points':>8}{'landed':>8}"]
        lines += [f"{kind:<14}{points:>8}{landed:>8}" for kind, (points, landed) in self.figures.items()]
        lines.append(f"{'all':<14}{self.points:>8}{self.landed:>8}  in {self.seconds:.0f} s")
        names = ("lost", "doubled", "reordered", "torn", "other")
        lines.append(", ".join(f"{getattr(self, name)} {name}" for name in names))
        return "\n".join([*lines, *self.wrong])


# Which points ----------------------------------------------------------------------------------------


async def measure(folder: Path) -> Counts:
    """Count the calls of a life that nothing happens to, and of one behind a crash in the middle of it."""
    (first,) = await _counted(folder / "first", ())
    middle = Kill(kind="fsync", side="before", count=first["fsync"] // 2)
    _, second = await _counted(folder / "second", (middle,))
    return Counts(first=first, second=second)


async def _counted(folder: Path, kills: Sequence[Kill]) -> list[Mapping[str, int]]:
    """The calls of each life. Raises `AssertionError` when anything is wrong."""
    async with _agent(folder / "agents") as agent, FakeHomeserver() as homeserver:
        run = TracedRun(agent, folder, homeserver, follow=True)
        outcome = await live(run, [SystemCall.of(kill) for kill in kills])
    assert outcome.good, f"{outcome.verdict}\n{outcome.trouble}"
    return [trace.counts_of_work() for trace in run.traces()]


def points(counts: Counts, *, each: int | None, cuts: int | None = 0, twice: int = 0) -> list[Point]:
    """A spread of `each` calls of every kind on both sides; None: all of them.

    Beside these `cuts` power cuts at calls of every kind, and for every two kinds `twice` by `twice` runs
    in which the life behind the kill is killed as well.
    """
    first, second = counts.first, counts.second
    once = [_kills(kind, [side], _spread(first, kind, each)) for kind, side in product(KINDS, SIDES)]
    powers = [_kills(kind, SIDES, _spread(first, kind, cuts)) for kind in KINDS]
    pairs = [
        product(_kills(kind, SIDES, _inner(first, kind, twice)), _kills(other, SIDES, _inner(second, other, twice)))
        for kind, other in product(KINDS, KINDS)
    ]
    return [
        *(Point(kills=(kill,)) for kills in once for kill in kills),
        *(Point(kills=(kill,), power=True) for kills in powers for kill in kills),
        *(Point(kills=pair) for several in pairs for pair in several),
    ]


def _spread(counts: Mapping[str, int], kind: Kind, most: int | None) -> Sequence[int]:
    return () if most == 0 else spread(counts.get(kind, 0), most)


def _inner(counts: Mapping[str, int], kind: Kind, most: int) -> Sequence[int]:
    """A spread that leaves out both ends: a life behind the last call has nothing to do."""
    return sorted({1 + counts.get(kind, 0) * (2 * step + 1) // (2 * most + 1) for step in range(most)})


def _kills(kind: Kind, sides: Sequence[Side], chosen: Sequence[int]) -> list[Kill]:
    """These calls of a kind, at these sides in turn."""
    return [Kill(kind=kind, side=side, count=count) for side, count in zip(cycle(sides), chosen, strict=False)]


# Sweeping --------------------------------------------------------------------------------------------


async def run(
    point: Point,
    agent: Agent,
    folder: Path,
    *,
    command: Sequence[str] = HOST,
    nursery: Nursery | None = None,
    patience_s: float = PATIENCE_S,
) -> Verdict:
    """The scenario with these kills, then a clean life; played in a folder that is made."""
    async with FakeHomeserver() as homeserver:
        traced_run = TracedRun(agent, _made(folder), homeserver, command, power=point.power, nursery=nursery)
        outcome = await live(traced_run, [SystemCall.of(kill) for kill in point.kills], patience_s)
    return _verdict(point, outcome)


def _verdict(point: Point, outcome: Outcome) -> Verdict:
    found = outcome.verdict
    return Verdict(
        point=point,
        landed=outcome.landed == outcome.kills,
        lost=len(found.lost),
        doubled=len(found.doubled),
        reordered=len(found.out_of_order),
        torn=len(found.torn),
        other=len(found.other) + bool(outcome.trouble),
        text="" if outcome.good else f"{found}\n{outcome.trouble}",
    )


async def sweep(
    points: Sequence[Point],
    folder: Path,
    parallel: int = 2,
    *,
    command: Sequence[str] = HOST,
    patience_s: float = PATIENCE_S,
) -> Result:
    """All points, some side by side; the folders of those at which something is wrong stay.

    `command` is a `python -m MODULE …`: lives that are not killed come from a nursery.
    """
    began = time.monotonic()
    left, verdicts = deque(points), list[Verdict]()
    async with Nursery() as nursery, TaskGroup() as group:
        try_ = partial(run, command=command, nursery=nursery, patience_s=patience_s)
        for worker in range(parallel):
            group.create_task(_work(left, verdicts, folder / f"worker-{worker}", try_))
    return result(verdicts, time.monotonic() - began)


async def _work(
    left: deque[Point], verdicts: list[Verdict], folder: Path, try_: Callable[[Point, Agent, Path], Awaitable[Verdict]]
) -> None:
    """Take points as long as there are any; the agent is this worker's own, for its files are judged, too."""
    async with _agent(folder / "agents") as agent:
        while left:
            point = left.popleft()
            verdicts.append(await try_(point, agent, folder / str(point)))
            if verdicts[-1].good:
                shutil.rmtree(folder / str(point))


def result(verdicts: Sequence[Verdict], seconds: float) -> Result:
    """All verdicts together."""
    kinds = Counter(verdict.point.kind for verdict in verdicts)
    landed = Counter(verdict.point.kind for verdict in verdicts if verdict.landed)
    return Result(
        points=len(verdicts),
        landed=landed.total(),
        lost=sum(verdict.lost for verdict in verdicts),
        doubled=sum(verdict.doubled for verdict in verdicts),
        reordered=sum(verdict.reordered for verdict in verdicts),
        torn=sum(verdict.torn for verdict in verdicts),
        other=sum(verdict.other for verdict in verdicts),
        seconds=seconds,
        figures={kind: (count, landed[kind]) for kind, count in kinds.items()},
        wrong=tuple(f"{verdict.point}: {verdict.text}" for verdict in verdicts if not verdict.good),
    )


@asynccontextmanager
async def _agent(volume: Path) -> AsyncIterator[Agent]:
    async with reference_agent(_made(volume), "--words-per-second", str(WORDS_PER_SECOND)) as agent:
        yield agent


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
