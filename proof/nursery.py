"""Hosts that begin at once: forked from a process that has imported everything, and real in all else.

Starting Python and importing takes longer than most of what a sweep looks at. Each host is a process of
its own that runs the program from `main` on, with its own environment, files and end.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from types import TracebackType
from typing import IO, Any, Self

from proof.processes import PATH, confined, dies_with_parent

MESSAGE_BYTES = 1 << 16


class Nursery:
    """Starts hosts for as long as its `async with` block; they find what is installed in `folders`, too."""

    def __init__(self, *folders: str) -> None:
        self._env = {**os.environ, "PYTHONPATH": os.pathsep.join((*folders, PATH["PYTHONPATH"]))}
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs: socket.socket | None = theirs
        self._process: asyncio.subprocess.Process
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._bearing = asyncio.Lock()
        self._ends: dict[int, asyncio.Future[int]] = {}

    async def __aenter__(self) -> Self:
        assert self._theirs is not None
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "proof.nursery", str(self._theirs.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=[self._theirs.fileno()],
            env=self._env,
            preexec_fn=confined,
        )
        self._theirs.close()
        self._ours.setblocking(False)
        asyncio.get_running_loop().add_reader(self._ours, self._hear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        self._ours.close()  # it ends when nobody can ask any more
        await self._process.wait()

    async def start(self, command: Sequence[str], env: Mapping[str, str], log: IO[bytes]) -> Child:
        """Run `python -m MODULE ARGUMENTS…` in a new process."""
        assert tuple(command[:2]) == (sys.executable, "-m"), "it knows modules only"
        read, write = os.pipe()
        order = json.dumps({"argv": list(command[2:]), "env": dict(env)}).encode()
        async with self._bearing:
            try:
                socket.send_fds(self._ours, [order], [write, log.fileno()])
            finally:
                os.close(write)
            pid = await self._born.get()
        return Child(pid, self._ends[pid], await _reader(read))

    def _hear(self) -> None:
        """A child was born, or has ended."""
        news = json.loads(self._ours.recv(MESSAGE_BYTES) or b"{}")
        if not news:
            raise RuntimeError("the nursery has ended")
        if "code" in news:
            self._ends.pop(news["pid"]).set_result(news["code"])
        else:
            self._ends[news["pid"]] = asyncio.get_running_loop().create_future()
            self._born.put_nowait(news["pid"])


class Child:
    """One process, as `asyncio.subprocess.Process` would show it."""

    def __init__(self, pid: int, end: asyncio.Future[int], stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self._end = end

    @property
    def returncode(self) -> int | None:
        """How it ended, if it has."""
        return self._end.result() if self._end.done() else None

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await asyncio.shield(self._end)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if not self._end.done():
            os.kill(self.pid, number)


async def _reader(read: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0)
    )
    return reader


# In the process that hosts are forked from ----------------------------------------------------------


def main(control: socket.socket) -> None:
    """Fork whatever is asked for; say who was born and who has ended."""
    _import_everything()
    gc.freeze()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is woken:
                woken.recv(MESSAGE_BYTES)
                _reap(control)
                continue
            order, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
            if not order:
                return
            if (pid := os.fork()) == 0:
                for held in (control, woken, wake, selector):
                    held.close()
                _become(json.loads(order), *files)
                return
            for file in files:
                os.close(file)
            control.send(json.dumps({"pid": pid}).encode())


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(order: dict[str, Any], stdout: int, stderr: int) -> None:
    """Run a module as the program that this process is from now on."""
    dies_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    # The streams that were there would take the new files for what the old ones were, such as files with places.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(order["env"])
    importlib.reload(importlib.import_module("surfaces_core._engine.killpoints"))  # reads the environment
    sys.argv = order["argv"]
    runpy.run_module(order["argv"][0], run_name="__main__", alter_sys=True)


def _import_everything() -> None:
    importlib.import_module("surfaces_core._program.commands")
    for group in ("storage", "files", "transport", "surface", "hooks"):
        for entry in entry_points(group=f"surfaces.{group}"):
            entry.load()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
