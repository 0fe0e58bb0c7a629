"""Files in folders: each agent's workspace is a folder of that name below one root."""

import asyncio
import itertools
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pydantic import Field
from surfaces_core import (
    FileRef,
    Files,
    OpenFile,
    Rejected,
    Settings,
    Unavailable,
    clean_name,
    file_ref,
    numbered_name,
    path_inside,
)

MIB = 1 << 20
ANY = "application/octet-stream"
UPLOADS = ".uploads"
"""Beside the workspaces, where no agent can put links: one file for each upload, which says what it was called."""


class FoldersSettings(Settings):
    root: Path = Field(description="The folder that holds the workspaces.")
    max_file_bytes: int = Field(default=100 * MIB, gt=0, description="The largest file, in bytes.")


class FoldersFiles(Files):
    Settings = FoldersSettings

    async def save(
        self, workspace: str, name: str, chunks: AsyncIterator[bytes], *, mime: str = ANY, key: str = ""
    ) -> FileRef:
        folder, uploads = self._folder(workspace), self._folder(UPLOADS) / workspace.strip("/")
        for each in (folder, uploads):
            each.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=uploads) as upload:
            async for chunk in chunks:
                if upload.tell() + len(chunk) > self.settings.max_file_bytes:
                    raise Rejected(f"{name!r} is too large", public="That file is too large.")
                await asyncio.to_thread(upload.write, chunk)
            upload.flush()
            os.fchmod(upload.fileno(), 0o644)  # agents are other users
            await asyncio.to_thread(os.fsync, upload.fileno())
            path = placed(Path(upload.name), folder, clean_name(name, mime), uploads / f"{key}.name" if key else None)
        return file_ref(workspace, path, (folder / path).stat().st_size, mime)

    async def open(self, workspace: str, path: str) -> OpenFile:
        try:
            file = below(self._folder(workspace), path_inside(workspace, path))
        except (OSError, ValueError) as error:
            raise Rejected(f"{path!r}: {error}", public="There is no such file.") from error
        found = os.fstat(file)
        opened = FoldersFile(file_ref(workspace, path_inside(workspace, path), found.st_size), file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > self.settings.max_file_bytes:
            await opened.aclose()  # a second name may be one of another's file
            raise Rejected(f"{path!r} is no file, or too large", public="That is no file that I can send.")
        return opened

    async def remove(self, workspace: str, path: str) -> None:
        if "/" not in (name := path_inside(workspace, path)):  # `save` stores nothing deeper
            (self._folder(workspace) / name).unlink(missing_ok=True)

    def _folder(self, workspace: str) -> Path:
        return Path(self.settings.root, workspace.strip("/"))


class FoldersFile(OpenFile):
    def __init__(self, ref: FileRef, file: int) -> None:
        self.ref, self._file = ref, file

    async def chunks(self) -> AsyncIterator[bytes]:
        left = self.ref.size
        while left:
            piece = await asyncio.to_thread(os.read, self._file, min(left, MIB))
            if not piece:
                raise Unavailable(f"{self.ref.path} shrank while it was read")
            left -= len(piece)
            yield piece

    async def aclose(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def placed(upload: Path, folder: Path, name: str, note: Path | None) -> str:
    """Give an upload a free name, or the one that an earlier try was given, as its note says."""
    if note and note.exists() and (folder / note.read_text()).exists():
        return note.read_text()
    for number in itertools.count():
        free = numbered_name(name, number)
        if not (folder / free).exists():
            if note:
                note.write_text(free)  # first: a crash between the two leaves no second file
            with suppress(FileExistsError):  # somebody was quicker
                os.link(upload, folder / free)
                break
    return free


def below(folder: Path, path: str) -> int:
    """Open what lies below a folder; a link on the way is never followed, however quickly it is put there."""
    *folders, name = path.split("/")
    with ExitStack() as opened:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, at)
        for part in folders:
            at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            opened.callback(os.close, at)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
