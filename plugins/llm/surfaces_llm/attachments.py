"""Owns what a model gets to see of the files that came with a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surfaces_core import DriverError, Files, OpenFile
from surfaces_llm import words
from surfaces_llm.settings import LlmSettings

IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What models that see take."""
TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/toml", "application/x-yaml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture as a model is shown it."""

    data: bytes
    mime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What came with a question."""

    text: str = ""
    """For the model: which files there are, and what stands in those that it can read."""
    images: tuple[str, ...] = ()
    """Paths of pictures that it is to be shown."""
    notes: tuple[str, ...] = ()
    """For the person: what it does not see, and why."""


class Attachments:
    """Reads files of workspaces, as far as models can use them."""

    def __init__(self, files: Files, settings: LlmSettings) -> None:
        self._files = files
        self._settings = settings

    async def read(self, workspace: str, paths: Sequence[str], *, sees: bool) -> Brought:
        """Look at files; one that cannot be opened is told as one that cannot be read."""
        told: list[str] = []
        images: list[str] = []
        unseen: list[str] = []
        unread: list[str] = []
        large: list[str] = []
        for path in paths:
            kind, text = await self._look(workspace, path, sees=sees)
            {"image": images, "unseen": unseen, "unread": unread, "large": large, "text": []}[kind].append(path)
            told.append(_told(path, kind, text))
        notes = (
            (words.CANNOT_SEE, unseen),
            (words.CANNOT_READ, unread),
            (words.TOO_LARGE, large),
        )
        return Brought(
            text="\n\n".join(told),
            images=tuple(images),
            notes=tuple(sentence(names=_names(paths)) for sentence, paths in notes if paths),
        )

    async def picture(self, workspace: str, path: str) -> Picture | None:
        """A picture's bytes; None where it is gone or has changed into something else."""
        try:
            async with await self._files.open(workspace, path) as opened:
                if opened.ref.mime not in IMAGES:
                    return None
                data = await _content(opened, self._settings.max_image_bytes)
        except DriverError:
            return None
        return None if data is None else Picture(data=data, mime=opened.ref.mime)

    async def _look(self, workspace: str, path: str, *, sees: bool) -> tuple[str, str]:
        """What a file is for the model: image, text (with its text), unseen, unread or large."""
        try:
            async with await self._files.open(workspace, path) as opened:
                mime = opened.ref.mime
                if mime in IMAGES:
                    large = opened.ref.size > self._settings.max_image_bytes
                    return ("large" if large else "image") if sees else "unseen", ""
                if not (mime.startswith("text/") or mime in TEXTS):
                    return "unread", ""
                data = await _content(opened, self._settings.max_text_bytes)
        except DriverError:
            return "unread", ""
        return ("large", "") if data is None else ("text", data.decode(errors="replace"))


async def _content(opened: OpenFile, most: int) -> bytes | None:
    """A file's bytes; None where there are more."""
    if opened.ref.size > most:
        return None
    data = bytearray()
    async for chunk in opened.chunks():
        data += chunk
        if len(data) > most:
            return None
    return bytes(data)


def _told(path: str, kind: str, text: str) -> str:
    name = path.rpartition("/")[2]
    match kind:
        case "text":
            return f"[File {name}]\n{text}\n[End of file {name}]"
        case "image":
            return f"[Picture {name}]"
        case _:
            return f"[File {name}, which you cannot see]"


def _names(paths: Sequence[str]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in paths)
