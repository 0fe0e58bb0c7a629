"""The transport keeps the contract of transports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from surfaces_core.testing.checks.transport import TRANSPORT_CHECKS, TransportBench, TransportCheck
from surfaces_llm import Llm


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("mode", ["kept", "stateless"])
async def test_contract(check: TransportCheck, mode: str, talking: Any):
    """It keeps every promise of a transport, whether it remembers or not."""
    nobody = {"base_url": "http://127.0.0.1:1/v1"}
    async with talking(options={"mode": mode}, models={"large": nobody}) as talk:
        await check(
            TransportBench(
                make=lambda: Llm(talk.transport.settings, talk.transport.context),
                agent=talk.agent,
                unreachable=replace(talk.agent, id="nobody", options={"model": "large", "mode": mode}),
                recall="what did I say?" if mode == "kept" else "",
            )
        )
