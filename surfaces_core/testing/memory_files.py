"""A files driver that keeps everything in memory, for tests of the host and of surfaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from itertools import count
from typing import ClassVar

import structlog
from pydantic import BaseModel

from surfaces_core.contracts import Context, Files, OpenFile, Settings
from surfaces_core.errors import Rejected
from surfaces_core.events import FileRef
from surfaces_core.filenames import clean_name, file_ref, numbered_name, path_inside

_PIECE_BYTES = 1 << 16


class MemoryFilesSettings(Settings):
    """The limits, as the real drivers have them."""

    max_file_bytes: int = 100 << 20
    max_staged_files: int = 20


class MemoryFiles(Files):
    """Obeys the contract of `Files` without a disk; leaving and entering again keeps the files.

    A test plays the agent with `contents`, a mapping from workspace to path to bytes: put a file
    there to have it sent, look there for what was saved.
    """

    Settings: ClassVar[type[BaseModel]] = MemoryFilesSettings
    settings: MemoryFilesSettings

    def __init__(self, settings: MemoryFilesSettings | None = None, context: Context | None = None) -> None:
        super().__init__(
            settings or MemoryFilesSettings(), context or Context(name="memory", log=structlog.get_logger())
        )
        self.max_staged = self.settings.max_staged_files
        self.contents: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._uploads: dict[tuple[str, str], str] = {}
        """The path that each named upload got."""

    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        data = bytearray()
        async for chunk in chunks:
            data += chunk
            self._check_size(name, len(data))
        folder = self.contents[workspace]
        path = self._uploads.get((workspace, key)) or _free(clean_name(name, mime), folder)
        if key:
            self._uploads[workspace, key] = path
        folder[path] = bytes(data)
        return file_ref(workspace, path, len(data), mime)

    async def open(self, workspace: str, path: str) -> OpenFile:
        relative = path_inside(workspace, path)
        data = self.contents[workspace].get(relative)
        if data is None:
            raise Rejected(f"no file {path!r}", code="FILE_MISSING", public="I can't send it: there is no such file.")
        self._check_size(path, len(data))
        return _MemoryFile(file_ref(workspace, relative, len(data)), data)

    async def remove(self, workspace: str, path: str) -> None:
        self.contents[workspace].pop(path_inside(workspace, path), None)

    def _check_size(self, name: str, size: int) -> None:
        if size > self.settings.max_file_bytes:
            raise Rejected(f"{name!r} is too large", code="FILE_TOO_LARGE", public="That file is too large.")


class _MemoryFile(OpenFile):
    def __init__(self, ref: FileRef, data: bytes) -> None:
        self.ref = ref
        self._data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), _PIECE_BYTES):
            yield self._data[at : at + _PIECE_BYTES]

    async def aclose(self) -> None:
        return None


def _free(name: str, taken: Collection[str]) -> str:
    return next(free for number in count() if (free := numbered_name(name, number)) not in taken)
