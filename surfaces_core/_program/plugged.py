"""Command lines that plugins bring: whole programs, and the reports of drivers; imports none of the host."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

from surfaces_core._program.arguments import Parser, add_config
from surfaces_core.errors import ConfigError

SUPERVISOR = "surfaces-supervisor"
PROGRAMS, REPORTS = "surfaces.programs", "surfaces.reports"
"""Groups of entry points."""
DISTRIBUTIONS = {
    "chat": "surfaces-terminal",
    "demo": "surfaces-demo",
    "supervise": SUPERVISOR,
    "releases": SUPERVISOR,
    "rollback": SUPERVISOR,
    "resume": SUPERVISOR,
}
"""Which distribution has each of the programs that are no part of this one."""


def program(name: str, arguments: Sequence[str]) -> int:
    """A program of another distribution, where that is installed; the exit code."""
    for entry in entry_points(group=PROGRAMS, name=name):
        result: int = entry.load()(arguments)
        return result
    raise ConfigError("", f"{name} is not installed; pip install {DISTRIBUTIONS[name]}")


def reports_parser(driver: str) -> argparse.ArgumentParser:
    """The command line of one driver's reports. Raises `ConfigError`."""
    whole = Parser(prog=f"surfaces {driver}", description=f"What a {driver} surface tells its operator.")
    reports = _reports(driver)
    if not reports:
        raise ConfigError("", f"{driver} has no reports")
    inner = whole.add_subparsers(dest="report", metavar="REPORT", required=True)
    for name, about in reports.items():
        report = inner.add_parser(name, help=about, description=f"Tells {about}.")
        add_config(report)
        report.add_argument("--surface", metavar="NAME", help="only this one of the surfaces in the config")
    return whole


def _reports(driver: str) -> Mapping[str, str]:
    """What the distribution lists beside its driver, or else what the driver has, which takes longer to load."""
    for entry in entry_points(group=REPORTS, name=driver):
        listed: Mapping[str, str] = entry.load()
        return listed
    from surfaces_core._config.discovery import load_driver
    from surfaces_core.contracts import Surface

    _, found = load_driver("surfaces.surface", driver)
    return found.reports if issubclass(found, Surface) else {}
