"""Owns the question whether the files in use are still those at their names.

What is written to a file that was removed, or that another one has taken the name of, is lost when the
last process closes it, however well it was synced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from surfaces_storage_sqlite import failures


class Presence:
    """Some files as they were when they were opened."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._identities = {str(path): _identity(str(path)) for path in paths}

    def check(self) -> None:
        """Raises `StateError` when one was removed or replaced."""
        for path, identity in self._identities.items():
            if _identity(path) != identity:
                raise failures.gone(Path(path))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked twice a commit, and a Path costs as much as the call
    except OSError:
        return None
    return found.st_dev, found.st_ino
