"""Imports plugins in an interpreter of their own and prints, as JSON, what each cost and what is wrong with it.

`python -X importtime -m surfaces_core._program.checkup.probe` takes the entry points as JSON on standard input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import EntryPoint
from typing import Any

from surfaces_core._config.discovery import DRIVERS, Hooks, Offer, check_driver, contract_of
from surfaces_core._program.checkup import schema
from surfaces_core._program.checkup.findings import Finding, about
from surfaces_core.contracts import Driver, Transport
from surfaces_core.errors import ConfigError

SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
MARK = "surfaces: imported\n"
"""Stands on standard error behind what each entry point has imported."""


def main() -> None:
    """Look at each entry point that is asked for."""
    offers = [Offer(**each) for each in json.load(sys.stdin)]
    used: list[str] = []
    sys.addaudithook(lambda event, _: used.append(event) if event in SOCKETS else None)
    looks = []
    for offer in offers:
        used.clear()
        known, begun = set(sys.modules), time.perf_counter()
        sys.stderr.write(MARK)
        problem, found = _imported(offer)
        sys.stderr.write(MARK)
        took = time.perf_counter() - begun
        findings = [problem] if problem else [*_sockets(offer, used), *_judged(offer, found)]
        new = len(set(sys.modules) - known)
        looks.append({"seconds": took, "modules": new, "findings": [asdict(finding) for finding in findings]})
    sys.stdout.write("\n" + json.dumps(looks))


def _imported(offer: Offer) -> tuple[Finding | None, Any]:
    try:
        return None, EntryPoint(name=offer.name, value=offer.value, group=offer.group).load()
    except BaseException as error:  # noqa: BLE001 -- an author's module may raise anything, `SystemExit` as well
        said = f"{offer.value} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})"
        remedy = "mend the entry point or what it names; what it imports must be installed"
        return Finding(level="wrong", about=about(offer), said=said, remedy=remedy), None


def _sockets(offer: Offer, used: list[str]) -> Iterator[Finding]:
    for event in dict.fromkeys(used):
        remedy = "open connections in __aenter__: an import must not wait for a network"
        yield Finding(level="wrong", about=about(offer), said=f"importing it does {event}", remedy=remedy)


def _judged(offer: Offer, found: Any) -> Iterator[Finding]:
    """What a start would refuse, and what is wrong with its settings."""
    try:
        if offer.group in DRIVERS:
            check_driver(offer, found)
        else:
            Hooks().add(offer, found)
    except ConfigError as error:
        said = error.problem.removeprefix(f"{offer}: ")
        yield Finding(level="wrong", about=about(offer), said=said, remedy="a start would refuse it so")
        return
    version = contract_of(found)
    said = f"it is built for version {version} of the {offer.kind} contract, which this host has"
    yield Finding(level="ok", about=about(offer), said=said)
    if isinstance(found, type) and issubclass(found, Driver):
        faults = list(schema.judged(about(offer), found.Settings))
        if issubclass(found, Transport):
            faults += schema.judged(about(offer), found.AgentSettings, "agent")
        yield from faults
        if not faults:
            said = "every setting is described, unknown ones are refused, and secrets are kept as such"
            yield Finding(level="ok", about=about(offer), said=said)


if __name__ == "__main__":
    main()
