"""Every stored row as values that can be printed; what a driver keeps for itself stays private.

All rows are read in one transaction, so they fit each other; they wait in an unnamed file, so that
neither memory nor others have to bear how many there are or how slowly they are taken.
"""

from __future__ import annotations

import base64
import json
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from surfaces_core.contracts import Storage
from surfaces_core.errors import StateError

_SIZES = struct.Struct("<II")


async def exported(storage: Storage, folder: Path | None) -> AsyncIterator[dict[str, object]]:
    """Each row as its kind, its key and its value; `folder` is where there is room to write. Raises `StateError`."""
    async for row, value in snapshot(storage, folder):
        yield readable(row, value)


async def snapshot(storage: Storage, folder: Path | None) -> AsyncIterator[tuple[bytes, bytes]]:
    """Each row as it is stored. Raises `StateError`."""
    try:
        spool = await _spooled(storage, folder)
    except OSError as error:
        raise StateError(f"what is stored cannot be copied: {error}") from error
    with spool:
        for row, value in _read(spool):
            yield row, value


async def _spooled(storage: Storage, folder: Path | None) -> BinaryIO:
    with ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        async with storage.transaction() as tx:
            async for row, value in tx.scan(b""):
                spool.write(_SIZES.pack(len(row), len(value)) + row + value)
        spool.seek(0)
        stack.pop_all()
    return spool


def _read(spool: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while sizes := spool.read(_SIZES.size):
        row, value = _SIZES.unpack(sizes)
        yield spool.read(row), spool.read(value)


def readable(row: bytes, value: bytes) -> dict[str, object]:
    """One row; values that are no JSON and no text come as base64."""
    kind, *key = row.decode().split("\0")
    return {"kind": kind, "key": key, "value": "[private]" if kind == "plug" else _readable(value)}


def _readable(value: bytes) -> object:
    try:
        return json.loads(value)
    except ValueError:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
