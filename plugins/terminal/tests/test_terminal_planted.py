"""The contract checks see faults that are planted into the terminal."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from surfaces_core import Outbound, Receipt
from surfaces_core.testing import planted
from surfaces_terminal.surface import TerminalSurface

from . import test_terminal_contract as terminal

house = terminal.house
NUMBERS = itertools.count()


def every_key_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent again shows again."""
    original = TerminalSurface.send

    async def send(self: TerminalSurface, message: Outbound) -> Receipt:
        return await original(self, replace(message, key=f"{message.key}-{next(NUMBERS)}"))

    monkeypatch.setattr(TerminalSurface, "send", send)


def cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of what is said is lost."""
    original = TerminalSurface.send

    async def send(self: TerminalSurface, message: Outbound) -> Receipt:
        return await original(self, replace(message, text=message.text[:-1]))

    monkeypatch.setattr(TerminalSurface, "send", send)


def any_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that there is not is answered."""

    async def report(self: TerminalSurface, name: str) -> AsyncIterator[str]:
        yield "all is well"

    monkeypatch.setattr(TerminalSurface, "report", report)


test_planted = planted.are_caught(
    terminal.test_contract, {every_key_is_new: "same_key_once", cut_short: "sends_in_order", any_report: "reports"}
)
