"""How the host is, for an operator who asks in a chat."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from surfaces_core._engine import words
from surfaces_core._operating.health import Report, SurfaceState
from surfaces_core._operating.queue import Waiting
from surfaces_core.contracts import CONTRACTS, Section


def status(report: Report, inbox: Sequence[Waiting], outbox: Sequence[Waiting], dead: int) -> Sequence[Section]:
    """How the host is, for an operator who asks in a chat."""
    running = sum(lane.state == "running" for lane in inbox)
    work = [
        words.STATUS_RUNNING(running=running),
        words.STATUS_INBOX(count=sum(lane.depth for lane in inbox) - running),
        words.STATUS_OUTBOX(count=sum(lane.depth for lane in outbox)),
        words.STATUS_DEAD(count=dead),
        *(f"⚠️ {words.plain(reason)}" for reason in report.reasons),
    ]
    contracts = ", ".join(f"{kind} {number}" for kind, number in CONTRACTS.items())
    versions = words.STATUS_VERSIONS(
        host=version("surfaces-core"), contracts=contracts, python=platform.python_version()
    )
    return [
        Section(title=words.STATUS(), lines=(*work, versions)),
        Section(title=words.SURFACES(), lines=tuple(_surface(*item) for item in sorted(report.surfaces.items()))),
    ]


def _surface(name: str, state: SurfaceState) -> str:
    well = state.connected and state.admits and state.decrypts is not False
    return words.SURFACE_WELL(name=name) if well else words.SURFACE_ILL(name=name)
