"""One opened, checked file that is streamed from the descriptor that was checked."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from functools import partial

from surfaces_core import FileRef, OpenFile
from surfaces_files_volume import refusals
from surfaces_files_volume.threads import Errand

PIECE_BYTES = 1 << 20
"""How much goes to or from the disk at once; the most that the contract allows."""


def check(fd: int, path: str, limit: int) -> int:
    """The size of an open file; `Rejected` for what is no ordinary file with one name, or is over `limit`."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise refusals.not_a_file(path)
    if found.st_nlink != 1:  # a hard link to a file that lies elsewhere looks like any other
        raise refusals.linked(path)
    if found.st_size > limit:
        raise refusals.too_large(path, limit)
    return found.st_size


class VolumeFile(OpenFile):
    """Owns the descriptor `fd` of a checked file; its content may be read more than once."""

    def __init__(self, fd: int, ref: FileRef, errand: Errand) -> None:
        self.ref = ref
        self._fd: int | None = fd
        self._errand = errand
        self._use = asyncio.Lock()

    async def chunks(self) -> AsyncIterator[bytes]:
        at = 0
        while at < self.ref.size:
            piece = await self._read(min(PIECE_BYTES, self.ref.size - at), at)
            if not piece:
                raise refusals.shrunk(self.ref.path)
            at += len(piece)
            yield piece

    async def aclose(self) -> None:
        async with self._use:  # never under the hands of a thread that reads
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    async def _read(self, size: int, at: int) -> bytes:
        async with self._use:
            if self._fd is None:
                raise ValueError("the file is closed")
            return await self._errand.run(partial(os.pread, self._fd, size, at))
