"""The list of releases: configs and versions with which a host has run well, each a file for its owner alone."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
    settings: str = ""
    """Digest of what the config says beside agents and people, as the host told it."""

    @cached_property
    def id(self) -> str:
        """Made of the config and the versions; agents and people come and go in one release."""
        config = self.settings or self.config.text
        whole = json.dumps([self.config.path, config, dict(self.versions), self.prefix], sort_keys=True)
        return digest_of(whole.encode())[:10]


class Releases:
    """A supervisor's list, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "releases"

    def all(self) -> Sequence[Release]:
        """Every release that can be read, the last ready one first."""
        return self.read()[0]

    def read(self) -> tuple[Sequence[Release], bool]:
        """Them, and whether nobody but this user can have written what was read.

        That is told from the very files that are read, for another user may lay links, and exchange what names lead to.
        """
        found, own = [], True
        with suppress(FileNotFoundError, NotADirectoryError), ExitStack() as stack:
            inside = None
            for path in (self._folder.parent, self._folder):
                inside = os.open(path if inside is None else path.name, FOLDER, dir_fd=inside)
                stack.callback(os.close, inside)
                own = own and _own(os.fstat(inside))
            for name in sorted(name for name in os.listdir(inside) if name.endswith(".json")):  # noqa: PTH208 - of this one
                if name.startswith("."):
                    continue
                content, ours = _content(name, inside)
                found.append(_read(content))
                own = own and ours
        known = [one for one in found if one is not None]
        return sorted(known, key=lambda one: one.ready_at, reverse=True), own

    def take_up(
        self, path: str, *, config: File | None = None, settings: str = "", registry: File | None = None
    ) -> None:
        """A host with the config at `path` lives with other agents and people: the releases have them from now on.

        They stand in the `config`, and then concern releases with the same `settings`; or in a `registry` of their own.
        """
        for one in self.all():
            newer = one
            if config is not None and settings and one.settings == settings:
                newer = replace(one, config=config)
            if registry is not None and one.registry is not None and one.registry.path == registry.path:
                newer = replace(one, registry=registry)
            if one.config.path == path and newer != one:
                self.keep(newer)

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


def _own(known: os.stat_result) -> bool:
    return known.st_uid == os.geteuid() and not known.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _content(name: str, inside: int | None) -> tuple[bytes, bool]:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inside)
    except OSError:
        return b"", True
    with os.fdopen(descriptor, "rb") as file:
        known = os.fstat(descriptor)
        return file.read() if stat.S_ISREG(known.st_mode) else b"", _own(known)


def _read(content: bytes) -> Release | None:
    try:
        return _release(json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # one that is damaged is none


def _release(found: Mapping[str, Any]) -> Release:
    registry = found["registry"]
    return Release(
        config=File(**found["config"]),
        registry=None if registry is None else File(**registry),
        versions={str(name): str(version) for name, version in found["versions"].items()},
        prefix=str(found["prefix"]),
        ready_at=float(found["ready_at"]),
        settings=str(found.get("settings", "")),
    )
