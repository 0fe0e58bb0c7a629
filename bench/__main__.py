"""`python -m bench`: runs every bot in turn, prints the table, writes `bench/results.json`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from bench import report
from bench.bots import Bot, bare, nio, surfaces
from bench.measures import ROOMS, burst, intake, load, trickle
from bench.running import running

RESULTS = Path(__file__).parent / "results.json"
MANY_ROOMS = 1000
BURST_PER_ROOM = 20
INTAKE_PER_ROOM = 50
AGENT = {"base_url": "${AGENT_URL}"}


async def measure(bot: Bot, scale: float) -> dict[str, float]:
    """All figures of one bot; `scale` shortens what takes long."""
    async with running(bot, 1) as run:
        one = await trickle(run, int(300 * scale))
        figures = {"start_s": run.start_s, "memory_mib": run.memory_mib(), "round_trip_ms": one.round_trip_ms}
        figures |= {"round_trip_p95_ms": one.round_trip_p95_ms, "trickle_cpu_ms": one.cpu_ms}
    async with running(bot, ROOMS) as run:
        figures["load_cpu_ms"] = await load(run, max(1, int(4 * scale)))
        many = await burst(run, BURST_PER_ROOM, "burst")
        figures |= {"burst_per_s": many.per_s, "burst_cpu_ms": many.cpu_ms, "burst_lost": many.lost}
        figures |= {"burst_doubled": many.doubled, "burst_disordered": many.disordered}
    async with running(bot, MANY_ROOMS) as run:
        figures |= {"start_many_s": run.start_s, "memory_many_mib": run.memory_mib()}
    return figures


async def measure_intake(bot: Bot) -> dict[str, float]:
    """How fast the host stores what comes in."""
    async with running(bot, ROOMS) as run:
        return {"intake_per_s": await intake(run, INTAKE_PER_ROOM)}


async def rounds(folder: Path, count: int, scale: float, only: set[str]) -> dict[str, report.Figures]:
    """Every bot in every round, so that all meet the same weather; the median of each figure."""
    bots = [
        nio(),
        bare(),
        surfaces(folder, "surfaces", "Surfaces", "bench_echo"),
        surfaces(folder, "surfaces_agent", "Surfaces, agent in a process of its own", "agent_api", AGENT),
    ]
    mute = surfaces(folder, "surfaces_mute", "", "bench_mute")
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(count):
        for bot in [bot for bot in bots if not only or bot.name in only]:
            sys.stderr.write(f"round {number + 1} of {count}: {bot.title}\n")
            figures = await measure(bot, scale)
            if bot.name == "surfaces":
                figures |= await measure_intake(mute)
            into = found.setdefault(bot.name, defaultdict(list))
            for name, value in figures.items():
                into[name].append(value)
    return {bot: {name: median(values) for name, values in figures.items()} for bot, figures in found.items()}


TITLES = {
    "nio": "plain matrix-nio",
    "bare": "bare aiohttp loop",
    "surfaces": "Surfaces",
    "surfaces_agent": "Surfaces with an agent's socket",
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", nargs="*", default=[], metavar="BOT", help="print these alone and write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="surfaces-bench-") as folder:
        count, scale = (1, 0.3) if options.quick else (options.rounds, 1.0)
        figures = asyncio.run(rounds(Path(folder), count, scale, set(options.only)))
    if options.only:
        sys.stdout.write(f"{figures}\n")
        return
    sys.stdout.write(f"{report.table(TITLES, figures)}\n")
    report.write(RESULTS, figures)


if __name__ == "__main__":
    main()
