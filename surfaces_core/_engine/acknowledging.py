"""Acknowledgements: a messenger shows that a message was taken up, or waits. Nothing waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.foreign import contained
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.log import about
from surfaces_core.contracts import Surface
from surfaces_core.errors import DriverError
from surfaces_core.events import Inbound

AT_ONCE = 8
LONGEST_S = 15.0
"""One may take so long."""
MOST = 1000
"""Beyond so many that wait, further ones are left out."""


@dataclass(frozen=True, slots=True)
class _Due:
    message: Inbound
    turn: str
    waiting: bool


class Acknowledgements:
    """Acknowledges messages on all surfaces, in order in a conversation."""

    def __init__(self, surfaces: Mapping[str, Surface], log: FilteringBoundLogger) -> None:
        self._surfaces = surfaces
        self._log = log
        self._broken: set[str] = set()
        self.lanes: Lanes[_Due] = Lanes(self._show, AT_ONCE)

    def put(self, entry: Entry, *, waiting: bool) -> None:
        """Acknowledge a message some time soon, if that works."""
        message = entry.message
        if len(self.lanes) < MOST and message.address.surface not in self._broken:
            self.lanes.put(message.address, _Due(message, entry.turn, waiting))

    async def _show(self, due: _Due) -> None:
        with about(due.turn):
            await self._acknowledge(due)

    async def _acknowledge(self, due: _Due) -> None:
        name = due.message.address.surface
        try:
            async with asyncio.timeout(LONGEST_S):
                with contained():
                    await self._surfaces[name].acknowledge(due.message, waiting=due.waiting)
        except (DriverError, TimeoutError):
            return
        except Exception:  # noqa: BLE001 - what only shows something must not end what works
            self._broken.add(name)
            self._log.exception("acknowledge.bug", surface=name)
