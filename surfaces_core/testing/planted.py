"""Owns the proof that contract checks can fail: a fault is planted, and the check that is there for it sees it.

    def keeps_half_of_it(monkeypatch):
        monkeypatch.setattr(MyStorage, "_commit", …)

    test_planted = planted.are_caught(test_contract, {keeps_half_of_it: "raised_leaves_nothing"})

A check that cannot fail proves nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from surfaces_core.testing import contract, promises, recording_intake
from surfaces_core.testing.broken import BrokenPromise

Fault = Callable[[pytest.MonkeyPatch], None]
PATIENCE_S = 0.5
"""For what a fault keeps from coming."""


def are_caught(test: Any, faults: Mapping[Fault, str], /, **fixed: Any) -> Any:
    """A test for each fault: it breaks the promise of that name, and the check says so in its own words.

    `test` was made by `contract`; `fixed` are those of its arguments that are not to be fixtures.
    """
    kind, given = test.surfaces_kind, test.__wrapped__
    checks = {promises.name(check): check for check in promises.checks(kind)}
    wanted = [name for name in inspect.signature(given).parameters if name not in fixed]

    async def caught(monkeypatch: pytest.MonkeyPatch, fault: Fault, promise: str, **fixtures: Any) -> None:
        fault(monkeypatch)
        monkeypatch.setattr(recording_intake, "PATIENCE_S", PATIENCE_S)
        with pytest.raises(BrokenPromise) as raised:
            await contract.keep(kind, given, {**fixtures, **fixed}, checks[promise])
        assert raised.value.in_words, f"stumbled over instead of seen: {raised.value}"

    names = dict.fromkeys(["monkeypatch", *wanted, "fault", "promise"])
    keyword = inspect.Parameter.KEYWORD_ONLY
    caught.__signature__ = inspect.Signature([inspect.Parameter(name, keyword) for name in names])  # type: ignore[attr-defined]
    ids = [fault.__name__ for fault in faults]
    return pytest.mark.asyncio(pytest.mark.parametrize(("fault", "promise"), list(faults.items()), ids=ids)(caught))
