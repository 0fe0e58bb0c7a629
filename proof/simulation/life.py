"""One life of the simulated host: where it ends, and that nothing of it reaches the world from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Dead(BaseException):
    """The process is dead; not an `Exception`, so that nothing that handles errors survives it."""


class InjectedBug(Exception):
    """A bug that the simulation put into a driver, so that it is no finding."""


class Life:
    """Every way from the host into the world passes here: a dead host finds each of them shut."""

    def __init__(
        self, number: int, *, steps: int | None, only: frozenset[str] | None, died: Callable[[str], None]
    ) -> None:
        self.number = number
        self.dead = False
        self.failed = False
        """Its storage has told it that it failed: it may end by itself."""
        self.task: asyncio.Task[None] | None = None
        self._steps = steps
        self._only = only
        self._died = died

    def alive(self) -> None:
        """Raises `Dead` when it is dead."""
        if self.dead:
            raise Dead

    def step(self, where: str) -> None:
        """Passes one point at which it may be destined to die. Raises `Dead`."""
        self.alive()
        if self._steps is not None and (self._only is None or where in self._only):
            self._steps -= 1
            if self._steps <= 0:
                self.kill(where)
                raise Dead

    def kill(self, where: str) -> None:
        """Die here: whatever runs still is unwound, but nobody outside hears of it."""
        if not self.dead:
            self.dead = True
            self._died(where)
            if self.task is not None:
                self.task.cancel()
