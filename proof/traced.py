"""Runs whose lives are followed by their system calls, and may end at any of them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from proof.lives import Killer, Run
from proof.points import Point
from proof.processes import Program
from proof.trace import Kill, Trace, after_power_cut, read, traced

PREFIX = "sys."


class SystemCall(Point):
    """The n-th call of a kind: `sys.fsync`, `sys.write`, `sys.send`, `sys.name`."""

    @classmethod
    def of(cls, kill: Kill) -> Self:
        """As a point where a life can end."""
        return cls(name=f"{PREFIX}{kill.kind}", side=kill.side, count=kill.count)

    @property
    def kill(self) -> Kill:
        """As the tracer takes it."""
        return Kill.parse(f"{self.name.removeprefix(PREFIX)}-{self.side}-{self.count}")


class TracedRun(Run):
    """A run that takes system calls as points."""

    def __init__(self, *args: Any, follow: bool = False, power: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self._follow = follow
        """Lives that are not killed at a call are recorded, too."""
        self._power = power
        """A kill is a power cut: the next life finds what was synced, and nothing else."""
        self._kill: Kill | None = None
        self._records: list[Path] = []

    def traces(self) -> list[Trace]:
        """Those of the lives that were recorded, in their order."""
        return [read(record) for record in self._records]

    async def killed_at(self, point: Point) -> bool:
        """A life that ends there; none where the one before it left nothing to do."""
        if self._lives and self.stage.settled and not self.stage.outstanding():
            return False
        before = self._files()
        landed = await super().killed_at(point)
        if self._power and landed:
            self._cut_power(before)
        return landed

    @property
    def _folders(self) -> list[Path]:
        return [self._folder / "state", self.agent.workspace]

    def _files(self) -> dict[str, bytes]:
        found = (path for folder in self._folders for path in folder.rglob("*") if path.is_file())
        return {str(path.resolve()): path.read_bytes() for path in found}

    def _cut_power(self, before: Mapping[str, bytes]) -> None:
        """Take away what the last life wrote and did not sync."""
        calls = read(self._records[-1]).calls
        disk = after_power_cut(calls, before)
        for path in map(Path, {call.to or call.path for call in calls if call.kind in ("write", "name")}):
            if str(path) in disk.nameless:
                path.unlink(missing_ok=True)
            elif path.exists():
                path.write_bytes(disk.files.get(str(path), b""))

    async def _end(self, host: Program) -> int:
        """What is asked to end before it listens for that has ended as it should."""
        code = await super()._end(host)
        return 0 if code == -signal.SIGTERM else code

    def _arm(self, point: Point, killer: Killer) -> None:
        if isinstance(point, SystemCall):
            self._kill = point.kill
        else:
            super()._arm(point, killer)

    def _disarm(self, point: Point) -> None:
        self._kill = None
        super()._disarm(point)

    def _host(self, name: str, env: Mapping[str, str]) -> Program:
        if self._kill is None and not self._follow:
            return super()._host(name, env)
        self._lives += 1
        self._records.append(self._folder / f"{self._lives}-{name}.jsonl")
        command = traced(
            self._command,
            into=self._records[-1],
            folders=self._folders,
            kill=self._kill,
        )
        return Program(command, log=self._folder / f"{self._lives}-{name}.log", env=env)
