"""One life of the host as a child process. What it prints goes where the supervisor's own output goes, unread."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from surfaces_supervisor.notify import MICROSECONDS, Ear

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl
ABORTING_S = 5.0
"""How long a host that hangs may take to say where."""


class Child:
    """A host that was started, until its end was taken note of."""

    def __init__(self, ear: Ear, config: Path, *, hold: str, watchdog_s: float) -> None:
        self._ear = ear
        self.held = bool(hold)
        self.ready = False
        self.status = ""
        """What it last said of itself."""
        self.why = ""
        """What it said of its end."""
        self.files: Mapping[str, list[str]] = {}
        """By which files it lives: what each is, its path, its digest, and that of what is no registry."""
        self.aborted = False
        command = [sys.executable, "-P", "-m", "surfaces_core.cli", "run", "-c", str(config)]
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": ear.address,
            "WATCHDOG_USEC": str(int(watchdog_s * MICROSECONDS)),
            "PYTHONFAULTHANDLER": "1",  # so that one that hangs says where
        }
        environ.pop("WATCHDOG_PID", None)
        parent = os.getpid()

        def dies_with_parent() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload may be asked for before it listens for that
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # holds messages
            if os.getppid() != parent:  # it was quicker
                os.kill(os.getpid(), signal.SIGKILL)

        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--hold", hold] if hold else command,
            stdin=subprocess.DEVNULL,
            env=environ,
            process_group=0,  # a Ctrl-C on the terminal comes once, through the supervisor
            preexec_fn=dies_with_parent,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit code, negative for a signal, once it has ended."""
        return self._process.poll()

    def listen(self) -> bool:
        """Take in what it has said since; whether it has said anything."""
        heard = list(self._ear.heard(self.pid))
        for message in heard:
            self.ready = self.ready or message.get("READY") == "1"
            self.status = message.get("STATUS", self.status)
            self.why = message.get("X_SURFACES_END", self.why)
            if "X_SURFACES_FILES" in message:
                self.files = _files(message["X_SURFACES_FILES"])
        return bool(heard)

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def abort(self) -> float:
        """End it, for it hangs: first so that it says where; when to call this again, in seconds."""
        self.signal(signal.SIGKILL if self.aborted else signal.SIGABRT)
        self.aborted = True
        return ABORTING_S


def bury(own: Collection[int]) -> None:
    """Take note of the ends of others, which come to the first process of a container; those in `own` wait."""
    with suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid not in own:
            os.waitpid(found.si_pid, 0)


def _files(text: str) -> Mapping[str, list[str]]:
    import json

    try:
        found = json.loads(text)
        return {str(name): [str(part) for part in parts] for name, parts in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
