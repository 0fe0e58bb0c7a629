"""Owns the eye on what code does to the world outside its process, as Python's audit events tell it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

Watcher = Callable[[str, tuple[Any, ...]], None]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEEDS: Mapping[str, str] = {
    "socket.bind": "binds a socket to {1}",
    "socket.connect": "connects to {1}",
    "socket.sendto": "sends to {1}",
    "socket.getaddrinfo": "looks up {0}",
    "socket.gethostbyname": "looks up {0}",
    "subprocess.Popen": "starts {1}",
    "os.system": "starts {0}",
    "os.posix_spawn": "starts {0}",
    "os.fork": "forks",
    "sqlite3.connect": "opens the database {0}",
    "os.mkdir": "makes the folder {0}",
    "os.remove": "removes {0}",
    "os.rename": "renames {0}",
    "os.rmdir": "removes {0}",
    "os.truncate": "cuts {0}",
    "os.utime": "touches {0}",
    "_thread.start_new_thread": "starts a thread",
    "time.sleep": "sleeps",
}
_watchers: list[Watcher] = []


def watch(watcher: Watcher) -> None:
    """Tell a watcher of every audit event from now on; it may raise to forbid one."""
    _install()
    _watchers.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """Tell it no more."""
    _watchers.remove(watcher)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What the block does to the world, in words; reading what is Python's, a package's or the system's is nothing."""
    deeds: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        said = _said(event, arguments)
        if said:
            deeds.append(said)

    watch(note)
    try:
        yield deeds
    finally:
        unwatch(note)


def _said(event: str, arguments: tuple[Any, ...]) -> str:
    if event == "open":
        return _opened(*arguments)
    words = _DEEDS.get(event)
    return words.format(*arguments) if words else ""


def _opened(path: Any, _mode: Any, flags: int) -> str:
    if isinstance(path, int):  # a descriptor, which somebody opened
        return ""
    file = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 -- a watcher follows no links
    if flags & _WRITES:
        return "" if file == os.devnull or "/__pycache__/" in file else f"writes to {file}"
    return "" if file.startswith(_quiet()) else f"reads {file}"


@cache
def _quiet() -> tuple[str, ...]:
    """Where reading is what imports and translations do."""
    folders = [sys.prefix, sys.base_prefix, *filter(os.path.isabs, sys.path)]
    return (*folders, "/usr/", "/etc/", "/lib", "/proc/", "/sys/", "/dev/")


@cache
def _install() -> None:
    """Python lets nobody take an audit hook away again, so there is one for all watchers."""

    def tell(event: str, arguments: tuple[Any, ...]) -> None:
        for watcher in _watchers:
            watcher(event, arguments)

    sys.addaudithook(tell)
