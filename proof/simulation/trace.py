"""The trace of a simulated world: what happened, line by line, as a digest and as the last lines of each place."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TextIO

KEPT = 40
"""Lines of each conversation, and of the host, that a failure shows."""
HOST = "host"
"""Where things happen that belong to no conversation."""


class Trace:
    """Takes every line once; only the last ones of each place stay in memory."""

    def __init__(self, now: Callable[[], float], copy: TextIO | None = None) -> None:
        self.lines = 0
        self._now = now
        self._copy = copy
        self._digest = hashlib.blake2b(digest_size=16)
        self._recent: defaultdict[str, deque[tuple[int, str]]] = defaultdict(lambda: deque(maxlen=KEPT))

    def line(self, where: str, what: str) -> None:
        """Something happened at a place, now."""
        self.lines += 1
        line = f"{self._now():.6f} {where} {what}\n"
        self._digest.update(line.encode())
        self._recent[where].append((self.lines, line))
        if self._copy is not None:
            self._copy.write(line)

    def digest(self) -> str:
        """Stands for all lines so far and their order."""
        return self._digest.hexdigest()

    def recent(self, where: str) -> tuple[str, ...]:
        """The last lines of a place, with what happened to the host meanwhile."""
        lines = sorted({*self._recent[where], *self._recent[HOST]})
        first = min(lines, default=None) if len(self._recent[where]) < KEPT else self._recent[where][0]
        return tuple(line.rstrip("\n") for number, line in lines if first is None or number >= first[0])
