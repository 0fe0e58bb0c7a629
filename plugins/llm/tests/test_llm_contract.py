"""The transport keeps the contract of transports, and the checks see faults that are planted into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from surfaces_core import Agent, Health, Rejected
from surfaces_core.testing import contract, planted
from surfaces_core.testing.checks.transport import TransportBench
from surfaces_llm import Llm, words
from surfaces_llm.failures import Failure
from surfaces_llm.kept import Memory


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
            forgets=mode == "kept",
        )


def one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """All contexts of an agent are one."""
    monkeypatch.setattr("surfaces_llm.kept.prefix", lambda agent, context: f"turn/{agent.id}/")


def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is not written."""

    async def keep(*_: object) -> None:
        pass

    monkeypatch.setattr(Memory, "keep", keep)


def resting_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put away is gone."""
    monkeypatch.setattr(Llm, "rest", Llm.forget)


def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is away is not asked again."""
    monkeypatch.setattr(Failure, "error", lambda self, *, came: Rejected(self.detail, code=self.code, public="No."))


def always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks."""

    async def check(self: Llm, agent: Agent) -> Health:
        return Health(reachable=True)

    monkeypatch.setattr(Llm, "check", check)


def no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """`!settings` gets nothing that it can say."""

    async def describe(self: Llm, agent: Agent) -> Any:
        return words.MODEL()

    monkeypatch.setattr(Llm, "describe", describe)


test_planted = planted.are_caught(
    test_contract,
    {
        one_context: "memory",
        nothing_is_kept: "memory",
        resting_forgets: "rest",
        never_again: "unreachable",
        always_there: "health",
        no_description: "describe",
    },
    mode="kept",
)
