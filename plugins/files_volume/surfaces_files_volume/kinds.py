"""Finds out what a file is: from its content first, then from its name, then from what was claimed."""

from __future__ import annotations

from dataclasses import dataclass

import filetype  # type: ignore[import-untyped]
import imagesize  # type: ignore[import-untyped]
from tinytag import TinyTag, TinyTagException

from surfaces_core import FileKind
from surfaces_files_volume.glimpse import Glimpse
from surfaces_files_volume.names import mime_of

UNKNOWN = "application/octet-stream"
_HEAD_BYTES = 8192
_CONTAINERS = {"application/zip", "application/gzip", "application/x-ole-storage", UNKNOWN}
"""Types that many a format is packed in: the name knows better."""
_LONGEST_S = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at a file told; the fields are those of `FileRef`."""

    mime: str
    kind: FileKind
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None


def look_at(fd: int, size: int, name: str, claimed: str = UNKNOWN) -> Look:
    """Look at the first `size` bytes of an open file; never fails on what is in it.

    `claimed` is a MIME type that somebody said. Raises `OSError` where the file cannot be read.
    """
    glimpse = Glimpse(fd, size)
    found = _mime_of_content(glimpse.read(_HEAD_BYTES))
    mime = _decide(found, mime_of(name), claimed)
    kind = kind_of(mime)
    if found is None:  # no magic: nothing there that could be measured
        return Look(mime=mime, kind=kind)
    if kind is FileKind.IMAGE:
        width, height = _dimensions(glimpse)
        return Look(mime=mime, kind=kind, width=width, height=height)
    if kind in {FileKind.AUDIO, FileKind.VIDEO}:
        return Look(mime=mime, kind=kind, duration_ms=_duration_ms(glimpse))
    return Look(mime=mime, kind=kind)


def kind_of(mime: str) -> FileKind:
    """How clients should show a MIME type."""
    family = mime.partition("/")[0]
    return FileKind(family) if family in {"image", "audio", "video"} else FileKind.OTHER


def _mime_of_content(head: bytes) -> str | None:
    guess = filetype.guess(head)
    if guess is None:
        return None
    if guess.mime == "audio/ogg" and b"\x80theora" in head[:_HEAD_BYTES]:
        return "video/ogg"
    return str(guess.mime)


def _decide(found: str | None, named: str | None, claimed: str) -> str:
    if found is not None and found not in _CONTAINERS:
        return found
    if named is not None and (found is None or kind_of(named) is FileKind.OTHER):
        return named
    return found or claimed.partition(";")[0].strip().lower() or UNKNOWN


def _dimensions(glimpse: Glimpse) -> tuple[int | None, int | None]:
    """Width and height in pixels as shown, that is after the turn that a camera noted."""
    width, height = imagesize.get(glimpse)  # -1 for everything it cannot read
    return (int(width), int(height)) if width > 0 and height > 0 else (None, None)


def _duration_ms(glimpse: Glimpse) -> int | None:
    glimpse.seek(0)
    try:
        seconds = TinyTag.get(file_obj=glimpse, tags=False).duration  # type: ignore[arg-type]
    except TinyTagException:
        return None
    if seconds is None or not 0 < seconds < _LONGEST_S:
        return None
    return round(seconds * 1000) or None
