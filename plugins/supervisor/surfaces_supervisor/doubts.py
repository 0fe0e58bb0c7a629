"""Owns the doubt that follows an unclean end: what was installed is recorded as good only after a while without one.

It is kept in a file, as whoever starts the supervisor anew has mended nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path

NAME = "unclean.json"


class Doubts:
    """Whether what is installed has ended uncleanly a short while ago."""

    def __init__(self, folder: Path, within_s: float) -> None:
        self._path = folder / NAME
        self._within_s = within_s
        self._digest, self._at = "", 0.0
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self._path.read_text())
            self._digest, self._at = str(found["installed"]), float(found["at"])

    def unclean(self, installed: frozenset[str]) -> None:
        """A host of these distributions ended uncleanly."""
        self._digest, self._at = _digest(installed), time.time()
        with suppress(OSError):  # a full disk: this supervisor still knows
            self._path.write_text(json.dumps({"installed": self._digest, "at": self._at}))

    def last_s(self, installed: frozenset[str]) -> float:
        """For how many seconds these are in doubt still; 0: they are not."""
        if _digest(installed) != self._digest:
            return 0.0
        return min(max(0.0, self._at + self._within_s - time.time()), self._within_s)


def _digest(installed: frozenset[str]) -> str:
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()
