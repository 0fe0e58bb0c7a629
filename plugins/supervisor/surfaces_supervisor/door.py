"""The socket through which operators ask a supervisor: a line of JSON each way, for its own user and for root."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAME = "socket"
LONGEST_ADDRESS = 100
"""Bytes of a path that surely fit into the address of a socket (unix(7): 108)."""
LONGEST_LINE = 64 * 1024
_PEER = struct.Struct("3i")

Words = dict[str, Any]
"""What is asked, or answered."""


class NobodyThere(Exception):
    """No supervisor listens."""


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """What a socket can be told for a path, however long that is."""
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listening(folder: Path) -> socket.socket:
    """A socket in a folder that only one process uses at a time."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with _address(folder / NAME) as address:
        with suppress(FileNotFoundError):  # of a supervisor that was killed
            Path(address).unlink()
        listener.bind(address)
        Path(address).chmod(0o600)  # nobody can connect before it listens
    listener.listen()
    return listener


class Client:
    """One operator's command, as the supervisor sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = b""
        connection.setblocking(False)

    def may_ask(self) -> bool:
        """Whether it is one of those that the socket is for."""
        peer = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        return _PEER.unpack(peer)[1] in (os.geteuid(), 0)

    def read(self) -> list[Words] | None:
        """The requests that have come; None when it has gone, or makes no sense."""
        try:
            data = self.connection.recv(LONGEST_LINE)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        if not data or len(self._buffer) > LONGEST_LINE:
            return None
        try:
            requests = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            return None
        return requests if all(isinstance(request, dict) for request in requests) else None

    def say(self, words: Words) -> None:
        """Answer; who does not listen gets nothing."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(words).encode() + b"\n")


class Line:
    """An operator's command's line to the supervisor, for as long as its `with` block."""

    def __init__(self, folder: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(folder / NAME) as address:
                self._connection.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            self._connection.close()
            raise NobodyThere from error
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, do: str) -> Words:
        """Ask for something, however long that takes. Raises `NobodyThere` when the supervisor ends meanwhile."""
        with suppress(OSError):  # what is wrong shows when the answer does not come
            self._connection.sendall(json.dumps({"do": do}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            with suppress(ConnectionError):
                piece = self._connection.recv(LONGEST_LINE)
                answer += piece
                if piece:
                    continue
            raise NobodyThere
        return dict(json.loads(answer))
