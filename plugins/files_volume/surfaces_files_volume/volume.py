"""The driver: saves, opens and removes files in workspaces that are folders beneath one root."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import ClassVar, Self

from pydantic import BaseModel

from surfaces_core import Agent, Context, FileRef, Files, Finding, OpenFile
from surfaces_files_volume import refusals
from surfaces_files_volume.beneath import FOLDER, READ, OpenBeneath, by_openat2
from surfaces_files_volume.examining import examine
from surfaces_files_volume.folders import Folders
from surfaces_files_volume.kinds import UNKNOWN, Look, look_at
from surfaces_files_volume.names import clean_name
from surfaces_files_volume.paths import relative_to_workspace
from surfaces_files_volume.reading import PIECE_BYTES, VolumeFile, check
from surfaces_files_volume.settings import VolumeSettings
from surfaces_files_volume.threads import DiskThreads, Errand
from surfaces_files_volume.upload import Rights, Upload


class VolumeFiles(Files):
    """Attachments on a volume that bot and agents share.

    Agents are not trusted: they own their folders and may change everything in them at any time.
    A workspace is an absolute path beneath `root`, or one relative to it. Entering raises
    `ConfigError` when there is no such root. `beneath` is how paths are opened; left out, it is the
    best way that the kernel offers.
    """

    Settings: ClassVar[type[BaseModel]] = VolumeSettings
    settings: VolumeSettings
    context: Context

    def __init__(self, settings: VolumeSettings, context: Context, *, beneath: OpenBeneath | None = None) -> None:
        super().__init__(settings, context)
        self.max_staged = settings.max_staged_files
        self._beneath = beneath

    async def __aenter__(self) -> Self:
        self._threads = DiskThreads()
        try:
            self._folders, swept = await self._threads.run(self._enter, undo=_leave)
        except BaseException:
            self._threads.close()
            raise
        one_step = self._folders.beneath is by_openat2
        self.context.log.info("volume.opened", root=self._folders.root, swept=swept, openat2=one_step)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.close()
        self._folders.close()

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """Root, space and rights, and each agent's folder."""
        return await asyncio.to_thread(self._examine, agents)

    async def save(
        self, workspace: str, name: str, chunks: AsyncIterator[bytes], *, mime: str = UNKNOWN, key: str = ""
    ) -> FileRef:
        clean = clean_name(name, mime)
        errand = Errand(threads=self._threads, path=clean, verb="take")
        upload = await errand.run(partial(self._begin, workspace), undo=_abandon)
        try:
            size = await self._fill(upload, chunks, errand)
            return await errand.run(partial(self._finish, upload, workspace, clean, size, mime, key))
        except BaseException:
            await errand.run(upload.discard)
            raise
        finally:
            upload.close()  # nothing is left to be written, so this does not wait for the disk

    async def open(self, workspace: str, path: str) -> OpenFile:
        errand = Errand(threads=self._threads, path=path, verb="send")
        fd, ref = await errand.run(partial(self._open, workspace, path), undo=_close_opened)
        return VolumeFile(fd, ref, errand)

    async def remove(self, workspace: str, path: str) -> None:
        errand = Errand(threads=self._threads, path=path, verb="remove")
        await errand.run(partial(self._remove, workspace, path))

    async def _fill(self, upload: Upload, chunks: AsyncIterator[bytes], errand: Errand) -> int:
        """Write the stream in large pieces; its size."""
        size = 0
        piece = bytearray()
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.settings.max_file_bytes:
                    raise refusals.too_large(errand.path, self.settings.max_file_bytes, errand.verb)
                piece += chunk
                if len(piece) >= PIECE_BYTES:
                    await errand.run(partial(upload.write, piece))
                    piece = bytearray()
        finally:
            if isinstance(chunks, AsyncGenerator):  # the download behind it ends now, not when it is collected
                await chunks.aclose()
        await errand.run(partial(upload.write, piece))
        return size

    # In threads from here on ---------------------------------------------------------------------

    def _enter(self) -> tuple[Folders, int]:
        settings = self.settings
        rights = Rights(uid=settings.uid, gid=settings.gid, mode=settings.mode)
        folders = Folders.at(settings.root, rights, self._beneath)
        try:
            return folders, folders.sweep()
        except BaseException:
            folders.close()
            raise

    def _examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        settings = self.settings
        rights = Rights(uid=settings.uid, gid=settings.gid, mode=settings.mode)
        with closing(Folders.at(settings.root, rights, self._beneath)) as folders:
            return list(examine(settings, folders, agents))

    def _begin(self, workspace: str) -> Upload:
        return Upload(self._folders.open_or_make(workspace))

    def _finish(self, upload: Upload, workspace: str, name: str, size: int, mime: str, key: str) -> FileRef:
        look = look_at(upload.fd, size, name, mime)
        return _ref(workspace, upload.place(name, self._folders.rights, key), size, look)

    def _open(self, workspace: str, path: str) -> tuple[int, FileRef]:
        relative = relative_to_workspace(path, self._folders.own_folder(workspace))
        fd = self._open_in(workspace, relative, READ)
        try:
            size = check(fd, relative, self.settings.max_file_bytes)
            return fd, _ref(workspace, relative, size, look_at(fd, size, relative))
        except BaseException:
            os.close(fd)
            raise

    def _remove(self, workspace: str, path: str) -> None:
        relative = relative_to_workspace(path, self._folders.own_folder(workspace), "remove")
        parent, _, name = relative.rpartition("/")
        try:
            folder = self._open_in(workspace, parent or ".", FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            _unlink(folder, name)
        finally:
            os.close(folder)

    def _open_in(self, workspace: str, relative: str, flags: int) -> int:
        folder = self._folders.open(workspace)
        try:
            return self._folders.beneath(folder, relative, flags)
        finally:
            os.close(folder)


def _unlink(folder: int, name: str) -> None:
    """Remove an ordinary file; one that is gone is no error.

    Should an agent swap it after the look, then what goes is a name in the agent's own folder.
    """
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise refusals.not_a_file(name, "remove")
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _ref(workspace: str, path: str, size: int, look: Look) -> FileRef:
    return FileRef(
        workspace=workspace,
        path=path,
        size=size,
        mime=look.mime,
        kind=look.kind,
        width=look.width,
        height=look.height,
        duration_ms=look.duration_ms,
    )


def _leave(entered: tuple[Folders, int]) -> None:
    entered[0].close()


def _abandon(upload: Upload) -> None:
    upload.discard()
    upload.close()


def _close_opened(opened: tuple[int, FileRef]) -> None:
    os.close(opened[0])
