"""The list of releases: configs and versions with which a host has run well, each a file for its owner alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

KEPT = 10
"""How many releases are kept, those that were ready last."""


def digest_of(content: bytes) -> str:
    """By what two contents are told apart."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it was."""

    path: str
    text: str

    @cached_property
    def digest(self) -> str:
        """Of its content."""
        return digest_of(self.text.encode())


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a host ran by."""

    config: File
    registry: File | None
    """The agents, where they have a file of their own: as they were last while it ran."""
    versions: Mapping[str, str]
    """Of everything that was installed."""
    prefix: str
    """Of the environment."""
    ready_at: float
    """Unix seconds: when it had last been ready for a while."""

    @cached_property
    def id(self) -> str:
        """Made of the config and the versions; agents come and go in one release."""
        whole = json.dumps([self.config.path, self.config.text, dict(self.versions), self.prefix], sort_keys=True)
        return digest_of(whole.encode())[:10]


class Releases:
    """A supervisor's list, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "releases"

    def all(self) -> Sequence[Release]:
        """Every release that can be read, the last ready one first."""
        found = [_read(path) for path in sorted(self._folder.glob("*.json"))]
        return sorted((one for one in found if one is not None), key=lambda one: one.ready_at, reverse=True)

    def keep(self, release: Release) -> None:
        """Add one, durably, or bring it up to date; the oldest beyond those that are kept go."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._folder / f"{release.id}.json", json.dumps(asdict(release)).encode(), mode=0o600)
        for old in self.all()[KEPT:]:
            with suppress(FileNotFoundError):
                (self._folder / f"{old.id}.json").unlink()


def write_whole(path: Path, content: bytes, *, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a file in the place of another in one step that survives a loss of power."""
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, *owner)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> Release | None:
    try:
        return _release(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # one that is damaged is none


def _release(found: Mapping[str, Any]) -> Release:
    registry = found["registry"]
    return Release(
        config=File(**found["config"]),
        registry=None if registry is None else File(**registry),
        versions={str(name): str(version) for name, version in found["versions"].items()},
        prefix=str(found["prefix"]),
        ready_at=float(found["ready_at"]),
    )
