"""Puts figures of the last runs into pages that are written by hand."""

from __future__ import annotations

import json
import re
from typing import Any

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
        if not (ROOT / match[2]).exists():
            return f"{match[1]}{match[3]}"
        lines = proof(json.loads((ROOT / match[2]).read_text()))
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


def _cell(value: object) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
