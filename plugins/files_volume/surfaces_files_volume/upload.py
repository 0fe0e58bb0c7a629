"""One file on its way into a folder: written under a temporary name, then placed under a free one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from dataclasses import dataclass

from surfaces_files_volume.beneath import rename_new
from surfaces_files_volume.names import numbered

_PART = re.compile(r"\.surfaces-[0-9a-f]{16}\.part")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_COPIES = 10_000
_KEY = "user.surfaces.upload"
"""The extended attribute that remembers which upload a file came by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who may use what is stored; None leaves the process's own user or group."""

    uid: int | None
    gid: int | None
    mode: int

    def apply(self, fd: int) -> None:
        """Set owner and mode on an open file or folder."""
        os.fchmod(fd, self.mode)  # first: what is given away is no longer ours to change
        if self.uid is not None or self.gid is not None:
            os.fchown(fd, -1 if self.uid is None else self.uid, -1 if self.gid is None else self.gid)


class Upload:
    """A temporary file in the folder `dir_fd`, which it owns from here on; every method blocks.

    End it with `close`, after `discard` when it came to nothing. Raises `OSError`.
    """

    def __init__(self, dir_fd: int) -> None:
        self._dir_fd = dir_fd
        self._name = f".surfaces-{secrets.token_hex(8)}.part"
        try:
            self.fd = os.open(self._name, _CREATE, 0o600, dir_fd=dir_fd)
        except BaseException:
            os.close(dir_fd)
            raise
        with contextlib.suppress(OSError):  # some volumes have no locks; then nothing is swept there
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes | bytearray) -> None:
        """Append all of `data`."""
        left = memoryview(data)
        while left:
            left = left[os.write(self.fd, left) :]

    def place(self, name: str, rights: Rights, key: str = "") -> str:
        """Make the file durable under `name` or its first free copy number; the name it got.

        Where a file of that name came by an earlier upload with this `key`, that one is kept instead.
        A volume without extended attributes cannot tell, and keeps both.
        """
        rights.apply(self.fd)
        if key:
            with contextlib.suppress(OSError):
                os.setxattr(self.fd, _KEY, key.encode())
        os.fsync(self.fd)
        for number in range(_MOST_COPIES):
            free = numbered(name, number)
            try:
                rename_new(self._dir_fd, self._name, free)
            except FileExistsError:
                if key and _came_by(self._dir_fd, free, key):
                    self.discard()
                    return free
                continue
            self._name = free
            os.fsync(self._dir_fd)
            return free
        raise FileExistsError(errno.EEXIST, "every copy number is taken", name)

    def discard(self) -> None:
        """Remove the file, placed or not; what cannot be removed now is swept later."""
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._dir_fd)

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self.fd)
        os.close(self._dir_fd)


def _came_by(dir_fd: int, name: str, key: str) -> bool:
    """Whether a file is what an upload with this key left."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return False
    try:
        return os.getxattr(fd, _KEY) == key.encode()
    except OSError:
        return False
    finally:
        os.close(fd)


def sweep(dir_fd: int) -> int:
    """Remove what a process that died left half-written in a folder; how many files.

    An upload that is still going on, maybe of another process, holds a lock and is left alone.
    """
    return sum(_sweep_one(dir_fd, name) for name in os.listdir(dir_fd) if _PART.fullmatch(name))


def _sweep_one(dir_fd: int, name: str) -> bool:
    try:
        fd = os.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:  # a link, a folder, gone: not ours
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=dir_fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
