"""What a rollback would change, and changing it: versions first, then files, each kept beside the one that goes."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from surfaces_supervisor.releases import File, Release, write_whole
from surfaces_supervisor.versions import CannotInstall, check_names, differences, install


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What differs between what is there now and a release."""

    release: Release
    versions: Mapping[str, str]
    """To install."""
    present: Mapping[str, str]
    """What is installed now."""
    files: Sequence[File]
    """To write."""

    @property
    def empty(self) -> bool:
        """Nothing differs."""
        return not self.versions and not self.files

    def lines(self) -> list[str]:
        """For people; never what stands in a file, which may be secret."""
        return [
            *(f"{name} {self.present.get(name, '(none)')} -> {version}" for name, version in self.versions.items()),
            *(f"{file.path}: {_lines_changed(_text(Path(file.path)), file.text)}" for file in self.files),
        ]


def plan(release: Release, known: Sequence[Release], present: Mapping[str, str]) -> Plan:
    """How to come back to a release from here."""
    files = [release.config] if _differs(release.config) else []
    if release.registry is not None and _differs(release.registry) and not _ran(release.registry.path, known):
        files.append(release.registry)
    return Plan(release=release, versions=differences(release.versions, present), present=present, files=tuple(files))


def _differs(file: File) -> bool:
    return _text(Path(file.path)) != file.text


def _ran(path: str, known: Sequence[Release]) -> bool:
    """Whether the agents as they are now are ones that a host has run with: who has which agent is no release."""
    text = _text(Path(path))
    return any(one.registry == File(path=path, text=text) for one in known if text is not None)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def refuse_doubtful(made: Plan, config: Path, *, own: bool) -> None:
    """Refuse what cannot work, or what a list of releases of another user may not ask for. Raises `CannotInstall`."""
    check_names(made.versions)
    strange = [name for name in made.versions if name not in made.present]
    if strange and not own:
        wanted = " ".join(f"{name}=={made.versions[name]}" for name in strange)
        raise CannotInstall(
            f"another user's list may not bring in what is not installed now: {', '.join(strange)}; if you want it: "
            f"{sys.executable} -m pip install --no-deps {wanted}"
        )
    for file in made.files:
        folder = Path(file.path).parent
        if not own:
            _refuse_foreign(Path(file.path), config)
        if not os.access(folder, os.W_OK):
            raise CannotInstall(f"{folder} cannot be written here; run this as its owner, or put {file.path} right")


def _refuse_foreign(path: Path, config: Path) -> None:
    if path.parent != config.parent or (path != config and path.suffix not in (".yaml", ".yml")):
        raise CannotInstall(f"another user's list may only change YAML files in {config.parent}, not {path}")
    for folder in config.parents:
        known = folder.stat()
        shared = known.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not known.st_mode & stat.S_ISVTX
        if known.st_uid not in (os.geteuid(), 0) or shared:  # a name in there may lead elsewhere a moment later
            raise CannotInstall(f"others may change {folder}; run this as the user of the host, or put {path} right")


def carry_out(made: Plan) -> list[Path]:
    """Do it; where what was rejected is kept. Raises `CannotInstall` before anything changed."""
    if made.versions:
        install(made.versions)
    return [kept for file in made.files if (kept := _put_back(file)) is not None]


def _put_back(file: File) -> Path | None:
    path = Path(file.path)
    mode, owner, kept = 0o600, None, None
    if path.exists():
        known = path.stat()
        mode, owner = known.st_mode & 0o777, (known.st_uid, known.st_gid)
        kept = path.with_name(f"{path.name}.rejected-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        write_whole(kept, path.read_bytes(), mode=mode, owner=owner)
    write_whole(path, file.text.encode(), mode=mode, owner=owner)
    return kept


def changes(newer: Release, older: Release) -> list[str]:
    """In what a release differs from the one before it."""
    found = [f"config: {_lines_changed(older.config.text, newer.config.text)}"] if newer.config != older.config else []
    for name in sorted({*newer.versions, *older.versions}):
        now, before = newer.versions.get(name, "(none)"), older.versions.get(name, "(none)")
        if now != before:
            found.append(f"{name} {before} -> {now}")
    return found or ["the environment"]


def _lines_changed(before: str | None, after: str) -> str:
    if before is None:
        return "is not there"
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"{added} lines in, {removed} out"
