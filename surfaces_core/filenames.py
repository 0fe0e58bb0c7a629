"""The rules for names and paths of files that every files driver follows, for those that want no stricter ones."""

from __future__ import annotations

import mimetypes
import posixpath
import re
import unicodedata

from surfaces_core.errors import Rejected
from surfaces_core.events import FileKind, FileRef
from surfaces_core.i18n import Catalogue

_ = Catalogue("surfaces_core")
OUTSIDE = _("I can't open that: it isn't in the agent's folder.")
MAX_NAME_BYTES = 200
# Control characters, what Windows forbids, direction overrides (they disguise extensions) and half characters.
_FORBIDDEN = re.compile('[\x00-\x1f\x7f-\x9f<>:"/|?*\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)", re.IGNORECASE)
_VIEW = "/workspace"
"""How an agent calls its own workspace."""


def clean_name(name: str, mime: str = "application/octet-stream") -> str:
    """A harmless name for a file in one folder, whatever a device called it: never empty, at most 200 bytes."""
    base = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    base = _FORBIDDEN.sub("_", base).strip(". ")
    base = base or "attachment" + (mimetypes.guess_extension(mime) or "")
    return numbered_name(f"_{base}" if _DEVICE.match(base) else base, 0)


def numbered_name(name: str, number: int) -> str:
    """A clean name with a copy number before its extension: `report (1).pdf`; 0 leaves it as it is."""
    stem, extension = posixpath.splitext(name)
    end = (f" ({number})" if number else "") + (extension if len(extension.encode()) <= 20 else "")
    return (stem.encode()[: MAX_NAME_BYTES - len(end.encode())].decode(errors="ignore").rstrip(". ") or "_") + end


def path_inside(workspace: str, path: str) -> str:
    """A path as an agent spells it, made relative to its workspace. `Rejected` where it leads out of it.

    It looks at the words alone: what is a link on the disk is still to be found out.
    """
    spelled = posixpath.normpath(path)
    for folder in (f"/{workspace.strip('/')}", _VIEW):
        if spelled.startswith(f"{folder}/"):
            spelled = spelled.removeprefix(f"{folder}/")
            break
    if spelled in (".", "..") or spelled.startswith(("/", "../")) or "\0" in path:
        raise Rejected("a path leads outside", code="FILE_OUTSIDE", public=OUTSIDE())
    return spelled


def file_ref(workspace: str, path: str, size: int, mime: str = "application/octet-stream") -> FileRef:
    """A stored file as the host wants it told; `mime` is believed where the path's extension says nothing."""
    mime = mimetypes.guess_type(path)[0] or mime
    family = mime.partition("/")[0]
    kind = FileKind(family) if family in set(FileKind) else FileKind.OTHER
    return FileRef(workspace=workspace, path=path, size=size, mime=mime, kind=kind)
