"""The transport keeps the contract of transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from surfaces_core.testing import contract
from surfaces_core.testing.checks.transport import TransportBench
from surfaces_llm import Llm


@contract.transport
@pytest.mark.parametrize("mode", ["kept", "stateless"])
async def test_contract(mode: str, talking: Any) -> AsyncIterator[TransportBench]:
    """It keeps every promise of a transport, whether it remembers or not."""
    nobody = {"base_url": "http://127.0.0.1:1/v1"}
    async with talking(options={"mode": mode}, models={"large": nobody}) as talk:
        yield TransportBench(
            make=lambda: Llm(talk.transport.settings, talk.transport.context),
            agent=talk.agent,
            unreachable=replace(talk.agent, id="nobody", options={"model": "large", "mode": mode}),
            recall="what did I say?" if mode == "kept" else "",
        )
