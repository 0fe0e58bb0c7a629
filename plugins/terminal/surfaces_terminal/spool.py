"""Owns the files on their way: what people sent until the host fetches it, and what agents sent until it is seen."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from surfaces_core import Rejected, Unavailable
from surfaces_terminal import words
from surfaces_terminal.wire import PIECE

KEEP_S = 30 * 86_400.0
"""What is older than this is removed, except what an agent sent with a message that is kept."""
LOOK_S = 86_400.0
"""How often that is looked for."""


class Spool:
    """A folder for its owner alone, whose files have names of ours."""

    def __init__(self, folder: Path, most_bytes: int, wanted: Callable[[], Iterable[str]]) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._wanted = wanted
        """The keys of messages whose files somebody may still ask for."""
        self._looked_at = 0.0

    def open(self) -> None:
        """Make the folder, and remove what is old or was never finished. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        for path in self._folder.glob("*.part"):
            path.unlink()
        self._tidy({self._sent(key).name for key in self._wanted()})

    def _tidy(self, wanted: Collection[str]) -> None:
        """Remove what is old and nobody wants."""
        self._looked_at = time.time()
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path.name not in wanted and path.stat().st_mtime < self._looked_at - KEEP_S:
                    path.unlink()

    async def take(self, size: int, chunks: AsyncIterator[bytes]) -> str:
        """Keep so many bytes that a person sends, durably; their name. Raises `Rejected` or `Unavailable`."""
        if size > self._most_bytes:
            raise Rejected("an upload is too large", public=words.FILE_TOO_LARGE())
        name = f"in-{secrets.token_hex(16)}"
        await self._write(name, chunks)
        return name

    async def keep(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep what an agent sends under the key of its message, durably; once. Raises `Unavailable`."""
        if not self._sent(key).exists():
            await self._write(self._sent(key).name, chunks)

    def sent(self, key: str) -> tuple[int, Iterator[bytes]]:
        """The size and the bytes of what an agent sent. Raises `FileNotFoundError`."""
        path = self._sent(key)
        return path.stat().st_size, _read(path)

    def taken(self, name: str) -> Iterator[bytes]:
        """The bytes of what a person sent. Raises `Rejected` where it is gone."""
        if not self.has(name):
            raise Rejected(f"no upload {name[:40]!r}", public=words.FILE_GONE())
        return _read(self._folder / name)

    def has(self, name: str) -> bool:
        """Whether a person sent something under that name."""
        return name.startswith("in-") and name[3:].isalnum() and (self._folder / name).is_file()

    def _sent(self, key: str) -> Path:
        return self._folder / f"out-{hashlib.sha256(key.encode()).hexdigest()[:40]}"

    async def _write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        part = self._folder / f"{name}.part"
        try:
            if time.time() - self._looked_at > LOOK_S:
                await asyncio.to_thread(self._tidy, {self._sent(key).name for key in self._wanted()})
            file = await asyncio.to_thread(part.open, "wb")
            with file:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_sync_file, file)
            await asyncio.to_thread(_put_in_place, part, self._folder / name)
        except OSError as error:
            raise Unavailable(f"a file cannot be kept: {error.strerror}", public=words.FILE_NOT_KEPT()) from error
        finally:
            with suppress(FileNotFoundError):
                part.unlink()


def _sync_file(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(part: Path, place: Path) -> None:
    part.rename(place)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
