"""Owns how long a turn may go on: without a word, and altogether."""

from __future__ import annotations

import asyncio

from surfaces_agent_api import failures
from surfaces_core import Rejected


class Patience:
    """Two clocks. Both stand still while nobody takes the answer, as when a person is being asked something."""

    def __init__(self, *, idle_s: float, turn_s: float) -> None:
        self._idle_s = idle_s
        self._silent_until = self._now() + idle_s
        self._turn_until = self._now() + turn_s

    @property
    def ends(self) -> float:
        """When it is over, in the loop's time."""
        return min(self._silent_until, self._turn_until)

    @property
    def over(self) -> bool:
        """It is over."""
        return self._now() >= self.ends

    def heard(self) -> None:
        """The agent said something."""
        self._silent_until = self._now() + self._idle_s

    def stood_still(self, since: float) -> None:
        """From some time of the loop until now nobody took the answer."""
        passed = self._now() - since
        self._silent_until += passed
        self._turn_until += passed

    def failure(self) -> Rejected:
        """What the turn ends with."""
        if self._turn_until <= self._silent_until:
            return failures.rejected(failures.OVERTIME, "the turn did not end in time")
        return failures.rejected(failures.TIMEOUT, "silent in a turn")

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
