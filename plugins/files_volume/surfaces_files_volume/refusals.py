"""Every refusal of this plugin and its code; the one place that translates `OSError`."""

from __future__ import annotations

import errno
import posixpath

from surfaces_core import Rejected, Unavailable
from surfaces_files_volume import words
from surfaces_files_volume.names import clean_name

_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NOT_A_FILE = {errno.EISDIR, errno.ENXIO, errno.ENODEV}
_FULL = {errno.ENOSPC, errno.EDQUOT}


def missing(path: str, verb: str = "send") -> Rejected:
    """There is no such file."""
    return _refuse("FILE_MISSING", path, verb)


def outside(path: str, verb: str = "send") -> Rejected:
    """The path leads out of the workspace."""
    return _refuse("FILE_OUTSIDE", path, verb)


def linked(path: str, verb: str = "send") -> Rejected:
    """The path goes through a link, or the file has a second name that may be anywhere."""
    return _refuse("FILE_LINK", path, verb)


def not_a_file(path: str, verb: str = "send") -> Rejected:
    """A folder, pipe, socket or device."""
    return _refuse("FILE_NOT_REGULAR", path, verb)


def too_large(path: str, limit: int, verb: str = "send") -> Rejected:
    """Over the size limit, in bytes."""
    return _refuse("FILE_TOO_LARGE", path, verb, _size(limit))


def forbidden(path: str, verb: str = "send") -> Rejected:
    """The file system says no."""
    return _refuse("FILE_FORBIDDEN", path, verb)


def taken(path: str, verb: str = "take") -> Rejected:
    """Every copy number is in use."""
    return _refuse("FILE_NAME_TAKEN", path, verb)


def shrunk(path: str) -> Unavailable:
    """The file became shorter while it was read."""
    return _not_now("FILE_CHANGED", path, "send")


def bad_workspace(workspace: str, root: str) -> Rejected:
    """The agent registry names a folder that the volume does not hold."""
    return Rejected(
        f"workspace {workspace!r} is not beneath {root!r}: name a folder below files.root in the agent registry",
        code="WORKSPACE_OUTSIDE",
        public=words.BAD_WORKSPACE(),
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
        refusal = _not_now("DISK_FULL", path, verb)
    else:
        refusal = _not_now("VOLUME_FAILED", path, verb)
    refusal.args = (f"{refusal.args[0]} ({errno.errorcode.get(number or 0, number)})",)
    return refusal


def _refuse(code: str, path: str, verb: str, limit: str = "") -> Rejected:
    return Rejected(f"{code}: {verb}", code=code, public=words.refused(verb, code, _name(path), limit))


def _not_now(code: str, path: str, verb: str) -> Unavailable:
    return Unavailable(f"{code}: {verb}", code=code, public=words.refused(verb, code, _name(path), ""))


def _name(path: str) -> str:
    """The base name only, and cleaned: the path is the agent's word."""
    base = posixpath.basename(path.rstrip("/."))
    return clean_name(base) if base else ""


def _size(limit: int) -> str:
    """Bytes for people, in the unit that leaves a small number."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if limit >= factor:
            return f"{limit / factor:.4g} {unit}"
    return f"{limit} B"
