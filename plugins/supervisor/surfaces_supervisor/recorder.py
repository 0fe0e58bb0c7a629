"""Has what a host lives by recorded, by short-lived processes of its own: what that takes is not kept in memory."""

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
        self.installed: frozenset[str] = frozenset()
        """What the host that started last is made of."""
        self._process: subprocess.Popen[str] | None = None
        self._waiting: list[tuple[Mapping[str, list[str]], bool]] = []
        """What is to be recorded after what is being recorded: the last that was taken up, and what runs well."""
        self.running = ""
        """The release that runs, once it has run well."""

    @property
    def pid(self) -> int:
        """Of the process that records; 0 when there is none."""
        return 0 if self._process is None else self._process.pid

    def starting(self) -> None:
        """A host is about to start, of what is installed now."""
        self.running = ""
        self.installed = places.installed()

    def take_up(self, files: Mapping[str, list[str]]) -> None:
        """A host lives by these files: their agents and people are safe from a rollback from now on."""
        self._ask(files, well=False)

    def record(self, files: Mapping[str, list[str]]) -> None:
        """The host that started last runs well by these files."""
        if places.installed() != self.installed:
            self._log.warning("supervise.unrecorded", reason="something was installed since the host started")
            return
        self._ask(files, well=True)

    def _ask(self, files: Mapping[str, list[str]], *, well: bool) -> None:
        if self._process is None:
            self._begin(files, well=well)
        else:
            self._waiting = [one for one in self._waiting if one[1] != well] + [(files, well)]

    def _begin(self, files: Mapping[str, list[str]], *, well: bool) -> None:
        command = [sys.executable, "-P", "-m", "surfaces_supervisor.recording", str(self._folder), json.dumps(files)]
        command += ["well"] if well else []
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
        if self._process.returncode != 0:
            self._log.warning("supervise.unrecorded", reason=said.strip() or "the recording failed")
        elif said.strip():
            self.running = said.strip()
            self._log.info("supervise.recorded", release=self.running)
        self._process = None
        if self._waiting:
            files, well = self._waiting.pop(0)
            self._begin(files, well=well)
