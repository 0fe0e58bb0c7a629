"""Opens a path beneath a folder so that no link, mount or swap can lead out of it.

`realpath` and then `open` is a race that an agent wins: it swaps a folder for a link in between.
Here the kernel resolves and checks in one step (openat2, Linux 5.6), or every component is opened
for itself without following links, and what was opened is what is checked.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Protocol

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
"""For files: a pipe or a device must neither block nor become our terminal."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_STRICT = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_RENAME_NOREPLACE = 1
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_AGAIN = {errno.EAGAIN, errno.EINTR}
_TRIES = 16

_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)  # not in every C library


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class OpenBeneath(Protocol):
    """Opens `path`, relative and without `..`, beneath the folder `dir_fd`; the caller closes the descriptor.

    Raises `OSError`: ELOOP or ENOTDIR on a link, EXDEV for a place outside or (unless
    `cross_mounts`) on another mount.
    """

    def __call__(self, dir_fd: int, path: str, flags: int, *, cross_mounts: bool = False) -> int: ...


def by_openat2(dir_fd: int, path: str, flags: int, *, cross_mounts: bool = False) -> int:
    """`OpenBeneath` in one system call."""
    resolve = _STRICT if cross_mounts else _STRICT | _RESOLVE_NO_XDEV
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    encoded = _encoded(path)
    for _ in range(_TRIES):
        fd = _libc.syscall(_SYS_OPENAT2, dir_fd, encoded, ctypes.byref(how), ctypes.sizeof(how))
        number = ctypes.get_errno()
        if fd >= 0:
            return int(fd)
        if number not in _AGAIN:  # EAGAIN: a rename somewhere made the kernel unsure
            break
    raise OSError(number, os.strerror(number), path)


def by_walk(dir_fd: int, path: str, flags: int, *, cross_mounts: bool = False) -> int:
    """`OpenBeneath` one component at a time, for kernels and sandboxes without openat2.

    A mount of the same device (a bind mount) is not noticed here.
    """
    *folders, last = _components(path)
    device = None if cross_mounts else os.fstat(dir_fd).st_dev
    here = os.dup(dir_fd)
    try:
        for part in folders:
            below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
            _check_folder(here, device, path)
        fd = os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
    return _on_device(fd, device, path)


def best_opener(root_fd: int) -> OpenBeneath:
    """`by_openat2` where it works; sandboxes answer ENOSYS or, the older ones, EPERM."""
    try:
        os.close(by_openat2(root_fd, ".", FOLDER))
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            return by_walk
        raise
    return by_openat2


def rename_new(dir_fd: int, old: str, new: str) -> None:
    """Rename within a folder in one step that never replaces anything; raises `FileExistsError`."""
    if _renameat2 is None:
        return link_new(dir_fd, old, new)
    if not _renameat2(dir_fd, _encoded(old), dir_fd, _encoded(new), _RENAME_NOREPLACE):
        return None
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:  # a file system that cannot do it, such as NFS
        return link_new(dir_fd, old, new)
    raise OSError(number, os.strerror(number), new)


def link_new(dir_fd: int, old: str, new: str) -> None:
    """`rename_new` in two steps, each safe: for a moment the file has both names."""
    os.link(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    os.unlink(old, dir_fd=dir_fd)


def _encoded(path: str) -> bytes:
    encoded = path.encode()
    if b"\0" in encoded:  # ctypes would cut the path there and open another one
        raise OSError(errno.ENOENT, "NUL in a path", path)
    return encoded


def _components(path: str) -> list[str]:
    if path.startswith("/"):
        raise OSError(errno.EXDEV, "an absolute path", path)
    parts = [part for part in _encoded(path).decode().split("/") if part not in {"", "."}]
    if ".." in parts:
        raise OSError(errno.EXDEV, "a path that leads upwards", path)
    return parts or ["."]


def _check_folder(fd: int, device: int | None, path: str) -> None:
    found = os.fstat(fd)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a link in a path", path)
    if device not in {None, found.st_dev}:
        raise OSError(errno.EXDEV, "another mount", path)


def _on_device(fd: int, device: int | None, path: str) -> int:
    if device in {None, os.fstat(fd).st_dev}:
        return fd
    os.close(fd)
    raise OSError(errno.EXDEV, "another mount", path)
