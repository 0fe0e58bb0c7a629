"""Where a supervisor keeps what it needs, and what tells that something there has changed. Small on purpose."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

Stamp = frozenset[tuple[str, int, int, int]]


def folder_of(config: Path, chosen: Path | None) -> Path:
    """The supervisor's own folder: beside the config, unless said otherwise; a link to one is followed."""
    return Path(os.path.realpath(chosen or config.absolute().with_suffix(".supervisor")))


def stamp(config: Path) -> Stamp:
    """Changes with the config and with files beside it that it may use."""
    beside = (path for path in _listed(config.absolute().parent) if path.endswith((".yaml", ".yml", ".env")))
    found = set()
    for path in {str(config), *beside}:
        with suppress(OSError):
            known = Path(path).stat()
            found.add((path, known.st_mtime_ns, known.st_ino, known.st_size))
    return frozenset(found)


def installed() -> frozenset[str]:
    """Changes with what is installed; the names of all distributions with their versions, as their folders say them."""
    return frozenset(name for folder in sys.path for name in _names(folder) if name.endswith(".dist-info"))


def _listed(folder: Path) -> list[str]:
    return [str(folder / name) for name in _names(str(folder))]  # names alone, as there may be many


def _names(folder: str) -> list[str]:
    try:
        return [path.name for path in Path(folder or ".").iterdir()]
    except OSError:
        return []
