"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Figures = Mapping[str, float]
"""Name of a figure to its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure as it shows."""

    name: str
    title: str
    unit: str = ""
    digits: int = 0


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


ROWS: Sequence[Row] = (
    Row(name="load_cpu_ms", title="CPU per message, 500 at a time", unit="ms", digits=2),
    Row(name="trickle_cpu_ms", title="CPU per message, one at a time", unit="ms", digits=2),
    Row(name="round_trip_ms", title="round trip, median", unit="ms", digits=2),
    Row(name="round_trip_p95_ms", title="round trip, 95 of 100", unit="ms", digits=2),
    Row(name="burst_per_s", title="answers a second, 2,000 over 100 rooms"),
    Row(name="burst_lost", title="… of these lost"),
    Row(name="burst_doubled", title="… doubled"),
    Row(name="burst_disordered", title="… rooms out of order"),
    Row(name="intake_per_s", title="events a second into the journal"),
    Row(name="start_s", title="start to ready, 1 room", unit="s", digits=2),
    Row(name="start_many_s", title="start to ready, 1,000 rooms", unit="s", digits=2),
    Row(name="memory_mib", title="peak memory, 1 room", unit="MiB"),
    Row(name="memory_many_mib", title="peak memory, 1,000 rooms", unit="MiB"),
)


def targets(figures: Mapping[str, Figures]) -> list[Target]:
    """What is wanted of Surfaces, with what was measured."""
    ours, nio, bare = figures["surfaces"], figures["nio"], figures["bare"]
    added = ours["round_trip_ms"] - bare["round_trip_ms"]
    busy, quiet = ours["load_cpu_ms"] / nio["load_cpu_ms"], ours["trickle_cpu_ms"] / nio["trickle_cpu_ms"]
    return [
        Target(title="CPU per message, 500 at a time, against nio", value=busy, limit=1.0),
        Target(title="CPU per message, one at a time, against nio", value=quiet, limit=1.0),
        Target(title="added to the round trip of a bare loop, ms", value=added, limit=2.0),
        Target(title="peak memory with 1 room, MiB", value=ours["memory_mib"], limit=70),
        Target(title="peak memory with 1,000 rooms, MiB", value=ours["memory_many_mib"], limit=90),
        Target(title="start with 1 room, s", value=ours["start_s"], limit=1.0),
        Target(title="start with 1,000 rooms, s", value=ours["start_many_s"], limit=2.0),
        Target(title="answers a second in a burst", value=ours["burst_per_s"], limit=1500, at_least=True),
        Target(title="lost, doubled or out of order", value=_harm(ours), limit=0),
        Target(title="events a second into the journal", value=ours["intake_per_s"], limit=3000, at_least=True),
    ]


def _harm(figures: Figures) -> float:
    return figures["burst_lost"] + figures["burst_doubled"] + figures["burst_disordered"]


def table(titles: Mapping[str, str], figures: Mapping[str, Figures]) -> str:
    """Markdown: a column for each bot, and one for what is wanted."""
    lines = [
        "| | " + " | ".join(titles[name] for name in figures) + " |",
        "| --- |" + " ---: |" * len(figures),
    ]
    for row in ROWS:
        cells = [_cell(row, figures[name].get(row.name)) for name in figures]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    lines += ["", "| wanted of Surfaces | limit | measured | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {t.title} | {'≥' if t.at_least else '≤'} {t.limit:g} | {t.value:.2f} | {'yes' if t.met else 'NO'} |"
        for t in targets(figures)
    ]
    return "\n".join(lines)


def _cell(row: Row, value: float | None) -> str:
    return "" if value is None else f"{value:,.{row.digits}f} {row.unit}".rstrip()


def write(path: Path, figures: Mapping[str, Figures]) -> None:
    """Everything as JSON, with what it was measured on."""
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }
    wanted = [
        {"title": t.title, "limit": t.limit, "at_least": t.at_least, "value": round(t.value, 3), "met": t.met}
        for t in targets(figures)
    ]
    rounded = {name: {key: round(value, 3) for key, value in of.items()} for name, of in figures.items()}
    content = {"machine": machine, "figures": rounded, "targets": wanted}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
