"""What was said before, read again from the messenger for agents that remember nothing themselves."""

from __future__ import annotations

from collections.abc import Mapping

from surfaces_core._engine.conversations import Book
from surfaces_core._engine.foreign import contained
from surfaces_core.contracts import Surface, Transport
from surfaces_core.events import Agent, Inbound, Said


class History:
    """Reads as much as an agent's transport asks for, and nothing from before its context began."""

    def __init__(self, book: Book, surfaces: Mapping[str, Surface], transports: Mapping[str, Transport]) -> None:
        self._book = book
        self._surfaces = surfaces
        self._transports = transports

    async def before(self, message: Inbound, agent: Agent) -> tuple[Said, ...]:
        """What was said ahead of a message, oldest first. Raises `Unavailable` and `Rejected`."""
        limit = self._transports[agent.transport].history(agent)
        if limit <= 0:
            return ()
        surface, since = self._surfaces[message.address.surface], (await self._book.usages.of(message.address)).since
        with contained():
            said = await surface.history(message.address, before=message.event_id, limit=limit, thread=message.thread)
        return tuple(one for one in said if one.at >= since)[-limit:]
