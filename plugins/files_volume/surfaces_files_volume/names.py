"""Makes a name that a person's device chose safe and free of surprises on every system."""

from __future__ import annotations

import re
import unicodedata
from mimetypes import MimeTypes

import filetype  # type: ignore[import-untyped]

MAX_NAME_BYTES = 200
"""In UTF-8; leaves room below the 255 that common file systems take."""

# Control characters, what Windows forbids, line separators, direction overrides (they disguise
# extensions: "gpj.exe" shown as "exe.jpg") and lone surrogates, which have no UTF-8 form.
_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f<>:"/\\\\|?*\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_EDGES = re.compile(r"\A[\s.]+|[\s.]+\Z")
_EXTENSION = re.compile(r"(?:\.tar)?\.[^.\s]{1,20}\Z", re.IGNORECASE)
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"]
)
# Without the system's own tables, so that a name does not depend on the machine.
_MIME_TYPES = MimeTypes()
for _extension, _mime in ((".md", "text/markdown"), (".log", "text/plain"), (".yaml", "application/yaml")):
    _MIME_TYPES.add_type(_mime, _extension)  # agents write these; older Pythons don't know them


def clean_name(name: str, mime: str = "application/octet-stream") -> str:
    """A name for a file in one folder: never empty, at most `MAX_NAME_BYTES`, Unicode NFC.

    Both `/` and `\\` end a folder, since a name may come from any system. Cleaning a clean name
    changes nothing. `mime` chooses the extension of a name of which nothing is left.
    """
    composed = unicodedata.normalize("NFC", name)
    base = re.split(r"[/\\]", composed)[-1]
    trimmed = _EDGES.sub("", _FORBIDDEN.sub("_", base))
    return _shorten(_defuse(trimmed or "attachment" + extension_of(mime)))


def numbered(name: str, number: int) -> str:
    """A clean name with a copy number before its extension: `report (1).pdf`; 0 leaves it as it is."""
    return _shorten(name, f" ({number})") if number else name


def extension_of(mime: str) -> str:
    """The usual extension of a MIME type with its dot, or nothing for an unknown one."""
    essence = mime.partition(";")[0].strip().lower()
    if usual := _MIME_TYPES.guess_extension(essence):
        return usual
    known = filetype.get_type(mime=essence)
    return f".{known.extension}" if known else ""


def mime_of(name: str) -> str | None:
    """The MIME type that a name's extension stands for, or None."""
    extension = split_extension(name)[1].rpartition(".")[2].lower()
    if usual := _MIME_TYPES.types_map[True].get(f".{extension}"):
        return usual
    known = filetype.get_type(ext=extension)
    return str(known.mime) if known else None


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension (with its dot, or empty); `.tar.gz` and its like stay together."""
    found = _EXTENSION.search(name, 1)
    return (name[: found.start()], found.group()) if found else (name, "")


def _defuse(name: str) -> str:
    """Windows takes `con.txt` for the console whatever follows the first dot."""
    stem = name.partition(".")[0].rstrip()
    return f"_{name}" if stem.upper() in _DEVICES else name


def _shorten(name: str, suffix: str = "") -> str:
    stem, extension = split_extension(name)
    room = MAX_NAME_BYTES - len((suffix + extension).encode())
    if len(stem.encode()) > room:
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return stem + suffix + extension
