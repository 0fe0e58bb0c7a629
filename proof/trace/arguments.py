"""Reads from a stopped thread what its system call is about: bytes, names, files, peers."""

from __future__ import annotations

import ipaddress
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_AT_FDCWD = -100
_LONGEST_PATH = 4096
_IOVEC = struct.Struct("QQ")
_MSGHDR_BYTES, _MMSGHDR_BYTES, _IOV_AT = 56, 64, 16

_IN_ONE_PIECE = {"write", "pwrite64", "sendto"}
_AT_AN_OFFSET = {"pwrite64", "pwritev", "pwritev2"}
_IN_PIECES = {"writev", "pwritev", "pwritev2"}


class Arguments:
    """The arguments of one call of one thread."""

    def __init__(self, tid: int, name: str, args: Sequence[int]) -> None:
        self._tid = tid
        self._name = name
        self._args = args

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return _signed(self._args[0])

    def size(self) -> int:
        """How many bytes are to be written or sent, or are to be left."""
        if self._name == "sendfile":
            return self._args[3]
        if self._name == "ftruncate":
            return self._args[1]
        return sum(length for _, length in self._pieces())

    def offset(self) -> int | None:
        """Where in the file the bytes go; None for where it stands."""
        return self._args[3] if self._name in _AT_AN_OFFSET else None

    def data(self) -> bytes:
        """The bytes that are to be written or sent."""
        return b"".join(self._memory(address, length) for address, length in self._pieces())

    def names(self) -> tuple[str, str]:
        """The old name and the new one; the new one is empty where there is none."""
        args = self._args
        match self._name:
            case "rename" | "link":
                return self._named(_AT_FDCWD, args[0]), self._named(_AT_FDCWD, args[1])
            case "renameat" | "renameat2" | "linkat":
                return self._named(args[0], args[1]), self._named(args[2], args[3])
            case "unlink":
                return self._named(_AT_FDCWD, args[0]), ""
            case _:
                return self._named(args[0], args[1]), ""

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Address and length of each piece of memory."""
        args = self._args
        if self._name in _IN_ONE_PIECE:
            yield args[1], args[2]
        elif self._name in _IN_PIECES:
            yield from self._vector(args[1], args[2])
        elif self._name == "sendmsg":
            yield from self._message(args[1])
        elif self._name == "sendmmsg":
            for number in range(args[2]):
                yield from self._message(args[1] + number * _MMSGHDR_BYTES)

    def _message(self, address: int) -> Iterator[tuple[int, int]]:
        vector, count = _IOVEC.unpack_from(self._memory(address, _MSGHDR_BYTES), _IOV_AT)
        yield from self._vector(vector, count)

    def _vector(self, address: int, count: int) -> Iterator[tuple[int, int]]:
        yield from _IOVEC.iter_unpack(self._memory(address, count * _IOVEC.size))

    def _named(self, folder: int, address: int) -> str:
        where = "cwd" if _signed(folder) == _AT_FDCWD else f"fd/{_signed(folder)}"
        name = os.fsdecode(self._memory(address, _LONGEST_PATH).split(b"\0")[0])
        return os.path.normpath(Path(f"/proc/{self._tid}/{where}").readlink() / name)

    def _memory(self, address: int, length: int) -> bytes:
        fd = os.open(f"/proc/{self._tid}/mem", os.O_RDONLY)
        try:
            return os.pread(fd, length, address)
        finally:
            os.close(fd)


def behind(tid: int, fd: int) -> str:
    """What a descriptor is: an absolute path, or `socket:[inode]`, `pipe:[inode]`; empty when it is closed."""
    try:
        return str(Path(f"/proc/{tid}/fd/{fd}").readlink())
    except OSError:
        return ""


def position(tid: int, fd: int) -> int:
    """Where in a file the next bytes go."""
    with open(f"/proc/{tid}/fdinfo/{fd}") as lines:  # noqa: PTH123 - called for every write
        return int(next(line for line in lines if line.startswith("pos:")).split()[1])


class Peers:
    """Finds the far ends of TCP sockets; a socket keeps its inode, so each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, tid: int, what: str) -> str:
        """`address:port` behind `socket:[inode]`; empty for what is no TCP socket."""
        if not what.startswith("socket:["):
            return ""
        inode = what[8:-1]
        if inode not in self._known:
            self._known[inode] = _look_up(tid, inode)
        return self._known[inode]


def _look_up(tid: int, inode: str) -> str:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{tid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] == inode:
                address, _, port = fields[2].partition(":")
                return f"{_address(address)}:{int(port, 16)}"
    return ""


def _address(text: str) -> str:
    """The kernel prints words of four bytes in its own byte order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _signed(value: int) -> int:
    """A C `int` from a register."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
