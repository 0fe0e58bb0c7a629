"""A file object over a descriptor that reads only so much: parsers of strangers' files get no more."""

from __future__ import annotations

import io
import os

MAX_BYTES = 16 << 20
MAX_READS = 100_000


class Glimpse(io.RawIOBase):
    """Reads `size` bytes of a descriptor from its start, without moving or closing it.

    Raises `EOFError` beyond `MAX_BYTES` or `MAX_READS` in all, so that a file made to keep a parser
    busy cannot: an hour of honest Opus takes about 8 MiB of page headers, a film's index less.
    """

    def __init__(self, fd: int, size: int) -> None:
        super().__init__()
        self._fd = fd
        self._size = size
        self._at = 0
        self._bytes_left = MAX_BYTES
        self._reads_left = MAX_READS

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("before the start of the file")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, all that is left for -1."""
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        self._bytes_left -= wanted
        self._reads_left -= 1
        if self._bytes_left < 0 or self._reads_left < 0:
            raise EOFError("read enough of this file")
        data = os.pread(self._fd, wanted, self._at)
        self._at += len(data)
        return data
