"""What is saved is whole, durable, readable by the agent, and cannot be led astray by it."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from surfaces_core import ConfigError, FileKind, Rejected, Unavailable
from surfaces_files_volume import VolumeFiles, VolumeSettings
from surfaces_files_volume.beneath import FOLDER
from surfaces_files_volume.threads import DiskThreads
from surfaces_files_volume.upload import Upload

MakeVolume = Callable[..., VolumeFiles]
Stream = Callable[..., AsyncIterator[bytes]]
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03\x08\x02\0\0\0\0\0\0\0"


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {path.name for path in folder.iterdir()}


def leave_half_written(folder: Path, data: bytes = b"half") -> str:
    """Do what a process does that dies while it writes; the name of what it left."""
    before = names(folder)
    upload = Upload(os.open(folder, FOLDER))
    upload.write(data)
    upload.close()
    (left,) = names(folder) - before
    return left


async def test_rights(root: Path, make_volume: MakeVolume, stream: Stream):
    """Owner and mode come from the settings, whatever the umask is; folders on the way stay the bot's."""
    uid, gid = (12345, 23456) if os.getuid() == 0 else (os.getuid(), os.getgid())
    async with make_volume(uid=uid, gid=gid, mode="0604") as files:
        await files.save("new/19", "a.txt", stream(b"x"))
    for path, expected in (
        (root / "new/19/a.txt", (uid, gid, 0o604)),
        (root / "new/19", (uid, gid, 0o770)),
        (root / "new", (os.getuid(), os.getgid(), 0o711)),
    ):
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == expected


@pytest.mark.skipif(os.getuid() == 0, reason="root may give files away")
async def test_may_not_give_away(make_volume: MakeVolume, stream: Stream, root: Path):
    """A bot without the right to give files away says so, and leaves nothing behind."""
    async with make_volume(uid=0) as files:
        with pytest.raises(Rejected, match="EPERM") as refused:
            await files.save("17", "a.txt", stream(b"x"))
    assert refused.value.code == "FILE_FORBIDDEN"
    assert names(root / "17") == set()


async def test_look(make_volume: MakeVolume, stream: Stream):
    """Saving and opening both tell what the content is."""
    async with make_volume() as files:
        saved = await files.save("17", "photo.dat", stream(PNG[:9], PNG[9:]), mime="text/plain")
        async with await files.open("17", "photo.dat") as opened:
            assert opened.ref == saved
    assert (saved.mime, saved.kind, saved.width, saved.height) == ("image/png", FileKind.IMAGE, 2, 3)


async def test_planted_links(root: Path, make_volume: MakeVolume, stream: Stream):
    """A link under the name of a file to come is a taken name, and its target stays as it is."""
    (root / "17/a.txt").symlink_to("../18/secret.txt")
    (root / "17/a (1).txt").symlink_to("../18/new.txt")
    async with make_volume() as files:
        assert (await files.save("17", "a.txt", stream(b"x"))).path == "a (2).txt"
    assert (root / "18/secret.txt").read_text() == "secret"
    assert names(root / "18") == {"secret.txt"}


@pytest.mark.parametrize("workspace", ["link", "link/deep"])
async def test_workspace_is_a_link(root: Path, make_volume: MakeVolume, stream: Stream, workspace: str):
    """A workspace that is, or lies behind, a link is refused for saving, opening and removing."""
    (root / "link").symlink_to("18")
    async with make_volume() as files:
        for call in (
            files.save(workspace, "a.txt", stream(b"x")),
            files.open(workspace, "secret.txt"),
            files.remove(workspace, "secret.txt"),
        ):
            with pytest.raises(Rejected):
                await call
    assert names(root / "18") == {"secret.txt"}


@pytest.mark.parametrize("workspace", ["/etc", "..", ""])
async def test_workspace_outside(root: Path, make_volume: MakeVolume, stream: Stream, workspace: str):
    """A workspace outside the root is refused."""
    async with make_volume() as files:
        for call in (files.save(workspace, "a", stream()), files.open(workspace, "a"), files.remove(workspace, "a")):
            with pytest.raises(Rejected) as refused:
                await call
            assert refused.value.code == "WORKSPACE_OUTSIDE"


async def test_root_may_be_a_link(root: Path, tmp_path: Path, make_volume: MakeVolume, stream: Stream):
    """The root is the operator's: a link there is followed, and its spelling is the agents'."""
    (tmp_path / "by-link").symlink_to(root)
    async with make_volume(root=tmp_path / "by-link") as files:
        ref = await files.save(f"{tmp_path}/by-link/17", "a.txt", stream(b"x"))
        async with await files.open("17", f"{tmp_path}/by-link/17/{ref.path}"):
            pass
    assert names(root / "17") == {"a.txt"}


async def test_swept(root: Path, make_volume: MakeVolume):
    """What a process that died left half-written is gone when the next one opens; all else stays."""
    leave_half_written(root / "17")
    left = leave_half_written(root / "18")
    (root / "18/.surfaces-notes.part").write_text("an agent's own")
    (root / "18" / left.replace(left[10:14], "beef")).symlink_to("secret.txt")
    with capture_logs() as logs:
        async with make_volume():
            pass
    assert names(root / "17") == set()
    assert names(root / "18") == {"secret.txt", ".surfaces-notes.part", left.replace(left[10:14], "beef")}
    assert [entry["swept"] for entry in logs if entry["event"] == "volume.opened"] == [2]


async def test_sweeping_spares_the_living(make_volume: MakeVolume):
    """A second process that opens the same volume does not touch an upload that goes on."""
    opened = asyncio.Event()
    begun = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (1 << 20)
        begun.set()
        await opened.wait()
        yield b"y"

    async with make_volume() as first:
        async with asyncio.TaskGroup() as group:
            saving = group.create_task(first.save("17", "a.bin", slow()))
            await begun.wait()
            async with make_volume():
                opened.set()
        assert saving.result().size == (1 << 20) + 1


async def test_died_between_the_names(root: Path, make_volume: MakeVolume):
    """A file whose process died with both names on it can be sent after the next start."""
    left = leave_half_written(root / "17", b"whole")
    os.link(root / "17" / left, root / "17/a.txt")
    async with make_volume() as files, await files.open("17", "a.txt") as opened:
        assert [piece async for piece in opened.chunks()] == [b"whole"]


async def test_every_number_taken(root: Path, make_volume: MakeVolume, stream: Stream, monkeypatch: pytest.MonkeyPatch):
    """Copy numbers end somewhere, with a sentence and nothing left behind."""
    monkeypatch.setattr("surfaces_files_volume.upload._MOST_COPIES", 3)  # ten thousand files would be slow
    async with make_volume() as files:
        for _ in range(3):
            await files.save("17", "a.txt", stream(b"x"))
        with pytest.raises(Rejected, match="EEXIST") as refused:
            await files.save("17", "a.txt", stream(b"x"))
    assert refused.value.code == "FILE_NAME_TAKEN"
    assert names(root / "17") == {"a.txt", "a (1).txt", "a (2).txt"}


async def test_full_disk(make_volume: MakeVolume, stream: Stream):
    """A full disk is `Unavailable`: it may be better later."""

    def full(dir_fd: int, path: str, flags: int, *, cross_mounts: bool = False) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    async with make_volume(beneath=full) as files:
        with pytest.raises(Unavailable, match="ENOSPC") as later:
            await files.save("17", "a.txt", stream(b"x"))
    assert later.value.public == "I can't take a.txt: there is no space left right now."


async def test_refused_download_ends(make_volume: MakeVolume):
    """The stream of a file that is refused is closed at once, and with it what it downloads from."""
    closed: list[str] = []

    async def download() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append("closed")

    endless = download()
    async with make_volume() as files:
        with pytest.raises(Rejected):
            await files.save("17", "a.bin", endless)
    assert closed == ["closed"]


async def test_nothing_leaks(root: Path, make_volume: MakeVolume, stream: Stream):
    """After saves, refusals and failures no descriptor stays open."""
    async with make_volume() as files:
        before = names(Path("/proc/self/fd"))
        for _ in range(3):
            await files.save("17", "a.txt", stream(b"x"))
            with pytest.raises(Rejected):
                await files.save("17", "b.bin", stream(b"x" * (3 << 20)))
            for path in ("..", "nowhere", ".", "a.txt/x"):
                with pytest.raises(Rejected):
                    await files.open("17", path)
        assert names(Path("/proc/self/fd")) == before


async def test_cancelled_run_waits_for_its_thread():
    """However often it is cancelled, work in a thread is over before its caller goes on, and is undone."""
    threads = DiskThreads()
    entered = asyncio.Event()
    leave = threading.Event()
    undone: list[str] = []
    loop = asyncio.get_running_loop()

    def work() -> str:
        loop.call_soon_threadsafe(entered.set)
        leave.wait()
        return "result"

    async with asyncio.TaskGroup() as group:
        task = group.create_task(threads.run(work, undo=undone.append))
        await entered.wait()
        for _ in range(3):
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            assert not task.done()
        leave.set()
    assert task.cancelled()
    assert undone == ["result"]
    threads.close()


@pytest.mark.parametrize("kind", ["missing", "file"])
async def test_no_root(tmp_path: Path, make_volume: MakeVolume, kind: str):
    """A root that is missing, or no folder, is the operator's to mend before the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"files\.root: .*create it or mount the volume"):
        async with make_volume(root=tmp_path / kind):
            pass


@pytest.mark.parametrize(("mode", "expected"), [("0640", 0o640), ("640", 0o640), ("0o600", 0o600), (416, 0o640)])
def test_mode(mode: object, expected: int):
    """A mode is octal digits, or the number that YAML makes of them."""
    assert VolumeSettings.model_validate({"root": "/agents", "mode": mode}).mode == expected


@pytest.mark.parametrize(
    "wrong", [{"mode": "rw"}, {"mode": 640}, {"mode": "0999"}, {"max_file_bytes": 0}, {"uid": -1}, {"roots": "/"}]
)
def test_wrong_settings(wrong: dict[str, object]):
    """Settings that cannot be meant are errors."""
    with pytest.raises(ValidationError):
        VolumeSettings.model_validate({"root": "/agents", **wrong})


def test_staging_limit(make_volume: MakeVolume):
    """The host learns how many files may wait."""
    assert make_volume(max_staged_files=3).max_staged == 3
