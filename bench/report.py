"""The figures as tables for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
Figures = Mapping[str, float]
"""Name of a figure to its value."""
Found = Mapping[str, Mapping[str, Mapping[str, Figures]]]
"""What grows, who is measured, how many there are."""
Results = Mapping[str, Any]
"""What `results.json` holds: all that was found, and the machine."""
NAMES = {
    "nio": "matrix-nio",
    "bare": "bare loop",
    "floor": "journal's floor",
    "least": "bare loop + floor",
    "surfaces": "Surfaces",
    "surfaces_agent": "Surfaces + socket",
}
"""The columns; `least` is the sum of the two before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure as it shows."""

    name: str
    title: str
    unit: str = ""
    digits: int = 0
    adds: bool = False
    """It makes sense to add it up, and to divide by the sum."""

    def cell(self, value: float | None) -> str:
        """As it stands in a table."""
        return "" if value is None else f"{value:,.{self.digits}f} {self.unit}".rstrip()


MESSAGE: Sequence[Row] = (
    Row(name="trickle_cpu_ms", title="CPU per message, one at a time", unit="ms", digits=2, adds=True),
    Row(name="load_cpu_ms", title="CPU per message, 500 at a time", unit="ms", digits=3, adds=True),
    Row(name="round_trip_ms", title="round trip, median", unit="ms", digits=2, adds=True),
    Row(name="round_trip_p95_ms", title="round trip, 95 of 100", unit="ms", digits=2),
    Row(name="burst_per_s", title="answers a second, 2,000 at once"),
    Row(name="burst_lost", title="… of these lost"),
    Row(name="burst_doubled", title="… doubled"),
    Row(name="burst_disordered", title="… rooms out of order"),
    Row(name="intake_per_s", title="messages a second into the journal"),
)
GROWTH: Sequence[Row] = (
    Row(name="trickle_cpu_ms", title="CPU per message, one at a time", unit="ms", digits=2),
    Row(name="load_cpu_ms", title="CPU per message, 500 at a time", unit="ms", digits=3),
    Row(name="round_trip_ms", title="round trip", unit="ms", digits=2),
    Row(name="start_s", title="first start to ready", unit="s", digits=2),
    Row(name="idle_mib", title="memory when ready", unit="MiB"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What Surfaces wants to keep: `value` is at most (or at least) `limit`."""

    title: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def beside(found: Found) -> dict[str, Figures]:
    """Everybody in a hundred rooms, with the sum of what a bot and a journal need at least."""
    rooms = {name: dict(found["rooms"][name]["100"]) for name in ("nio", "bare", "surfaces", "surfaces_agent")}
    floor = found["floor"]["floor"]["1"]
    least = {row.name: rooms["bare"][row.name] + floor[row.name] for row in MESSAGE if row.adds}
    rooms["surfaces"] |= found["intake"]["surfaces"]["100"]
    everybody: dict[str, Figures] = {**rooms, "floor": floor, "least": least}
    return {name: everybody[name] for name in NAMES}


def targets(found: Found) -> list[Target]:
    """What is wanted of Surfaces, with what was measured."""
    all_of_them, rooms = beside(found), found["rooms"]["surfaces"]
    ours, nio, least = all_of_them["surfaces"], all_of_them["nio"], all_of_them["least"]
    few, many = rooms[min(rooms, key=int)], rooms[max(rooms, key=int)]
    harm = ours["burst_lost"] + ours["burst_doubled"] + ours["burst_disordered"]
    wanted = [
        Target(title="CPU, 500 at a time, to matrix-nio", value=_ratio(ours, nio, "load_cpu_ms"), limit=1.0),
        Target(title="CPU, one at a time, to matrix-nio", value=_ratio(ours, nio, "trickle_cpu_ms"), limit=2.0),
        Target(title="CPU, one at a time, to the least", value=_ratio(ours, least, "trickle_cpu_ms"), limit=2.0),
        Target(title="round trip to the least", value=_ratio(ours, least, "round_trip_ms"), limit=2.0),
        Target(title="lost, doubled or out of order", value=harm, limit=0),
        Target(title="messages a second into the journal", value=ours["intake_per_s"], limit=3000, at_least=True),
        Target(
            title="CPU in the most rooms to that in the fewest", value=_ratio(many, few, "trickle_cpu_ms"), limit=1.25
        ),
    ]
    for size, memory_mib, start_s in (("1", 80, 1.0), ("1000", 95, 2.0), ("10000", 200, 10.0)):
        if size in rooms:
            where = f"in {int(size):,} room{'' if size == '1' else 's'}"
            wanted.append(Target(title=f"memory {where}, MiB", value=rooms[size]["idle_mib"], limit=memory_mib))
            wanted.append(Target(title=f"first start {where}, s", value=rooms[size]["start_s"], limit=start_s))
    return wanted


def _ratio(one: Figures, other: Figures, name: str) -> float:
    return one[name] / other[name]


def results(found: Found) -> Results:
    """All of it for a file."""
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }
    return {"machine": machine, **found}


def page(results: Results) -> Iterator[str]:
    """Markdown: each message beside everybody else's, growth, and what is wanted."""
    machine = results["machine"]
    yield f"Measured on {machine['cores']} cores (load {machine['load_average']:.1f}) with Python {machine['python']}."
    yield from ("", "### One message", "", *_message(beside(results)))
    yield from ("", "### More rooms", "", *_growth(results["rooms"]))
    yield from ("", "### More agents", "", *_growth(results["agents"]))
    yield from ("", "### What is wanted", "", *_wanted(results))
    yield ""


def summary(results: Results) -> Iterator[str]:
    """A few sentences for those who only want to know whether it is much."""
    figures, rooms = beside(results), results["rooms"]["surfaces"]
    ours, nio, least = figures["surfaces"], figures["nio"], figures["least"]
    most = max(rooms, key=int)
    yield (
        f"Of processor time a message takes {ours['load_cpu_ms']:.2f} ms while many are worked on and "
        f"{ours['trickle_cpu_ms']:.1f} ms alone; a plain matrix-nio loop, which keeps nothing and loses half of a "
        f"burst, takes {nio['load_cpu_ms']:.2f} and {nio['trickle_cpu_ms']:.1f} ms, a bare loop with the commits that "
        f"the promise needs {least['load_cpu_ms']:.2f} and {least['trickle_cpu_ms']:.1f} ms. A host that waits takes "
        f"{rooms['1']['idle_mib']:.0f} MiB in one room and {rooms['1000']['idle_mib']:.0f} in 1,000, and its first "
        f"start in {int(most):,} rooms {rooms[most]['start_s']:.1f} s."
    )
    yield ""


def _message(figures: Mapping[str, Figures]) -> Iterator[str]:
    yield f"| in 100 rooms | {' | '.join(NAMES[name] for name in figures)} | to matrix-nio | to the least |"
    yield "| --- |" + " ---: |" * (len(figures) + 2)
    for row in MESSAGE:
        cells = [row.cell(of.get(row.name)) for of in figures.values()]
        against = ("nio", "least") if row.adds else ()
        ratios = [f"{_ratio(figures['surfaces'], figures[other], row.name):.2f}" for other in against] or ["", ""]
        yield f"| {' | '.join([row.title, *cells, *ratios])} |"


def _growth(found: Mapping[str, Mapping[str, Figures]]) -> Iterator[str]:
    sizes = sorted({size for of in found.values() for size in of}, key=int)
    yield f"| | | {' | '.join(f'{int(size):,}' for size in sizes)} |"
    yield "| --- | --- |" + " ---: |" * len(sizes)
    for row in GROWTH:
        for name, of in found.items():
            cells = [row.cell(of.get(size, {}).get(row.name)) for size in sizes]
            yield f"| {row.title} | {NAMES[name]} | {' | '.join(cells)} |"


def _wanted(found: Found) -> Iterator[str]:
    yield from ("| wanted of Surfaces | limit | measured | |", "| --- | ---: | ---: | --- |")
    for target in targets(found):
        limit = f"{'≥' if target.at_least else '≤'} {target.limit:,g}"
        yield f"| {target.title} | {limit} | {target.value:,.2f} | {'yes' if target.met else 'NO'} |"
