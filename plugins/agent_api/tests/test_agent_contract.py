"""AgentApi keeps the contract of transports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from surfaces_agent_api import AgentApi
from surfaces_core.testing import contract
from surfaces_core.testing.checks.transport import TransportBench
from surfaces_testing.agent import FakeAgent


@contract.transport
@pytest.mark.parametrize("send_message_id", [False, True], ids=["plain", "message ids"])
async def test_contract(send_message_id: bool, talking: Any, fake_agent: FakeAgent) -> AsyncIterator[TransportBench]:
    """It keeps every promise of a transport, with the reference agent at the other end."""
    fake_agent.faults.script("drop-at-once")
    async with talking(options={"send_message_id": send_message_id}) as talk:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            closed = {"base_url": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
            yield TransportBench(
                make=lambda: AgentApi(talk.transport.settings, talk.transport.context),
                agent=talk.agent,
                unreachable=replace(talk.agent, id="nobody", options=closed),
                breaks_off=replace(talk.agent, id="breaking", options={"base_url": fake_agent.base_url}),
                recall="what did I say?",
                asks="ask me",
            )
