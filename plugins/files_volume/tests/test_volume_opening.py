"""What is opened is an ordinary file of the workspace, and what was checked is what is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from surfaces_core import Rejected, Unavailable
from surfaces_files_volume import VolumeFiles

MakeVolume = Callable[..., VolumeFiles]


@pytest.fixture
def workspace(root: Path) -> Path:
    """Agent 17's folder with one of everything."""
    folder = root / "17"
    (folder / "own.txt").write_text("own")
    (folder / "link").symlink_to("own.txt")
    (folder / "way").symlink_to("../18")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    os.link(root / "18/secret.txt", folder / "hard")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
    return folder


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("path", "code", "public"),
    [
        ("nowhere.txt", "FILE_MISSING", "I can't send nowhere.txt: there is no such file."),
        ("", "FILE_MISSING", "I can't send that file: there is no such file."),
        ("../18/secret.txt", "FILE_OUTSIDE", "I can't send secret.txt: it isn't in the agent's folder."),
        ("link", "FILE_LINK", "I can't send link: it is a link."),
        ("way/secret.txt", "FILE_LINK", "I can't send secret.txt: it is a link."),
        ("hard", "FILE_LINK", "I can't send hard: it is a link."),
        ("folder", "FILE_NOT_REGULAR", "I can't send folder: it isn't an ordinary file."),
        ("/workspace/", "FILE_NOT_REGULAR", "I can't send workspace: it isn't an ordinary file."),
        ("pipe", "FILE_NOT_REGULAR", "I can't send pipe: it isn't an ordinary file."),
        ("socket", "FILE_NOT_REGULAR", "I can't send socket: it isn't an ordinary file."),
    ],
)
async def test_refused(workspace: Path, make_volume: MakeVolume, path: str, code: str, public: str):
    """Each thing that is not sent is refused with its code and its sentence."""
    async with make_volume() as files:
        with pytest.raises(Rejected) as refused:
            await files.open("17", path)
    assert (refused.value.code, refused.value.public) == (code, public)


async def test_too_large(workspace: Path, make_volume: MakeVolume):
    """A file over the limit is refused, naming the limit."""
    os.truncate(workspace / "own.txt", 2049)
    async with make_volume(max_file_bytes=2048) as files:
        with pytest.raises(Rejected) as refused:
            await files.open("17", "own.txt")
    assert refused.value.public == "I can't send own.txt: it is larger than 2 KB."


async def test_swapped_after_opening(workspace: Path, root: Path, make_volume: MakeVolume):
    """A file that is replaced after it was opened is sent as it was."""
    async with make_volume() as files, await files.open("17", "own.txt") as opened:
        (root / "18/secret.txt").rename(workspace / "own.txt")
        assert [piece async for piece in opened.chunks()] == [b"own"]


async def test_grown_after_opening(workspace: Path, make_volume: MakeVolume):
    """Of a file that grows no more is sent than was announced."""
    async with make_volume() as files, await files.open("17", "own.txt") as opened:
        (workspace / "own.txt").write_text("own and more")
        assert [piece async for piece in opened.chunks()] == [b"own"]


async def test_shrunk_after_opening(workspace: Path, make_volume: MakeVolume):
    """A file that shrinks while it is sent is `Unavailable`: it may be whole later."""
    async with make_volume() as files, await files.open("17", "own.txt") as opened:
        os.truncate(workspace / "own.txt", 1)
        with pytest.raises(Unavailable) as later:
            [piece async for piece in opened.chunks()]
    assert later.value.code == "FILE_CHANGED"


async def test_read_twice(workspace: Path, make_volume: MakeVolume):
    """An upload that is retried reads the file again from its start."""
    async with make_volume() as files, await files.open("17", "own.txt") as opened:
        for _ in range(2):
            assert [piece async for piece in opened.chunks()] == [b"own"]


async def test_read_after_closing(workspace: Path, make_volume: MakeVolume):
    """A closed file is not read: its descriptor's number may be another file's by now."""
    async with make_volume() as files:
        opened = await files.open("17", "own.txt")
        await opened.aclose()
        with pytest.raises(ValueError, match="closed"):
            [piece async for piece in opened.chunks()]


@pytest.mark.parametrize("path", ["link", "folder", "pipe", "way/secret.txt", "../18/secret.txt", ""])
async def test_remove_refused(workspace: Path, root: Path, make_volume: MakeVolume, path: str):
    """Only ordinary files of the workspace are removed, and nothing behind a link."""
    async with make_volume() as files:
        with pytest.raises(Rejected, match="remove"):
            await files.remove("17", path)
    assert {"link", "folder", "pipe", "own.txt"} <= names(workspace)
    assert names(root / "18") == {"secret.txt"}


async def test_remove_without_workspace(make_volume: MakeVolume, root: Path):
    """A workspace that is gone holds nothing to remove, and removing makes none."""
    async with make_volume() as files:
        await files.remove("gone", "a.txt")
    assert not (root / "gone").exists()
