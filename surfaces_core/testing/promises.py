"""Owns the list of what each kind of plugin promises: its checks, and what each is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

Check = Callable[[Any], Awaitable[None]]
"""Plain, and callable by anybody: it raises when the promise that its docstring states is broken."""

KINDS = ("storage", "transport", "files", "surface", "hooks")


def checks(kind: str) -> Sequence[Check]:
    """Every check of a kind, in the order in which a beginner best mends what fails."""
    found: Sequence[Check] = getattr(import_module(f"surfaces_core.testing.checks.{kind}"), f"{kind.upper()}_CHECKS")
    return found


def name(check: Check) -> str:
    """The short name of a promise, as tests show it: `empty_value`."""
    return check.__name__.removeprefix("check_")


def sentence(check: Check) -> str:
    """The promise itself."""
    return (check.__doc__ or check.__name__).strip().partition("\n")[0]
