"""Opens and makes the workspaces beneath the root; every function blocks."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from surfaces_core import ConfigError
from surfaces_files_volume.beneath import FOLDER, OpenBeneath, best_opener
from surfaces_files_volume.paths import workspace_folder
from surfaces_files_volume.upload import Rights, sweep

_WORKSPACE_MODE = 0o770
_BETWEEN_MODE = 0o711
"""For folders between root and workspace: to pass through, and nobody's but the bot's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The opened root; what is beneath it is reached through its descriptor alone."""

    root: str
    """Absolute, as the operator spelled it."""
    fd: int
    beneath: OpenBeneath
    rights: Rights

    @classmethod
    def at(cls, path: Path, rights: Rights, beneath: OpenBeneath | None) -> Folders:
        """Open the root; `ConfigError` when it is no folder."""
        root = os.path.abspath(path)  # noqa: PTH100 — links in it stay: agents' folders are spelled like it
        try:
            fd = os.open(root, FOLDER | os.O_CLOEXEC)
        except OSError as error:
            problem = f"{root} cannot be opened as a folder ({error.strerror}): create it or mount the volume"
            raise ConfigError("files.root", problem) from error
        return cls(root=root, fd=fd, beneath=beneath or best_opener(fd), rights=rights)

    def close(self) -> None:
        """Let go of the root."""
        os.close(self.fd)

    def own_folder(self, workspace: str) -> str:
        """A workspace's absolute path as the bot spells it; `Rejected` when it isn't beneath the root."""
        return f"{self.root.rstrip('/')}/{workspace_folder(self.root, workspace)}"

    def open(self, workspace: str) -> int:
        """A descriptor of a workspace; it may be a mount of its own, but no link leads to it."""
        return self.beneath(self.fd, workspace_folder(self.root, workspace), FOLDER, cross_mounts=True)

    def open_or_make(self, workspace: str) -> int:
        """`open`, and where there is no such folder make it, for the owner of stored files."""
        with contextlib.suppress(FileNotFoundError):
            return self.open(workspace)
        *between, own = workspace_folder(self.root, workspace).split("/")
        nobody = Rights(uid=None, gid=None, mode=_BETWEEN_MODE)
        for depth, name in enumerate(between):
            self._make("/".join(between[:depth]) or ".", name, nobody)
        self._make("/".join(between) or ".", own, replace(self.rights, mode=_WORKSPACE_MODE))
        return self.open(workspace)

    def sweep(self) -> int:
        """Remove half-written files of a process that died; how many. Looks into the root's own folders."""
        with os.scandir(self.fd) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return sum(self._sweep_one(name) for name in names)

    def _make(self, parent: str, name: str, rights: Rights) -> None:
        above = self.beneath(self.fd, parent, FOLDER, cross_mounts=True)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=above)
                _give(self.beneath(above, name, FOLDER), rights)
                os.fsync(above)
        finally:
            os.close(above)

    def _sweep_one(self, name: str) -> int:
        try:
            fd = self.beneath(self.fd, name, FOLDER, cross_mounts=True)
        except OSError:  # not ours to enter, or gone: nothing of ours is in it
            return 0
        try:
            return sweep(fd)
        finally:
            os.close(fd)


def _give(fd: int, rights: Rights) -> None:
    try:
        rights.apply(fd)
    finally:
        os.close(fd)
