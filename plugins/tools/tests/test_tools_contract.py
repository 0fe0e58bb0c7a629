"""The tools keep the contract of hooks plugins, and its checks see faults that are planted into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import surfaces_tools
from surfaces_core import AgentTool, hookimpl
from surfaces_core.testing import contract, planted

TOOLS = surfaces_tools.surfaces_tools

test_contract = contract.hooks(surfaces_tools)


def first(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change the first tool."""

    def surfaces_tools_() -> Sequence[AgentTool]:
        tool, *others = TOOLS()
        return [replace(tool, **changes), *others]

    monkeypatch.setattr(surfaces_tools, "surfaces_tools", hookimpl(surfaces_tools_))


def spaced_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no model can call."""
    first(monkeypatch, name="fetch url")


def no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing says when to use it."""
    first(monkeypatch, description=" ")


def loose_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments of any kind."""
    first(monkeypatch, arguments=dict)


def plain_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that is not async."""
    first(monkeypatch, handler=lambda call: "done")


def always_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that there is not."""
    first(monkeypatch, policy="always")


test_planted = planted.are_caught(
    test_contract,
    dict.fromkeys((spaced_name, no_description, loose_arguments, plain_handler, always_allowed), "tools"),
)
