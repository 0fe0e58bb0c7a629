"""All that is found in a plugin, and how it is told."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict

from surfaces_core._config.plain import printable
from surfaces_core._program.checkup import imports, metadata, suite
from surfaces_core._program.checkup.findings import Finding, Subject
from surfaces_core._program.tables import say


def run(options: argparse.Namespace) -> int:
    """`surfaces plugins check`: 0 when nothing is wrong. Raises `ConfigError` when there is nothing to check."""
    subject = metadata.subject(options.target)
    found = []
    for finding in judged(subject, options):
        found.append(finding)
        if not options.json:
            say(printable(finding.line()))
    wrong = sum(finding.level == "wrong" for finding in found)
    if options.json:
        said = {"name": subject.name, "version": subject.version, "findings": [asdict(finding) for finding in found]}
        say(json.dumps(said, ensure_ascii=False))
    else:
        say(summary(found))
    return 1 if wrong else 0


def judged(subject: Subject, options: argparse.Namespace) -> Iterator[Finding]:
    """Every finding, as it is found."""
    yield from metadata.judged(subject)
    yield from imports.judged(subject)
    if not options.quick:
        yield from suite.judged(subject, options.set)


def summary(found: list[Finding]) -> str:
    """One line on all of it."""
    wrong, notes = (sum(finding.level == level for finding in found) for level in ("wrong", "note"))
    if not wrong and not notes:
        return "all is well"
    things = f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong" if wrong else "nothing is wrong"
    return things + (f", {notes} {'note' if notes == 1 else 'notes'}" if notes else "")
