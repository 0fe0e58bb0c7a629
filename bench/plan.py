"""What is measured of whom, in which order and how often."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.bots import PROGRAMS, Bot, bare, nio, surfaces
from bench.measures import ROOMS, burst, intake, load, trickle
from bench.report import Figures, Found
from bench.running import running
from surfaces_demo.children import Child, DemoError

ONCE = 10_000
"""With so many a start takes long, and one round must do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    rounds: int = 3
    rooms: tuple[int, ...] = (1, 100, 1000, 10_000)
    agents: tuple[int, ...] = (1, 100, 1000, 10_000)
    trickle: int = 300
    """Messages, one at a time."""
    waves: int = 4
    """Of five messages in each of a hundred rooms."""
    burst: int = 20
    """Messages in each of a hundred rooms at once."""
    intake: int = 50
    """The same, to be stored alone."""
    enough_s: float = 270.0
    """Beyond that no further round is begun."""


QUICK = Plan(rounds=1, rooms=(1, 100), agents=(1, 100), trickle=100, waves=2)


async def measure(bot: Bot, rooms: int, plan: Plan) -> dict[str, float]:
    """All figures of one bot in so many rooms."""
    async with running(bot, rooms) as run:
        figures = {"start_s": run.start_s, "idle_mib": run.memory_mib("VmRSS"), "peak_mib": run.memory_mib()}
        one = await trickle(run, plan.trickle)
        figures |= {"round_trip_ms": one.round_trip_ms, "round_trip_p95_ms": one.round_trip_p95_ms}
        figures["trickle_cpu_ms"] = one.cpu_ms
        if rooms >= ROOMS:
            figures["load_cpu_ms"] = await load(run, plan.waves)
        if rooms == ROOMS:
            many = await burst(run, plan.burst, "burst")
            figures |= {"burst_per_s": many.per_s, "burst_lost": many.lost}
            figures |= {"burst_doubled": many.doubled, "burst_disordered": many.disordered}
    return figures


async def measure_floor(plan: Plan) -> dict[str, float]:
    """The journal without a host."""
    with TemporaryDirectory(prefix="surfaces-bench-") as name:
        folder = Path(name)
        sizes = map(str, (plan.trickle, plan.waves, plan.burst))
        child = await Child.start("floor", [sys.executable, str(PROGRAMS / "floor.py"), name, *sizes], folder=folder)
        try:
            return {figure: float(str(value)) for figure, value in (await child.ready(60.0)).items()}
        finally:
            await child.kill()


async def measure_intake(bot: Bot, plan: Plan) -> dict[str, float]:
    """How fast the host stores what comes in."""
    async with running(bot, ROOMS) as run:
        return {"intake_per_s": await intake(run, plan.intake)}


def steps(folder: Path, plan: Plan, number: int) -> Iterator[tuple[str, Bot, int]]:
    """Who is measured with how many of what in one round."""
    host, wired = surfaces(folder), surfaces(folder, transport="agent_api")
    for count in [count for count in plan.rooms if count < ONCE or number == 0]:
        yield from (("rooms", bot, count) for bot in (nio(), bare(), host, wired))
    for count in [count for count in plan.agents if count < ONCE or number == 0]:
        yield "agents", surfaces(folder, transport="agent_api", agents=count), count


async def measured(folder: Path, plan: Plan, only: set[str]) -> Found:
    """The median of each figure, round by round, so that all meet the same weather."""
    found: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    began = time.monotonic()
    for number in range(plan.rounds):
        if time.monotonic() - began > plan.enough_s:
            break
        for growing, bot, count in steps(folder, plan, number):
            if only and bot.name not in only:
                continue
            sys.stderr.write(f"{time.monotonic() - began:4.0f} s, {bot.name}: {count:,} {growing}\n")
            try:
                figures = await measure(bot, count if growing == "rooms" else ROOMS, plan)
            except (DemoError, TimeoutError) as error:  # one that can't bear so many must not cost the others' figures
                sys.stderr.write(f"  {type(error).__name__}: {error}\n")
                continue
            _note(found[growing, bot.name, str(count)], figures)
        await _beside(folder, plan, found)
    return _medians(found)


async def _beside(folder: Path, plan: Plan, found: dict[tuple[str, str, str], dict[str, list[float]]]) -> None:
    """What has no growth: the floor, and what a host that only stores takes in."""
    _note(found["floor", "floor", "1"], await measure_floor(plan))
    _note(found["intake", "surfaces", "100"], await measure_intake(surfaces(folder, transport="bench_mute"), plan))


def _note(into: dict[str, list[float]], figures: Figures) -> None:
    for name, value in figures.items():
        into[name].append(value)


def _medians(found: Mapping[tuple[str, str, str], Mapping[str, list[float]]]) -> Found:
    result: dict[str, dict[str, dict[str, Figures]]] = defaultdict(lambda: defaultdict(dict))
    for (growing, name, count), figures in found.items():
        result[growing][name][count] = {figure: round(median(values), 3) for figure, values in figures.items()}
    return result
