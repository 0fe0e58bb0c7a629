"""Every refusal of this plugin, its code and its sentence; the one place that translates `OSError`."""

from __future__ import annotations

import errno
import posixpath

from surfaces_core import Rejected, Unavailable
from surfaces_files_volume.names import clean_name

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NOT_A_FILE = {errno.EISDIR, errno.ENXIO, errno.ENODEV}
_FULL = {errno.ENOSPC, errno.EDQUOT}


def missing(path: str, verb: str = "send") -> Rejected:
    """There is no such file."""
    return _refuse("FILE_MISSING", path, verb, "there is no such file")


def outside(path: str, verb: str = "send") -> Rejected:
    """The path leads out of the workspace."""
    return _refuse("FILE_OUTSIDE", path, verb, "it isn't in the agent's folder")


def linked(path: str, verb: str = "send") -> Rejected:
    """The path goes through a link, or the file has a second name that may be anywhere."""
    return _refuse("FILE_LINK", path, verb, "it is a link")


def not_a_file(path: str, verb: str = "send") -> Rejected:
    """A folder, pipe, socket or device."""
    return _refuse("FILE_NOT_REGULAR", path, verb, "it isn't an ordinary file")


def too_large(path: str, limit: int, verb: str = "send") -> Rejected:
    """Over the size limit, in bytes."""
    return _refuse("FILE_TOO_LARGE", path, verb, f"it is larger than {_size(limit)}")


def forbidden(path: str, verb: str = "send") -> Rejected:
    """The file system says no."""
    return _refuse("FILE_FORBIDDEN", path, verb, "I'm not allowed to")


def taken(path: str, verb: str = "take") -> Rejected:
    """Every copy number is in use."""
    return _refuse("FILE_NAME_TAKEN", path, verb, "there are too many files of that name")


def shrunk(path: str) -> Unavailable:
    """The file became shorter while it was read."""
    return _not_now("FILE_CHANGED", path, "send", "it is being changed right now")


def bad_workspace(workspace: str, root: str) -> Rejected:
    """The agent registry names a folder that the volume does not hold."""
    return Rejected(
        f"workspace {workspace!r} is not beneath {root!r}: name a folder below files.root in the agent registry",
        code="WORKSPACE_OUTSIDE",
        public="I can't use files with this agent: its folder isn't set up properly.",
    )


def from_os_error(error: OSError, path: str, verb: str) -> Rejected | Unavailable:
    """What an `OSError` of the volume means for the next step; `path` is what was asked for."""
    number = error.errno
    if number in _MISSING:
        refusal: Rejected | Unavailable = missing(path, verb)
    elif number == errno.EXDEV:  # openat2: the path left its folder or its mount
        refusal = outside(path, verb)
    elif number == errno.ELOOP:
        refusal = linked(path, verb)
    elif number in _NOT_A_FILE:
        refusal = not_a_file(path, verb)
    elif number in _FORBIDDEN:
        refusal = forbidden(path, verb)
    elif number == errno.EEXIST:
        refusal = taken(path, verb)
    elif number in _FULL:
        refusal = _not_now("DISK_FULL", path, verb, "there is no space left right now")
    else:
        refusal = _not_now("VOLUME_FAILED", path, verb, "the place where files are kept doesn't work right now")
    refusal.args = (f"{refusal.args[0]} ({errno.errorcode.get(number or 0, number)})",)
    return refusal


def _refuse(code: str, path: str, verb: str, reason: str) -> Rejected:
    return Rejected(f"{code}: {verb} {path!r}", code=code, public=_sentence(path, verb, reason))


def _not_now(code: str, path: str, verb: str, reason: str) -> Unavailable:
    return Unavailable(f"{code}: {verb} {path!r}", code=code, public=_sentence(path, verb, reason))


def _sentence(path: str, verb: str, reason: str) -> str:
    """Names the base name only, and cleaned: the path is the agent's word."""
    base = posixpath.basename(path.rstrip("/."))
    return f"I can't {verb} {clean_name(base) if base else 'that file'}: {reason}."


def _size(limit: int) -> str:
    """Bytes for people, in the unit that leaves a small number."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if limit >= factor:
            return f"{limit / factor:.4g} {unit}"
    return f"{limit} bytes"
