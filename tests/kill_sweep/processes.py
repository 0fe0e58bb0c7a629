"""Programs as processes of their own: started, waited for, killed, and never outliving the test run."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

PASSWORD = "a-password-that-must-not-show"
BOT = "@bot:hs.test"
HOST = (sys.executable, "-m", "surfaces_core.cli")
AGENT = (str(Path(sys.executable).with_name("surfaces-agent")),)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # A test run that is killed itself leaves nothing behind.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """One program for as long as its `async with` block; what it logs is kept in a file."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, user: int | None = None
    ) -> None:
        self._command = command
        self._log = log
        self._env = {**os.environ, "MATRIX_PASSWORD": PASSWORD, **(env or {})}
        self._user = user
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._env,
                user=self._user,
                preexec_fn=_die_with_parent,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def line(self) -> str:
        """The next line that it prints; empty when it has ended."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()

    async def ready(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """The facts of its READY line, which is the first that it prints."""
        async with asyncio.timeout(timeout_s):
            line = await self.line()
        assert line.startswith("READY "), f"{line!r} instead of READY\n{self.log()}"
        return dict(json.loads(line.removeprefix("READY ")))

    async def ended(self, timeout_s: float = 30.0) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        async with asyncio.timeout(timeout_s):
            await self.rest()
            return await self._process.wait()

    async def must_live(self) -> NoReturn:
        """Raise as soon as it ends."""
        raise AssertionError(f"it ended with exit code {await self.ended(timeout_s=600)}\n{self.log()}")

    async def rest(self) -> str:
        """Everything else that it prints until its end."""
        assert self._process.stdout is not None
        return (await self._process.stdout.read()).decode()

    async def stop(self) -> int:
        """Ask it to end; the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(errors="replace")


async def run(*command: str, log: Path, env: Mapping[str, str] | None = None, user: int | None = None) -> int:
    """Run a program that ends by itself; its exit code."""
    async with Program(command, log=log, env=env, user=user) as program:
        return await program.ended()


def write_config(folder: Path, *, homeserver: str, agent: str, volume: Path, **changes: Any) -> Path:
    """A config of the whole host, with state in `folder`; `changes` replace whole sections."""
    config = {
        "storage": {"use": "sqlite", "path": str(folder / "state" / "surfaces.db")},
        "files": {"use": "volume", "root": str(volume)},
        "surfaces": {
            "matrix": {
                "homeserver": homeserver,
                "user_id": BOT,
                "password": {"env": "MATRIX_PASSWORD"},
                "stream_first_chars": 1,
                "stream_first_s": 0,
                "stream_interval_s": 0.2,
            }
        },
        "transports": {"agent_api": {}},
        "hooks": ["context", "chats", "staging"],
        "agents": [{"id": "reference", "base_url": agent, "workspace_path": "reference", "send_message_id": True}],
        "host": {"on_interrupt": "retry", "log_level": "debug"},
        **changes,
    }
    path = folder / "surfaces.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path
