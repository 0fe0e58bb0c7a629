"""Child processes: started with a log, waited for until they are ready, and gone when the parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from surfaces_core import SurfacesError

READY = "READY "
"""What a program of ours prints on a line of its own, followed by a JSON object, once it can be used."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class DemoError(SurfacesError):
    """Something that the demo needs cannot be had; the message is one line with the remedy."""

    code = "DEMO"


def free_port(wanted: int = 0) -> int:
    """The wanted port of the loopback address, or any other when that is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    # Runs in the child between fork and exec: without it a killed test runner leaves servers behind.
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _streams(folder: Path, name: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.log").open("ab") as log:
        yield out, log


class Child:
    """One child process; both of its streams go to files in `folder`, where a failure can be read."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.name = name
        self._process = process
        self._folder = folder

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], *, folder: Path, env: Mapping[str, str] | None = None
    ) -> Self:
        """Start a program; the log of an earlier life in the same folder is kept above."""
        with _streams(folder, name) as (out, log):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(env or {})},
                # Ctrl-C is for the parent alone, which then stops its children in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return cls(name, process, folder)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    def tail(self, lines: int = 15) -> str:
        """The last lines that it wrote to its log."""
        text = (self._folder / f"{self.name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    async def ready(self, timeout_s: float = 30.0) -> dict[str, object]:
        """Wait for the READY line; its JSON object. Raises `DemoError` when it ends or is late."""
        deadline = time.monotonic() + timeout_s
        while (found := self._ready_line()) is None:
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} was not ready in {timeout_s:.0f} s\n{self.tail()}")
            await asyncio.sleep(0.02)
        return found

    def check(self) -> None:
        """Raise `DemoError` if it has ended."""
        if not self.running:
            raise DemoError(f"{self.name} ended with exit code {self._process.returncode}\n{self.tail()}")

    def _ready_line(self) -> dict[str, object] | None:
        for line in (self._folder / f"{self.name}.out").read_text(errors="replace").splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                return dict(json.loads(line.removeprefix(READY)))
        return None

    async def stop(self, grace_s: float = 10.0) -> int:
        """Ask it to end, then insist; its exit code."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._process.wait(), grace_s)
            self._process.kill()
        return await self._process.wait()

    async def kill(self) -> None:
        """Pull the plug: SIGKILL, nothing is tidied up."""
        if self.running:
            self._process.kill()
        await self._process.wait()
