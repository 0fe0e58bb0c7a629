"""`surfaces DRIVER REPORT`: what a surface tells its operator, whether the host runs or rests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from surfaces_core._config.config import load
from surfaces_core._operating.requests import Request
from surfaces_core._program import asking
from surfaces_core.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """Print a report, of each surface that this driver has in the config; the exit code."""
    names = _surfaces(options.config, options.driver, options.surface)
    codes = [_tell(options, name, several=len(names) > 1) for name in names]
    return max(codes)


def _surfaces(config: Path, driver: str, wanted: str | None) -> list[str]:
    there = [name for name, instance in load(config, needed=asking.NEEDED).surfaces.items() if instance.use == driver]
    names = [name for name in there if wanted in (None, name)]
    if not names:
        raise ConfigError("", f"the config has no {driver} surface{f' {wanted}' if wanted else ''}")
    return names


def _tell(options: argparse.Namespace, name: str, *, several: bool) -> int:
    if several:
        _say(f"{name}:")
    return asking.guarded(
        lambda: asking.ask(
            options,
            Request(do="report", surface=name, report=options.report),
            lambda row: _say(str(row["line"])),
        )
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
