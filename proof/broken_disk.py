"""Lets chosen system calls of this process end with an error from now on, as a broken disk makes them.

By a seccomp filter (Linux, no rights needed) that holds for all threads and cannot be taken back.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Sequence

_NUMBERS = {
    "x86_64": {"seccomp": 317, "fsync": 74, "fdatasync": 75, "pwrite64": 18, "write": 1},
    "aarch64": {"seccomp": 277, "fsync": 82, "fdatasync": 83, "pwrite64": 68, "write": 64},
}
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def from_now_on(error: int, names: Sequence[str]) -> None:
    """Let these calls end with an error number in every thread of this process."""
    numbers = _NUMBERS[platform.machine()]
    steps = [struct.pack("HBBI", _LOAD, 0, 0, 0)]  # the call's number
    for behind, name in zip(range(len(names), 0, -1), names, strict=True):
        steps.append(struct.pack("HBBI", _JUMP_IF_EQUAL, behind, 0, numbers[name]))
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    steps.append(struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | error))
    program = _Program(len(steps), b"".join(steps))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(numbers["seccomp"], _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "seccomp refused")
