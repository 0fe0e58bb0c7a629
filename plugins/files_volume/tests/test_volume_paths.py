"""Spellings of a path lead into the workspace or are refused."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_core import Rejected
from surfaces_files_volume.paths import relative_to_workspace, workspace_folder

OWN = "/agents/17"
PARTS = st.sampled_from(["..", ".", "", "a", "17", "18", "agents", "workspace", "\0", "\ud800", "..a"])
PATHS = st.builds(
    lambda lead, parts: lead + "/".join(parts), st.sampled_from(["", "/", "//"]), st.lists(PARTS, max_size=8)
)


@pytest.mark.parametrize(
    "path",
    [
        "out/a.txt",
        "./out//a.txt",
        "out/x/../a.txt",
        "/workspace/out/a.txt",
        "//workspace/out/a.txt",
        "/workspace/../workspace/out/a.txt",
        "/agents/17/out/a.txt",
        "/agents/17/../17/out/a.txt",
    ],
)
def test_inside(path: str):
    """Relative, under the agent's view, or under its own folder: it is the same file."""
    assert relative_to_workspace(path, OWN) == "out/a.txt"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../18/a", "FILE_OUTSIDE"),
        ("a/../../18/a", "FILE_OUTSIDE"),
        ("..", "FILE_OUTSIDE"),
        ("/etc/passwd", "FILE_OUTSIDE"),
        ("/agents/18/a", "FILE_OUTSIDE"),
        ("/agents/17/../18/a", "FILE_OUTSIDE"),
        ("/agents/170/a", "FILE_OUTSIDE"),
        ("/workspace2/a", "FILE_OUTSIDE"),
        ("/workspace/../etc/passwd", "FILE_OUTSIDE"),
        ("/", "FILE_OUTSIDE"),
        ("", "FILE_MISSING"),
        ("a\0b", "FILE_MISSING"),
        ("\ud800", "FILE_MISSING"),
        (".", "FILE_NOT_REGULAR"),
        ("/workspace/", "FILE_NOT_REGULAR"),
        ("/agents/17", "FILE_NOT_REGULAR"),
    ],
)
def test_refused(path: str, code: str):
    """Everything else is refused with a code and a sentence that names no folder."""
    with pytest.raises(Rejected) as refused:
        relative_to_workspace(path, OWN)
    assert refused.value.code == code
    assert "/" not in refused.value.public


@given(PATHS)
def test_never_outside(path: str):
    """Whatever is spelled, what comes out stays beneath the workspace."""
    try:
        relative = relative_to_workspace(path, OWN)
    except Rejected:
        return
    assert not relative.startswith("/")
    assert ".." not in relative.split("/")
    assert posixpath.normpath(posixpath.join(OWN, relative)).startswith(f"{OWN}/")


@pytest.mark.parametrize("workspace", ["/agents/17", "17", "/agents//17/", "./17", "/agents/x/../17"])
def test_workspace(workspace: str):
    """A workspace may be named absolutely or relative to the root."""
    assert workspace_folder("/agents", workspace) == "17"


@pytest.mark.parametrize("workspace", ["", ".", "/agents", "/etc", "..", "../etc", "/agents2/17", "a\0", "/", "\ud800"])
def test_bad_workspace(workspace: str):
    """A workspace that is not beneath the root is refused, naming the setting."""
    with pytest.raises(Rejected, match=r"files\.root") as refused:
        workspace_folder("/agents", workspace)
    assert refused.value.code == "WORKSPACE_OUTSIDE"


@given(PATHS)
def test_workspace_never_outside(workspace: str):
    """Whatever the registry says, a workspace is beneath the root."""
    try:
        folder = workspace_folder("/agents", workspace)
    except Rejected:
        return
    assert posixpath.normpath(f"/agents/{folder}").startswith("/agents/")
    assert ".." not in folder.split("/")
