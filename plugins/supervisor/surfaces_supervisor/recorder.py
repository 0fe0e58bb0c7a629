"""Has a host that runs well recorded, by a short-lived process of its own: what that takes is not kept in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from surfaces_supervisor import places
from surfaces_supervisor.lines import Log


class Recorder:
    """Knows whether what runs is what would be recorded, and which release that is."""

    def __init__(self, config: Path, folder: Path, log: Log) -> None:
        self._config = config
        self._folder = folder
        self._log = log
        self._installed: frozenset[str] = frozenset()
        self._process: subprocess.Popen[str] | None = None
        self.running = ""
        """The release that runs, once it has run well."""

    @property
    def pid(self) -> int:
        """Of the process that records; 0 when there is none."""
        return 0 if self._process is None else self._process.pid

    def starting(self) -> None:
        """A host is about to start, of what is installed now."""
        self.running = ""
        self._installed = places.installed()

    def record(self, files: Mapping[str, list[str]]) -> None:
        """The host that started last runs well by these files."""
        if self._process is not None:
            return
        if places.installed() != self._installed:
            self._log.warning("supervise.unrecorded", reason="something was installed since the host started")
            return
        command = [sys.executable, "-P", "-m", "surfaces_supervisor.recording", str(self._folder), json.dumps(files)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            self._log.warning("supervise.unrecorded", reason=f"no process can be had: {error.strerror}")

    def reap(self) -> None:
        """Take note of what was recorded, once it was."""
        if self._process is None or self._process.poll() is None:
            return
        said, _ = self._process.communicate()
        if self._process.returncode == 0:
            self.running = said.strip()
            self._log.info("supervise.recorded", release=self.running)
        else:
            self._log.warning("supervise.unrecorded", reason=said.strip() or "the recording failed")
        self._process = None
