"""A files driver that keeps everything in memory, for tests of the host and of surfaces."""

from __future__ import annotations

import mimetypes
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import ClassVar

import structlog
from pydantic import BaseModel

from surfaces_core.contracts import Context, Files, OpenFile, Settings
from surfaces_core.errors import Rejected
from surfaces_core.events import FileKind, FileRef

_PIECE_BYTES = 1 << 16
_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\ud800-\udfff]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)", re.IGNORECASE)
_VIEW = "/workspace"


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
        path = self._uploads.get((workspace, key)) or _free(_clean(name, mime), folder)
        if key:
            self._uploads[workspace, key] = path
        folder[path] = bytes(data)
        return _ref(workspace, path, len(data), mime)

    async def open(self, workspace: str, path: str) -> OpenFile:
        relative = _relative(workspace, path)
        data = self.contents[workspace].get(relative)
        if data is None:
            raise Rejected(f"no file {path!r}", code="FILE_MISSING", public="I can't send it: there is no such file.")
        self._check_size(path, len(data))
        return _MemoryFile(_ref(workspace, relative, len(data)), data)

    async def remove(self, workspace: str, path: str) -> None:
        self.contents[workspace].pop(_relative(workspace, path), None)

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


def _relative(workspace: str, path: str) -> str:
    """A path as an agent spells it, made relative to its workspace."""
    spelled = posixpath.normpath(path)
    for folder in (workspace, _VIEW):
        if folder.startswith("/") and spelled.startswith(f"{folder}/"):
            spelled = spelled.removeprefix(f"{folder}/")
            break
    if spelled == ".." or spelled.startswith(("/", "../")):
        raise Rejected(f"{path!r} is outside", code="FILE_OUTSIDE", public="That isn't in the agent's folder.")
    return spelled


def _clean(name: str, mime: str) -> str:
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    base = _FORBIDDEN.sub("_", base).strip(". ")
    base = base or "attachment" + (mimetypes.guess_extension(mime) or "")
    stem, extension = posixpath.splitext(f"_{base}" if _DEVICE.match(base) else base)
    kept = extension if len(extension) <= 20 else ""
    return (stem.encode()[: 190 - len(kept.encode())].decode(errors="ignore") + kept).rstrip(". ")


def _free(name: str, taken: dict[str, bytes]) -> str:
    stem, extension = posixpath.splitext(name)
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{stem} ({number}){extension}"
    return free


def _ref(workspace: str, path: str, size: int, mime: str = "application/octet-stream") -> FileRef:
    mime = mimetypes.guess_type(path)[0] or mime
    family = mime.partition("/")[0]
    kind = FileKind(family) if family in set(FileKind) else FileKind.OTHER
    return FileRef(workspace=workspace, path=path, size=size, mime=mime, kind=kind)
