"""A program on a pseudo-terminal, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pyte

PATIENCE_S = 30.0


class _Screen(pyte.HistoryScreen):
    """One that answers when it is asked where its cursor is."""

    def __init__(self, columns: int, lines: int, keyboard: int) -> None:
        super().__init__(columns, lines, history=2000)
        self._keyboard = keyboard

    def write_process_input(self, data: str) -> None:
        os.write(self._keyboard, data.encode())


class Terminal:
    """One life of a program; a block ends it."""

    def __init__(self, *command: str, cwd: Path, columns: int = 80, lines: int = 24) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen = _Screen(columns, lines, self._master)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        """All that the program wrote."""
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines)},
        )
        os.close(slave)

    @classmethod
    def chat(cls, *arguments: str, cwd: Path, columns: int = 80) -> Self:
        """`surfaces chat`."""
        return cls(sys.executable, "-m", "surfaces_core.cli", "chat", *arguments, cwd=cwd, columns=columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        os.close(self._master)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def enter(self, line: str) -> None:
        """Type a line."""
        self.type(f"{line}\r")

    @property
    def shown(self) -> str:
        """All that can be seen, with what was scrolled away."""
        history = ["".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*history, *self._screen.display]).rstrip()

    def read(self, timeout_s: float = 0.0) -> bool:
        """Take what the program writes; False when it is at its end."""
        if select.select([self._master], [], [], timeout_s)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return False
            self.raw += data
            self._stream.feed(data)
        return True

    def until(self, condition: str | Callable[[str], bool]) -> str:
        """Wait until something shows; what shows then."""
        holds = (lambda shown: condition in shown) if isinstance(condition, str) else condition
        deadline = time.monotonic() + PATIENCE_S
        while not holds(self.shown):
            waiting = self.read(0.2) and time.monotonic() < deadline
            assert waiting, f"waited in vain for {condition!r}:\n{self.shown}"
        return self.shown

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.read(0.2) and time.monotonic() < deadline:
            pass
        return self.process.wait(10)

    def kill(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
