"""Owns where received files go: into one folder, under a safe name, in the place of nothing."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from surfaces_terminal.client import Client, FileError
from surfaces_terminal.render import CONTROL
from surfaces_terminal.wire import Message

LONGEST_NAME = 200
"""Bytes; a file system takes 255, and a number may follow."""
LONGEST_ENDING = 20


def safe_name(name: str) -> str:
    """A name that means no other place and nothing to a shell's star: no folder, no control character, no dot first."""
    base = unicodedata.normalize("NFC", CONTROL.sub("_", name)).replace("\n", "_").replace("\t", "_")
    base = base.replace("\\", "/").rsplit("/", 1)[-1].strip().lstrip(".-").strip()
    stem, dot, ending = base.rpartition(".")
    if not dot or len(ending.encode("utf8", "replace")) > LONGEST_ENDING:
        return _cut(base, LONGEST_NAME) or "attachment"
    return f"{_cut(stem, LONGEST_NAME - LONGEST_ENDING)}.{ending}"


def _cut(text: str, most: int) -> str:
    """The beginning of a text, in at most so many bytes."""
    return text.encode("utf8", "replace")[:most].decode("utf8", "ignore")


def _names(name: str) -> Iterator[str]:
    yield name
    path = Path(name)
    for number in count(1):
        yield f"{path.stem} ({number}){path.suffix}"


async def save(client: Client, message: Message, folder: Path) -> Path:
    """Bring a message's file into a folder; its path. Raises `FileError`."""
    assert message.file is not None
    try:
        path, descriptor = _made(folder, safe_name(message.file.name))
    except OSError as error:
        raise FileError(error.strerror or str(error)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            await client.download(message.seq, file.write)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    return path


def _made(folder: Path, name: str) -> tuple[Path, int]:
    folder.mkdir(parents=True, exist_ok=True)
    for candidate in _names(name):
        path = folder / candidate
        with suppress(FileExistsError):
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    raise AssertionError("there are endless names")
