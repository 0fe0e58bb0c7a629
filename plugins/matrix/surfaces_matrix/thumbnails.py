"""Makes small pictures of big ones, which clients show until somebody wants to see the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.util import find_spec
from io import BytesIO

from surfaces_core import FileKind, FileRef, OpenFile

LONGEST = 800
"""Pixels of its longer side; smaller pictures are their own."""
MOST_BYTES = 20 * 1024 * 1024
MOST_PIXELS = 25_000_000
"""A picture of more is not decoded; one that can be decoded small may have `MOST_AT_ALL`."""
MOST_AT_ALL = 80_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_QUALITY = 80


class Thumbnail(OpenFile):
    """A small picture in memory."""

    def __init__(self, content: bytes, mime: str, width: int, height: int) -> None:
        self._content = content
        self.ref = FileRef(workspace="", path="thumbnail", size=len(content), mime=mime, width=width, height=height)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it."""
        yield self._content

    async def aclose(self) -> None:
        """Nothing is held."""


class Thumbnails:
    """Makes them one at a time: decoding the most pixels takes 100 MB."""

    def __init__(self) -> None:
        self._installed = find_spec("PIL") is not None
        self._free = asyncio.Semaphore(1)

    def wanted(self, file: FileRef) -> bool:
        """Whether a file is a picture that is worth it and that there is a library for."""
        width, height = file.width or 0, file.height or 0
        fits = file.size <= MOST_BYTES and width * height <= MOST_AT_ALL
        return self._installed and file.kind is FileKind.IMAGE and fits and max(width, height) > LONGEST

    async def make(self, file: OpenFile) -> Thumbnail | None:
        """A thumbnail, or None where none can be made within bounds."""
        async with self._free:
            content = b"".join([piece async for piece in file.chunks()])
            return await asyncio.to_thread(_made, content)


def _made(content: bytes) -> Thumbnail | None:
    """What takes its time, for a thread; the bounds on pixels bound it."""
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as picture:
            if picture.width * picture.height > MOST_AT_ALL:
                return None
            picture.draft("RGB", (LONGEST, LONGEST))
            if picture.width * picture.height > MOST_PIXELS:
                return None
            clear = picture.has_transparency_data
            mode = "RGBA" if clear else "RGB"
            small = picture.convert(mode) if picture.mode in ("P", "1") else picture
            small.thumbnail((LONGEST, LONGEST))
            small = small.convert(mode)
            ImageOps.exif_transpose(small, in_place=True)
            kind, into = ("PNG" if clear else "JPEG"), BytesIO()
            small.save(into, kind, quality=_QUALITY)
    except Exception:  # noqa: BLE001 - an agent made the file, and each decoder fails in its own way
        return None
    return Thumbnail(into.getvalue(), f"image/{kind.lower()}", *small.size)
