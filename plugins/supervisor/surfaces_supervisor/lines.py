"""What the supervisor says on standard error: events with keys like the host's, without the weight of its libraries."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import suppress
from datetime import UTC, datetime


class Log:
    """Writes a line for each event; a reader that is behind, or gone, holds nothing up."""

    def __init__(self, fd: int = 2) -> None:
        self._json = not os.isatty(fd)
        self._fd = _never_waiting(fd)

    def info(self, event: str, **keys: object) -> None:
        """All is as it should be."""
        self._write("info", event, keys)

    def warning(self, event: str, **keys: object) -> None:
        """It goes on, but somebody should know."""
        self._write("warning", event, keys)

    def error(self, event: str, **keys: object) -> None:
        """Somebody has to do something."""
        self._write("error", event, keys)

    def _write(self, level: str, event: str, keys: dict[str, object]) -> None:
        now = datetime.now(UTC)
        if self._json:
            line = json.dumps({"event": event, "level": level, "timestamp": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", **keys})
        else:
            line = " ".join([f"{now:%H:%M:%S} [{level}] {event}", *(f"{key}={value}" for key, value in keys.items())])
        with suppress(OSError):
            os.write(self._fd, line.encode("utf8", "backslashreplace") + b"\n")


def _never_waiting(fd: int) -> int:
    """A descriptor for the same pipe that does not wait, without a change to others' of it."""
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return fd


def plain(text: str) -> str:
    """One line, in which everything that a terminal might obey is a question mark: others may have had it written."""
    return "".join(char if char.isprintable() else " " if char == "\n" else "?" for char in text)


def say(text: str) -> None:
    """A line for the person who called a command."""
    with suppress(BrokenPipeError):  # nobody wants to know any more
        sys.stdout.write(f"{plain(text)}\n")
        sys.stdout.flush()
