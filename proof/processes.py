"""Programs as processes of their own: started, waited for, killed, and never outliving the test run."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from proof.nursery import Child, Nursery

PASSWORD = "a-password-that-must-not-show"
BOT = "@bot:hs.test"
HOST = (sys.executable, "-m", "surfaces_core.cli")
WORKSPACE = "reference"
AGENT = (str(Path(sys.executable).with_name("surfaces-agent")),)
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_libc = ctypes.CDLL(None)
ROOT = Path(__file__).parent.parent
PATH = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
"""In the environment of programs, so that they find these modules wherever they are started."""


def dies_with_parent() -> None:
    """End this process when the one that made it ends: a run that is killed itself leaves nothing behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confined() -> None:
    """What every program does before it begins."""
    dies_with_parent()
    # Where the tests run as root, file modes hold for the program all the same.
    _libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE)
    _libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_READ_SEARCH)


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The reference agent, which outlives all hosts."""

    base_url: str
    volume: Path
    workspace: Path


class Program:
    """One program for as long as its `async with` block; what it logs is kept in a file.

    From a nursery it begins at once, unless it is to find modules elsewhere than the nursery did.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self._command = command
        self._log = log
        self._env = {**os.environ, **PATH, "MATRIX_PASSWORD": PASSWORD, **(env or {})}
        self._nursery = nursery if "PYTHONPATH" not in (env or {}) else None
        self._process: asyncio.subprocess.Process | Child

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            if self._nursery is not None:
                self._process = await self._nursery.start(self._command, self._env, log)
                return self
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._env,
                preexec_fn=confined,
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

    def work_s(self) -> float:
        """How long it has worked, in seconds of processor time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has ended, and the news is on its way
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

    async def logged(self, text: str, timeout_s: float = 30.0) -> None:
        """Wait until its log holds a text."""
        async with asyncio.timeout(timeout_s):
            while text not in self.log():  # noqa: ASYNC110 - a file has no event for this
                await asyncio.sleep(0.01)

    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(errors="replace")


@asynccontextmanager
async def reference_agent(volume: Path, *options: str) -> AsyncIterator[Agent]:
    """The reference agent with its workspace on a volume."""
    workspace = volume / WORKSPACE
    workspace.mkdir()
    async with Program((*AGENT, "--workspace", str(workspace), *options), log=volume / "agent.log") as program:
        yield Agent(base_url=str((await program.ready())["base_url"]), volume=volume, workspace=workspace)


def write_config(folder: Path, homeserver: str, agent: Agent, **changes: Any) -> Path:
    """A config of the whole host, with state in `folder`; `changes` are merged into its sections.

    `matrix` is the section of the surface of that name; a `storage` with another driver is one of its own.
    """
    config: dict[str, Any] = {
        "storage": {"use": "sqlite", "path": str(folder / "state" / "surfaces.db")},
        "files": {"use": "volume", "root": str(agent.volume)},
        "surfaces": {
            "matrix": {
                "encryption": False,
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
        "agents": [
            {"id": "reference", "base_url": agent.base_url, "workspace_path": WORKSPACE, "send_message_id": True}
        ],
        "host": {"on_interrupt": "retry", "log_level": "debug"},
    }
    config["surfaces"]["matrix"].update(changes.pop("matrix", {}))
    for section, changed in changes.items():
        config[section] = changed if "use" in changed else {**config.get(section, {}), **changed}
    path = folder / "surfaces.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path
