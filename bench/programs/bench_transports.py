"""Transports without an agent: what is left is the host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from surfaces_core import AgentEvent, AgentRequest, End, Text, Transport


class Echo(Transport):
    """Says what it was told, at once."""

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn."""
        yield Text(request.text)
        yield End()


class Mute(Transport):
    """Never says anything and never ends: what comes in is only stored."""

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn."""
        await asyncio.Event().wait()
        yield End()
