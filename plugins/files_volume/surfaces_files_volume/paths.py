"""Brings the spellings of a path back to one that is relative to a workspace."""

from __future__ import annotations

import posixpath

from surfaces_files_volume import refusals

AGENT_VIEW = "/workspace"
"""Where an agent sees its own folder."""


def relative_to_workspace(path: str, folder: str, verb: str = "send") -> str:
    """A file's path as an agent spells it, made relative to its workspace.

    `path` is relative, absolute under `/workspace/`, or absolute under `folder`, the agent's own
    folder as the bot sees it. Dots are resolved by spelling alone, which is exact because links are
    not followed afterwards. Raises `Rejected`.
    """
    if not path or "\0" in path or not _encodable(path):
        raise refusals.missing(path, verb)
    spelled = _normal(path)
    if spelled.startswith("/"):
        spelled = _below(folder, spelled) or _below(AGENT_VIEW, spelled) or ".."
    if spelled == ".." or spelled.startswith("../"):
        raise refusals.outside(path, verb)
    if spelled == ".":
        raise refusals.not_a_file(path, verb)
    return spelled


def workspace_folder(root: str, workspace: str) -> str:
    """A workspace as the registry names it, made relative to `root`, an absolute path.

    Raises `Rejected` for one that is not beneath `root`.
    """
    spelled = _normal(posixpath.join(root, workspace))
    below = _below(_normal(root), spelled)
    if not workspace or "\0" in workspace or not _encodable(workspace) or below in {None, "."}:
        raise refusals.bad_workspace(workspace, root)
    assert below is not None
    return below


def _normal(path: str) -> str:
    """Without `.`, `..` and doubled slashes where that can be said by spelling."""
    normal = posixpath.normpath(path)
    return normal[1:] if normal.startswith("//") else normal  # POSIX keeps two leading slashes


def _below(folder: str, path: str) -> str | None:
    """What follows `folder` in `path`, `.` for the folder itself, None for another place."""
    if path == folder:
        return "."
    prefix = folder.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _encodable(path: str) -> bool:
    """Lone surrogates, which JSON can carry, name no file."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
