"""The kernel's side of tracing: ptrace(2) and a seccomp(2) filter, called through the C library."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

_PTRACE_CONT = 7
_PTRACE_SYSCALL = 24
_PTRACE_SEIZE = 0x4206
_PTRACE_LISTEN = 0x4208
_PTRACE_GET_SYSCALL_INFO = 0x420E

EVENT_SECCOMP = 7
EVENT_STOP = 128
SYSCALL_STOP = 0x80
"""Set in the signal number of a stop at the end of a system call (PTRACE_O_TRACESYSGOOD)."""
_TRACE_SYSGOOD, _TRACE_FORK, _TRACE_VFORK, _TRACE_CLONE, _TRACE_EXEC, _TRACE_SECCOMP, _EXIT_KILL = (
    0x1, 0x2, 0x4, 0x8, 0x10, 0x80, 0x100000,
)  # fmt: skip
_OPTIONS = _TRACE_SYSGOOD | _TRACE_FORK | _TRACE_VFORK | _TRACE_CLONE | _TRACE_EXEC | _TRACE_SECCOMP | _EXIT_KILL

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW, _RET_TRACE = 0x7FFF0000, 0x7FF00000
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""By `uname -m`, as the kernel numbers them (linux/audit.h)."""
NUMBERS = {
    "x86_64": {
        "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "ftruncate": 77,
        "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "sendfile": 40, "fsync": 74, "fdatasync": 75,
        "rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "unlink": 87, "unlinkat": 263,
    },
    "aarch64": {
        "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "ftruncate": 46,
        "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "sendfile": 71, "fsync": 82, "fdatasync": 83,
        "renameat": 38, "renameat2": 276, "linkat": 37, "unlinkat": 35,
    },
}  # fmt: skip
"""The system calls that change files, make them durable or let bytes leave."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]


class Forbidden(Exception):
    """This machine does not let a program be traced; the message is for people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A system call that is about to be made."""

    number: int
    args: tuple[int, ...]


def machine_numbers() -> dict[int, str]:
    """The names of the traced system calls by their numbers on this machine."""
    machine = platform.machine()
    if machine not in NUMBERS:
        raise Forbidden(f"system calls of {machine} are not known here, only those of {', '.join(NUMBERS)}")
    return {number: name for name, number in NUMBERS[machine].items()}


def seize(pid: int) -> None:
    """Begin to trace a process of ours and everything that it starts; it dies with the tracer."""
    _ptrace(_PTRACE_SEIZE, pid, 0, _OPTIONS)


def go_on(tid: int, signal: int = 0, *, to_the_end_of_the_call: bool = False) -> None:
    """Let a stopped thread run, with a signal or to the end of its system call."""
    _ptrace(_PTRACE_SYSCALL if to_the_end_of_the_call else _PTRACE_CONT, tid, 0, signal)


def stay_stopped(tid: int) -> None:
    """Leave a thread in the stop that its whole process is in."""
    _ptrace(_PTRACE_LISTEN, tid, 0, 0)


def entry(tid: int) -> Entry:
    """The call before which a thread stands."""
    _, number, *args = struct.unpack_from("<24sQ6Q", _info(tid))
    return Entry(number, tuple(args))


def result(tid: int) -> int:
    """What the call returned behind which a thread stands; negative: an error number."""
    (value,) = struct.unpack_from("<q", _info(tid), 24)
    return int(value)


def _info(tid: int) -> bytes:
    # struct ptrace_syscall_info is the same on every architecture.
    buffer = ctypes.create_string_buffer(128)
    _ptrace(_PTRACE_GET_SYSCALL_INFO, tid, len(buffer), ctypes.addressof(buffer))
    return buffer.raw


def _ptrace(request: int, tid: int, address: int, data: int) -> None:
    ctypes.set_errno(0)
    if _libc.ptrace(request, tid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stop_at(numbers: Iterable[int]) -> None:
    """From now on this thread, and what it starts, stops for its tracer at these calls, and at no others."""
    wanted = sorted(numbers)
    program = [
        (_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_EQUAL, 0, len(wanted) + 1, _ARCHITECTURES[platform.machine()]),
        (_LOAD_WORD, 0, 0, _AT_NUMBER),
        *((_JUMP_EQUAL, len(wanted) - at, 0, number) for at, number in enumerate(wanted)),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_TRACE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, None)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(head))


def _prctl(option: int, value: int, address: int | None) -> None:
    if _libc.prctl(option, value, address, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
