"""A look at where the database is to be, for `surfaces check`; changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from surfaces_core import Finding
from surfaces_storage_sqlite import failures
from surfaces_storage_sqlite.file import SCHEMA_VERSION

LITTLE_BYTES = 200 << 20
"""With less than this left a host is short of space soon."""
NO_BYTES = 1 << 20
"""With less than this left it does not start."""
MAGIC = b"SQLite format 3\0"
"""What every database begins with (section 1.3 of the file format)."""
HEADER_BYTES = 100
USER_VERSION = slice(60, 64)
"""Where in the header the version of the schema stands."""


def examine(path: Path) -> Iterator[Finding]:
    """Whether the file can be used or made, who else may read it, and how much space there is."""
    path = path.resolve()
    if path.exists():
        yield _file(path)
    nearest = next(folder for folder in path.parents if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        said = f"{nearest}: no right to write there; give it to the user of the host"
        yield Finding(what="folder", said=said, level="wrong")
        return
    free = shutil.disk_usage(nearest).free
    said = f"{nearest}: {free >> 20} MiB free"
    if free < NO_BYTES:
        yield Finding(what="space", said=f"{said}, too little to start with; make some room", level="wrong")
    elif free < LITTLE_BYTES:
        yield Finding(what="space", said=f"{said}; make some room", level="doubtful")
    else:
        yield Finding(what="space", said=said)


def _file(path: Path) -> Finding:
    if not path.is_file():
        return Finding(what="file", said=f"{path}: is no file; name another path", level="wrong")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(what="file", said=f"{path}: no right to use it; give it to the user of the host", level="wrong")
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if header and not header.startswith(MAGIC):
        said = f"{path}: is not a database; name another file, or move this one away"
        return Finding(what="file", said=said, level="wrong")
    if (version := int.from_bytes(header[USER_VERSION], "big")) > SCHEMA_VERSION:
        return Finding(what="file", said=str(failures.newer(path, version, SCHEMA_VERSION)), level="wrong")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding(what="file", said=f"{path}: may be read by others; chmod 600 it", level="doubtful")
    return Finding(what="file", said=f"{path}: {path.stat().st_size >> 10} KiB")
