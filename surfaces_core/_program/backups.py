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
import zlib
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pydantic import BaseModel, ConfigDict

from surfaces_core._config.config import load
from surfaces_core._config.sources import dotenv, read
from surfaces_core._engine import log
from surfaces_core._operating.requests import Line, Request
from surfaces_core._program.arguments import log_level
from surfaces_core._program.asking import ask, guarded
from surfaces_core._program.copying import OWN, Place, Sum, fill
from surfaces_core._program.tables import say
from surfaces_core._program.whole import whole
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
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise ConfigError("", f"{target.parent} is no folder that may be written; make it, or name another file")
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
    there = [path for path in dict.fromkeys(named) if path.exists()]
    for path in there:
        if path.name in (MANIFEST, STATE) or [other.name for other in there].count(path.name) > 1:
            raise ConfigError("", f"{path}: another file of the archive has that name; rename this one")
    return there


def _write(target: Path, manifest: Manifest, state: IO[bytes], files: list[Path]) -> None:
    """The archive, whole or not at all, for its owner alone."""
    with whole(target) as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        _put(archive, MANIFEST, manifest.model_dump_json(indent=2).encode())
        size = state.tell()
        state.seek(0)
        _add(archive, STATE, size, state)
        for path in files:
            _put(archive, path.name, path.read_bytes())


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    _add(archive, name, len(content), io.BytesIO(content))


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    archive.addfile(member, content)


# Restoring ----------------------------------------------------------------------------------------


def restore(options: argparse.Namespace) -> int:
    """`surfaces restore FROM`; the exit code."""
    log.configure(log_level(options))
    with _readable(options.archive), tarfile.open(options.archive, "r:gz") as archive:
        manifest = _manifest(archive, options.archive)
        _verify(archive, manifest, options.archive)
        files = {name: _member(archive, name).read() for name in manifest.files}
    _put_back(files, manifest, options.config)
    place = Place(options.config)
    if not place.storage.lasting:
        raise ConfigError("storage", f"{place.use} keeps nothing, so nothing can be restored into it")
    with tarfile.open(options.archive, "r:gz") as archive:
        asyncio.run(_filled(place, archive))
    say(f"{manifest.rows} rows, sha256 {manifest.sha256}: read back from {place.use}")
    say(f"Start the host with {options.config}; it must not run anywhere else with the older state.")
    return os.EX_OK


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a damaged archive makes the libraries raise, as one line. Nothing is written in this block."""
    try:
        yield
    except OSError as error:
        problem = f"{path}: cannot be read as a backup: {error.strerror or error}"
        raise StateError(problem, exit_code=os.EX_DATAERR) from error
    except (tarfile.TarError, EOFError, KeyError, ValueError, struct.error, zlib.error) as error:
        problem = f"{path}: is damaged, or no backup of Surfaces; take another one"
        raise StateError(problem, exit_code=os.EX_DATAERR) from error


def _manifest(archive: tarfile.TarFile, path: Path) -> Manifest:
    manifest = Manifest.model_validate_json(_member(archive, MANIFEST).read())
    if manifest.format > FORMAT:
        problem = f"{path}: made by Surfaces {manifest.version}, which is newer; restore it with that"
        raise StateError(problem, exit_code=os.EX_DATAERR)
    return manifest


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member


def _put_back(files: Mapping[str, bytes], manifest: Manifest, config: Path) -> None:
    """Write the config's files where there is no config; one that is there is kept. The config itself comes last."""
    if config.exists():
        say(f"{config} is there and is used as it is")
        return
    config.parent.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == manifest.config):
        target = config if name == manifest.config else config.parent / Path(name).name
        if target.exists():
            say(f"{target} is there and is kept")
            continue
        _written(target, files[name])
        say(f"{target}: written")
    _say_of_registry(config, files)


def _say_of_registry(config: Path, files: Mapping[str, bytes]) -> None:
    """Where the registry was elsewhere, the config that came back does not name it where it is now."""
    environment = {**dotenv(config.parent / DOTENV), **os.environ}
    try:
        _, data, _ = read(config, environment, ())
    except ConfigError:  # which is said when it is read as a whole
        return
    named = data.get("agents_file")
    if not isinstance(named, str) or (config.parent / named).exists():
        return
    if (now := config.parent / Path(named).name).name in files:
        say(f"{now}: `agents_file` of {config} has to name it, for {named} is not there")


def _written(target: Path, content: bytes) -> None:
    with whole(target) as file:
        file.write(content)


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
