"""The parts of the proof: each runs in a short or a long form and says what it found."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from proof import restart as restarting
from proof.campaign import campaign_cases
from proof.cases import Case, run_all
from proof.lives import Outcome
from proof.nursery import Nursery
from proof.planted import CAUGHT, Catch
from proof.report import Part, Teller
from proof.sweep import double_cases, measured, spoiled_cases, sweep_cases, with_bug, without_bug
from proof.verdict import Verdict

SIDE_BY_SIDE = len(os.sched_getaffinity(0)) + 1
"""Runs wait more than they work."""
SEEDS = 300
SHORT_SEEDS = 12


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What is wanted of all parts."""

    quick: bool = False
    seed: int | None = None
    """One seed alone, where there are seeds."""
    case: str = ""
    """One run alone, by its name."""
    tell: Teller


async def sweep(orders: Orders) -> Part:
    """One kill at every occurrence of every point."""
    async with Nursery() as nursery:
        cases = list(sweep_cases(nursery, await measured(), 2 if orders.quick else None))
        return await _ran("sweep", cases, orders)


async def double(orders: Orders) -> Part:
    """A second kill while recovering, and three at one message."""
    async with Nursery() as nursery:
        cases = [*double_cases(nursery, await measured(), 48 if orders.quick else 6), *spoiled_cases(nursery)]
        return await _ran("double", cases, orders)


async def campaign(orders: Orders) -> Part:
    """Seeded runs with faults."""
    seeds = range(1, (SHORT_SEEDS if orders.quick else SEEDS) + 1) if orders.seed is None else [orders.seed]
    async with Nursery() as nursery:
        repeat = "python -m proof --only campaign --seed {}"
        return await _ran("campaign", list(campaign_cases(nursery, seeds)), orders, repeat)


async def _ran(name: str, cases: Sequence[Case], orders: Orders, repeat: str = "") -> Part:
    chosen = [case for case in cases if orders.case in ("", case.name)]
    tally = await run_all(chosen, SIDE_BY_SIDE, partial(orders.tell, name))
    return Part(
        name=name,
        good=tally.good and tally.landed > 0,
        figures=tally.figures(),
        wrong=tally.failures,
        repeat=repeat or f"python -m proof --only {name} --case '{{}}'",
    )


async def planted(orders: Orders) -> Part:
    """Every planted bug is seen where it must be, and without it all is well there."""
    seen: dict[str, Mapping[str, object]] = {}
    async with Nursery() as nursery:
        cases = [Case(name=catch.name, run=partial(_caught, nursery, catch, seen)) for catch in CAUGHT]
        part = await _ran("planted", cases, orders)
    bugs = {catch.name: seen[catch.name] for catch in CAUGHT if catch.name in seen}
    return Part(
        name=part.name, good=part.good, figures={**part.figures, "bugs": bugs}, wrong=part.wrong, repeat=part.repeat
    )


async def _caught(nursery: Nursery, catch: Catch, seen: dict[str, Mapping[str, object]]) -> Outcome:
    """What the run without the bug comes to, and whether the one with it fails as it should."""
    bug = await with_bug(nursery, catch)
    control = await without_bug(nursery, catch)
    counts = {kind: count for kind, count in bug.verdict.counts().items() if count}
    seen[catch.name] = {"at": catch.place, "as": catch.by, "seen": counts}
    unseen = () if catch.by in counts else (f"{catch.name} is not seen as {catch.by} at {catch.place}, but {bug}",)
    verdict = control.verdict + Verdict(other=unseen)
    return Outcome(kills=control.kills, landed=control.landed, verdict=verdict, trouble=control.trouble)


async def restart(orders: Orders) -> Part:
    """Back at work after a kill with a thousand questions waiting; the time is told, and decides nothing."""
    found = await restarting.measure(10 if orders.quick else restarting.PEOPLE)
    counts = {"runs": 1, "kills": 1, "landed": 1, **found.outcome.verdict.counts()}
    wrong = {} if found.outcome.good else {"restart": str(found.outcome)}
    figures = {**counts, "trouble": int(bool(found.outcome.trouble)), "seconds": round(found.all_answers_s, 1)}
    return Part(name="restart", good=not wrong, figures={**figures, **found.figures()}, wrong=wrong)


async def order(orders: Orders) -> Part:
    """No act before what it rests on is on the disk; and a host that does not sync is flagged."""
    from proof import order as ordering
    from proof.processes import HOST

    with TemporaryDirectory() as good, TemporaryDirectory() as bad:
        found = await ordering.check(Path(good))
        unsynced = await ordering.check(Path(bad), (*HOST[:2], "proof.planted_order", "unsynced"))
    wrong = found.wrong()
    if not unsynced.early:
        wrong["synchronous=NORMAL"] = "was not flagged"
    figures = {
        "runs": 2,
        "acts": dict(found.acts),
        "commits": found.commits,
        "early": len(found.early),
        "flagged_without_sync": len(unsynced.early),
        "seconds": round(found.seconds + unsynced.seconds, 1),
    }
    return Part(name="order", good=not wrong, figures=figures, wrong=wrong)


async def syscalls(orders: Orders) -> Part:
    """Killed at the n-th write, sync and send."""
    from proof import syscalls as calls

    with TemporaryDirectory() as name:
        folder = Path(name)
        counts = await calls.measure(folder / "measure")
        long, quick = {"each": None, "cuts": 10, "twice": 1}, {"each": 1, "cuts": 1, "twice": 0}
        chosen = calls.points(counts, **(quick if orders.quick else long))
        found = await calls.sweep(chosen, folder, SIDE_BY_SIDE)
    figures = {
        "runs": found.points,
        "kills": found.points,
        "landed": found.landed,
        "lost": found.lost,
        "doubled": found.doubled,
        "out_of_order": found.reordered,
        "torn": found.torn,
        "other": found.other,
        "seconds": round(found.seconds, 1),
    }
    return Part(
        name="syscalls", good=found.good, figures=figures, wrong=dict(line.partition("\n")[::2] for line in found.wrong)
    )


async def simulation(orders: Orders) -> Part:
    """One seeded world on virtual time."""
    from proof.simulation import simulate

    began = time.monotonic()
    found = await asyncio.to_thread(simulate, orders.seed or 1, 3_000 if orders.quick else 100_000)
    figures = {name: value for name, value in asdict(found).items() if name != "failures"}
    wrong = {str(number): str(failure) for number, failure in enumerate(found.failures, 1)}
    seconds = round(time.monotonic() - began, 1)
    return Part(name="simulation", good=not wrong, figures={**figures, "runs": 1, "seconds": seconds}, wrong=wrong)


Prove = Callable[[Orders], Coroutine[None, None, Part]]

PARTS: Mapping[str, Prove] = {
    part.__name__: part for part in (sweep, double, campaign, planted, restart, order, syscalls, simulation)
}
