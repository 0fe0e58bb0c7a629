"""What it costs to import a plugin, and what is found when it is: measured in a fresh interpreter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from surfaces_core._config.discovery import Offer
from surfaces_core._program.checkup.findings import Finding, Subject, about
from surfaces_core._program.checkup.probe import MARK

HEAVY_S = 0.5
"""An import that takes longer than this is worth a word."""
LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| *(\S+)$", re.MULTILINE)
"""Microseconds of its own, and a module's name."""


def judged(subject: Subject) -> Iterator[Finding]:
    """What importing each entry point costs, and what is wrong with what it names."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "surfaces_core._program.checkup.probe"],
        input=json.dumps([asdict(offer) for offer in subject.offers]),
        capture_output=True,
        text=True,
        check=False,
        cwd=subject.folder,
        env=environment(subject),
    )
    if done.returncode:  # os._exit, a crash of the interpreter
        last = " ".join(LINE.sub("", done.stderr.replace(MARK, "")).split()[-20:])
        remedy = "a module must be imported without ending the process"
        yield Finding(
            level="wrong", about="import", said=f"it ended the interpreter ({done.returncode}) {last}", remedy=remedy
        )
        return
    looks: list[Mapping[str, Any]] = json.loads(done.stdout.rpartition("\n")[2])
    for offer, look, log in zip(subject.offers, looks, done.stderr.split(MARK)[1::2], strict=True):
        yield _cost(offer, look["seconds"], look["modules"], log)
        for finding in look["findings"]:
            yield Finding(**finding)


def environment(subject: Subject) -> dict[str, str]:
    """That of a process which can import the plugin."""
    paths = [*map(str, subject.paths), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _cost(offer: Offer, seconds: float, modules: int, log: str) -> Finding:
    each: Counter[str] = Counter()
    for microseconds, name in LINE.findall(log):
        each[name.partition(".")[0]] += int(microseconds)
    heavy = ", ".join(f"{name} {spent / 1e6:.2f} s" for name, spent in each.most_common(3) if spent >= 10_000)
    said = f"importing it takes {seconds:.2f} s and {modules} modules beside the host's"
    said += f" (most of it {heavy})" if heavy else ""
    if seconds < HEAVY_S:
        return Finding(level="ok", about=about(offer), said=said)
    return Finding(level="note", about=about(offer), said=said, remedy="import what is heavy where it is first used")
