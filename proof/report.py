"""What the proof found: lines while it runs, a table at the end, and a file of figures."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from proof.cases import Tally

COLUMNS = ("runs", "kills", "landed", "lost", "doubled", "out_of_order", "torn", "other", "trouble", "seconds")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the proof, when it is over."""

    name: str
    good: bool
    figures: Mapping[str, object]
    """With what of `COLUMNS` there is."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """What was wrong, by the run's name."""
    repeat: str = ""
    """The command that repeats a run; `{}` is its name."""


class Teller:
    """Says on standard output how far a part is."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()

    def __call__(self, name: str, tally: Tally, count: int) -> None:
        """After each run: a line that is written over, or where that can't be, ten lines in all."""
        kills = f"{tally.landed} of {tally.kills} kills landed"
        line = f"{name}: {tally.runs} of {count} runs, {kills}, {len(tally.failures)} wrong"
        if self._live:
            print(f"\r{line:<100}", end="\n" if tally.runs == count else "", flush=True)
        elif tally.runs * 10 // count != (tally.runs - 1) * 10 // count:
            print(line, flush=True)


def table(parts: Sequence[Part]) -> str:
    """All parts, a line each."""
    rows = [["", *COLUMNS], *([part.name, *(_cell(part.figures.get(name)) for name in COLUMNS)] for part in parts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def complaint(part: Part) -> str:
    """Everything that was wrong in a part, and how to see it again."""
    lines = [f"{part.name}: WRONG"]
    for name, what in part.wrong.items():
        again = f"   # {part.repeat.format(name)}" if part.repeat else ""
        lines += [f"  {name}{again}", *(f"    {line}" for line in what.splitlines()[:12])]
    return "\n".join(lines)


def write(path: Path, parts: Sequence[Part], *, form: str, seconds: float) -> None:
    """The file of figures: no names of hosts, no places of files."""
    report = {
        "version": version("surfaces-core"),
        "form": form,
        "good": all(part.good for part in parts),
        "seconds": round(seconds),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "parts": {part.name: {"good": part.good, **part.figures} for part in parts},
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
