"""`surfaces backup` and `restore`: state, keys and config as one archive, made while the host runs or rests.

The archive is a tar: `manifest.json` says how many rows there are and what they come to, `state` holds them
in their order, each behind the lengths of its key and value, and the files of the config stand beside it.
Agents' folders are ordinary files and are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import struct
import tarfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from surfaces_core._engine import log
from surfaces_core._engine.config import load
from surfaces_core._operating.requests import Line, Request
from surfaces_core._program.asking import ask, guarded
from surfaces_core._program.copying import OWN, Place, Sum, fill
from surfaces_core._program.tables import say
from surfaces_core.errors import ConfigError, StateError

FORMAT = 1
MANIFEST, STATE = "manifest.json", "state"
DOTENV = ".env"
_SIZES = struct.Struct(">II")


class Manifest(BaseModel):
    """What an archive says of itself."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    """Of the host that made it."""
    made_at: float
    rows: int
    sha256: str
    config: str
    """The name of the config's file."""
    files: tuple[str, ...]
    """The config and what belongs to it: names beside it."""


def backup(options: argparse.Namespace) -> int:
    """`surfaces backup TO`; the exit code."""
    return guarded(lambda: _backed_up(options))


def _backed_up(options: argparse.Namespace) -> None:
    target: Path = options.archive
    if target.exists():
        raise ConfigError("", f"{target} is there already; name another file")
    with TemporaryFile() as state:
        total = Sum()

        def keep(line: Line) -> None:
            row, value = b64decode(line["key"]), b64decode(line["value"])
            if row not in OWN:
                total.add(row, value)
                state.write(_SIZES.pack(len(row), len(value)) + row + value)

        ask(options, Request(do="backup"), keep)
        files = _config_files(options.config)
        manifest = Manifest(
            format=FORMAT,
            version=version("surfaces-core"),
            made_at=time.time(),
            rows=total.rows,
            sha256=total.hash.hexdigest(),
            config=options.config.name,
            files=tuple(path.name for path in files),
        )
        _write(target, manifest, state, files)
    say(f"{target}: {total.rows} rows, sha256 {total.hash.hexdigest()}, with {', '.join(manifest.files)}")
    say("It holds keys and passwords: keep it where nobody else can read it. The agents' folders are not in it.")


def _config_files(config: Path) -> list[Path]:
    """The config, its registry where that is a file of its own, and its secrets."""
    registry = Path(load(config, needed=("storage", "host")).registry.source.file)
    named = [config, registry, config.parent / DOTENV]
    return [path for path in dict.fromkeys(named) if path.exists()]


def _write(target: Path, manifest: Manifest, state: IO[bytes], files: list[Path]) -> None:
    """The archive, whole or not at all, for its owner alone."""
    unfinished = target.with_name(f".{target.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            _put(archive, MANIFEST, manifest.model_dump_json(indent=2).encode())
            size = state.tell()
            state.seek(0)
            _add(archive, STATE, size, state)
            for path in files:
                _put(archive, path.name, path.read_bytes())
        raw.flush()
        os.fsync(raw.fileno())
    unfinished.rename(target)


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    _add(archive, name, len(content), io.BytesIO(content))


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    archive.addfile(member, content)


# Restoring ----------------------------------------------------------------------------------------


def restore(options: argparse.Namespace) -> int:
    """`surfaces restore FROM`; the exit code."""
    log.configure("debug" if options.debug else "error")
    try:
        with tarfile.open(options.archive, "r:gz") as archive:
            manifest = _manifest(archive, options.archive)
            _put_back(archive, manifest, options.config)
            place = Place(options.config)
            if not place.storage.lasting:
                raise ConfigError("storage", f"{place.use} keeps nothing, so nothing can be restored into it")
            _verify(archive, manifest, options.archive)
            asyncio.run(_filled(place, archive))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StateError(f"{options.archive}: cannot be read as a backup: {error}", exit_code=os.EX_DATAERR) from error
    say(f"{manifest.rows} rows, sha256 {manifest.sha256}: read back from {place.use}")
    say(f"Start the host with {options.config}; it must not run anywhere else with the older state.")
    return os.EX_OK


def _manifest(archive: tarfile.TarFile, path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(_member(archive, MANIFEST).read())
    except (KeyError, ValidationError) as error:
        raise StateError(f"{path}: is no backup of Surfaces", exit_code=os.EX_DATAERR) from error
    if manifest.format > FORMAT:
        problem = f"{path}: made by Surfaces {manifest.version}, which is newer; restore it with that"
        raise StateError(problem, exit_code=os.EX_DATAERR)
    return manifest


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member


def _put_back(archive: tarfile.TarFile, manifest: Manifest, config: Path) -> None:
    """Write the config's files where there is no config; one that is there is kept."""
    if config.exists():
        say(f"{config} is there and is used as it is")
        return
    config.parent.mkdir(parents=True, exist_ok=True)
    for name in manifest.files:
        target = config if name == manifest.config else config.parent / Path(name).name
        if target.exists():
            say(f"{target} is there and is kept")
            continue
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_member(archive, name).read())
        say(f"{target}: written")


def _verify(archive: tarfile.TarFile, manifest: Manifest, path: Path) -> None:
    """Before anything is stored. Raises `StateError`."""
    total = Sum()
    with _member(archive, STATE) as state:
        for row, value in _rows(state):
            total.add(row, value)
    if (total.rows, total.hash.hexdigest()) != (manifest.rows, manifest.sha256):
        raise StateError(f"{path}: is damaged: its rows are not those it was made of", exit_code=os.EX_DATAERR)


async def _filled(place: Place, archive: tarfile.TarFile) -> None:
    async def rows() -> AsyncIterator[tuple[bytes, bytes]]:
        for pair in _rows(state):
            yield pair

    with _member(archive, STATE) as state:
        await fill(place, rows())


def _rows(state: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    while sizes := state.read(_SIZES.size):
        row, value = _SIZES.unpack(sizes)
        yield state.read(row), state.read(value)
