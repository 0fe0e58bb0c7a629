"""Owns the host that `surfaces chat` talks to: one that runs already, or a child of its own for as long as it lasts."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from surfaces_core import ConfigError, StateError
from surfaces_terminal.settings import DEFAULT_SOCKET
from surfaces_terminal.wire import is_served

READY = b"READY "
STOP_S = 40.0
"""How long the child may take over its end."""
OWN = Path("var/chat")
"""What there is where nothing is configured."""
FIRST_CONFIG = """\
# Made by `surfaces chat`, which found no surfaces.yaml: an agent that says back what it hears.
# Copy this to surfaces.yaml, and name an agent of your own.
storage: {{use: sqlite, path: {folder}/state.db}}
files: {{use: volume, root: {folder}/agents}}
surfaces:
  terminal: {{socket: {folder}/terminal.sock}}
transports:
  echo: {{delay_s: 0.03}}
agents:
  - {{id: echo, label: Echo, transport: echo}}
hooks: [context, chats, staging]
"""
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which host is meant."""

    config: Path
    surfaces: dict[str, Any]
    """The terminal, as the config says or would say."""
    socket: Path
    named: bool
    """The config names a terminal."""


def find(config: Path) -> Place:
    """What a config says of a terminal; what is wrong with it the host says. Raises `ConfigError`."""
    try:
        data = yaml.safe_load(config.read_text("utf8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = error.strerror if isinstance(error, OSError) else "is no valid YAML"
        raise ConfigError("", problem or "cannot be read", file=str(config)) from error
    surfaces = data.get("surfaces") if isinstance(data, dict) else None
    for name, settings in (surfaces if isinstance(surfaces, dict) else {}).items():
        if isinstance(settings or {}, dict) and (settings or {}).get("use", name) == "terminal":
            settings = {"use": "terminal", **(settings or {})}
            socket = _filled(str(settings.get("socket", DEFAULT_SOCKET)), str(config))
            settings = {**settings, "socket": socket}
            return Place(config=config, surfaces={name: settings}, socket=Path(socket), named=True)
    return Place(config=config, surfaces={"terminal": {}}, socket=DEFAULT_SOCKET, named=False)


def _filled(socket: str, config: str) -> str:
    """The path with what it takes from the environment, as the host reads it. Raises `ConfigError`."""

    def value(found: re.Match[str]) -> str:
        name, otherwise = found.groups()
        given = os.environ.get(name) or otherwise
        if given is None:
            raise ConfigError("surfaces", f"{name} is not set here, and the path of the socket needs it", file=config)
        return given

    return VARIABLE.sub(value, socket)


def first_config() -> Path:
    """A config for who has none; made once. Raises `OSError`."""
    path = OWN / "surfaces.yaml"
    if not path.exists():
        (OWN / "agents" / "echo").mkdir(parents=True, exist_ok=True)
        path.write_text(FIRST_CONFIG.format(folder=OWN), "utf8")
    return path


@asynccontextmanager
async def reached(place: Place, agent: str | None, restarted: Callable[[], Awaitable[None]]) -> AsyncIterator[bool]:
    """Have a host at the socket while the block lasts; whether it is our own. Raises `ConfigError`, `StateError`."""
    if await asyncio.to_thread(is_served, place.socket):
        yield False
        return
    place.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    host = _OwnHost(place, agent)
    try:
        await host.start()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(host.watch(restarted))
            try:
                yield True
            finally:
                watching.cancel()
    finally:
        await host.stop()


class _OwnHost:
    """`surfaces run` as a child, with the config's other surfaces set aside; started again when it ends by itself."""

    def __init__(self, place: Place, agent: str | None) -> None:
        self._place = place
        self._agent = agent
        self._log = place.socket.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    def _command(self) -> Sequence[str]:
        own = ["--surfaces", json.dumps(self._place.surfaces)]
        chosen = ["--agent", self._agent] if self._agent else []
        return [sys.executable, "-m", "surfaces_core.cli", "run", "-c", str(self._place.config), *own, *chosen]

    async def start(self) -> None:
        """Start it, and wait until it can be talked to. Raises what it said where it cannot."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.startswith(READY):
                return
        code = await self._process.wait()
        raise self._failure(code)

    def _failure(self, code: int) -> Exception:
        said = [line for line in self._log.read_text("utf8", "replace").splitlines() if line.startswith("surfaces: ")]
        for line in said[:-1]:
            sys.stderr.write(f"{line}\n")
        word, _, problem = said[-1].removeprefix("surfaces: ").partition(": ") if said else ("", "", "")
        problem = problem or f"the host ended with {code}; see {self._log}"
        if code == os.EX_TEMPFAIL and not self._place.named:
            problem += f"; to talk to it, add `terminal: {{}}` to the surfaces of {self._place.config} and restart it"
        elif code == os.EX_TEMPFAIL:
            problem += "; to talk to it, call this with its config in the folder in which it was started"
            problem += f" (it does not listen at {self._place.socket.absolute()})"
        failure = StateError(problem, exit_code=code if code > 0 else os.EX_SOFTWARE)
        failure.code = word or failure.code
        return failure

    async def watch(self, restarted: Callable[[], Awaitable[None]]) -> None:
        """Start it again whenever it ends, until cancelled."""
        while True:
            assert self._process is not None
            assert self._process.stdout is not None
            while await self._process.stdout.read(4096):
                pass  # a pipe that nobody reads fills, and then stands still whoever writes to it
            await self._process.wait()
            await restarted()
            await self.start()

    async def stop(self) -> None:
        """Ask it to end, and wait."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with_parent(client: int) -> None:
    # Runs in the child between fork and exec: a client that is killed must not leave its host behind.
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != client:
            os._exit(os.EX_UNAVAILABLE)  # it is gone already, and nothing would tell us
