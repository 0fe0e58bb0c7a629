"""Owns the lock file beside a database: it keeps other processes out, and remembers that there was state."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surfaces_storage_sqlite import failures

_MARK = "state"
_MOST_BYTES = 400


class Lock:
    """A held lock file: who holds it in its first line, and in its second whether the database was ever filled."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.mark(filled=_read(fd)[1:] == [_MARK])

    def mark(self, *, filled: bool) -> None:
        """Remember that the database holds state, or that it was taken away; names our process too."""
        self.filled = filled
        text = f"process {os.getpid()} on {socket.gethostname()}\n{_MARK if filled else ''}\n".encode()
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))


@contextmanager
def locked(database: Path) -> Iterator[Lock]:
    """Hold `<database>.lock`; the kernel lets go of it when the process dies. Raises `StateError` and `OSError`.

    The lock file stays: were it removed, two processes could each lock a different file of that name.
    """
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = Path(f"{database}.lock")
    fd = _open(path, database)
    try:
        yield Lock(path, fd)
    finally:
        os.close(fd)


def _open(path: Path, database: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError as error:
            holder = _read(fd)[0]
            os.close(fd)
            raise failures.held(database, holder) from error
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # removed by somebody between opening and locking


def _read(fd: int) -> list[str]:
    return [line.strip() for line in os.pread(fd, _MOST_BYTES, 0).decode("utf-8", "replace").split("\n")][:2]
