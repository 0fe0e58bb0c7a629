"""Puts figures of the last runs into pages that are written by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench import report
from tools.documents.parts import ROOT, Page, table

PLACE = re.compile(r"(<!-- figures (\S+) -->\n).*?(<!-- end of figures -->\n)", re.DOTALL)
COUNTS = {
    "runs": "runs",
    "landed": "kills that landed",
    "lost": "lost",
    "doubled": "doubled",
    "out_of_order": "out of order",
    "torn": "torn",
    "seconds": "seconds",
}


def filled(text: str) -> str:
    """A page with its figures as the file has them now."""

    def fresh(match: re.Match[str]) -> str:
        file = ROOT / match[2].partition("#")[0]
        if not file.exists():
            return f"{match[1]}{match[3]}"
        lines = KINDS[match[2]](json.loads(file.read_text()))
        return "\n".join([match[1].rstrip(), "", *lines, match[3]])

    return PLACE.sub(fresh, text)


def proof(report: dict[str, Any]) -> Page:
    """What `proof.json` says: counts of each part, then what only some of them have."""
    machine, parts = report["machine"], report["parts"]
    yield (
        f"Version {report['version']}, {report['form']} form, {machine['cores']} cores, Python {machine['python']}, "
        f"SQLite {machine['sqlite']}: {'everything was good' if report['good'] else 'NOT EVERYTHING WAS GOOD'}."
    )
    yield ""
    rows = [(name, *(_cell(part.get(count)) for count in COUNTS)) for name, part in parts.items()]
    yield from table(("part", *COUNTS.values()), *rows)
    bugs = parts.get("planted", {}).get("bugs", {})
    seen = [(f"`{name}`", f"`{bug['at']}`", bug["as"].replace("_", " ")) for name, bug in bugs.items()]
    yield from table(("planted bug", "seen at", "as"), *seen)


def storages(report: dict[str, Any]) -> Page:
    """What `bench/storages.json` says: a row for each storage."""
    machine = report["machine"]
    yield (
        f"Measured by `python -m bench.storages`: medians of five rounds in which the storages take turns, "
        f"{machine['cores']} cores shared with other work (load {machine['load']:.0f}), Python {machine['python']}, "
        "servers on the same machine."
    )
    yield ""
    names = {
        "alone_per_s": "commits/s, one after the other",
        "together_per_s": "commits/s, 64 tasks",
        "events_per_s": "events/s, in batches of 100",
    }
    rows = [(f"`{kind}`", *(_cell(found[name]) for name in names)) for kind, found in report["storages"].items()]
    yield from table(("storage", *names.values()), *rows)


KINDS: Mapping[str, Callable[[dict[str, Any]], Page]] = {
    "proof.json": proof,
    "bench/storages.json": storages,
    "bench/results.json": report.page,
    "bench/results.json#summary": report.summary,
}
"""What puts a file of figures into words."""


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
