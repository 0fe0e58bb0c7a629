"""`surfaces DRIVER REPORT`: what a surface tells its operator, whether the host runs or rests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from surfaces_core._config.config import load
from surfaces_core._config.discovery import load_driver
from surfaces_core._operating.requests import Request
from surfaces_core._program import asking
from surfaces_core._program.arguments import Parser, add_config
from surfaces_core.contracts import Surface
from surfaces_core.errors import ConfigError

GROUP = "surfaces.surface"


def run(asked: argparse.Namespace) -> int:
    """Print a report, of each surface that this driver has in the config; the exit code."""
    driver: str = asked.driver
    options = parser(driver).parse_args(asked.rest)
    names = _surfaces(options.config, driver, options.surface)
    codes = [_tell(options, name, several=len(names) > 1) for name in names]
    return max(codes)


def parser(driver: str) -> argparse.ArgumentParser:
    """The command line of one driver's reports. Raises `ConfigError`."""
    _, found = load_driver(GROUP, driver)
    reports = found.reports if issubclass(found, Surface) else {}
    whole = Parser(prog=f"surfaces {driver}", description=f"What a {driver} surface tells its operator.")
    if not reports:
        raise ConfigError("", f"{driver} has no reports")
    inner = whole.add_subparsers(dest="report", metavar="REPORT", required=True)
    for name, about in reports.items():
        report = inner.add_parser(name, help=about, description=f"Tells {about}.")
        add_config(report)
        report.add_argument("--surface", metavar="NAME", help="only this one of the surfaces in the config")
    whole.set_defaults(debug=False)
    return whole


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
