"""Opening beneath a folder follows no link and leaves neither the folder nor its mount, both ways of doing it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surfaces_files_volume.beneath import (
    FOLDER,
    READ,
    OpenBeneath,
    best_opener,
    by_openat2,
    by_walk,
    link_new,
    rename_new,
)

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


@pytest.fixture(params=[by_openat2, by_walk])
def beneath(request: pytest.FixtureRequest) -> OpenBeneath:
    """Both ways."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def folder(root: Path) -> Iterator[int]:
    """Agent 17's folder, opened."""
    fd = os.open(root / "17", FOLDER)
    yield fd
    os.close(fd)


def descriptors() -> set[str]:
    """The numbers of this process's open descriptors."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def fail(beneath: OpenBeneath, dir_fd: int, path: str, **options: bool) -> int | None:
    """The errno of opening a path that must not open."""
    before = descriptors()
    with pytest.raises(OSError, match=r"\[Errno") as failed:
        beneath(dir_fd, path, READ, **options)
    assert descriptors() == before, "a descriptor leaked"
    return failed.value.errno


def test_opens(beneath: OpenBeneath, folder: int, root: Path):
    """A file in a folder in the folder opens, and programs that are started don't get it."""
    (root / "17/a/b").mkdir(parents=True)
    (root / "17/a/b/c.txt").write_text("here")
    fd = beneath(folder, "a/b/c.txt", READ)
    assert os.read(fd, 10) == b"here"
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("target", ["../18/secret.txt", "/etc/passwd", "own.txt", "nowhere"])
def test_link_at_the_end(beneath: OpenBeneath, folder: int, root: Path, target: str):
    """A link is not followed, wherever it leads."""
    (root / "17/own.txt").write_text("own")
    (root / "17/link").symlink_to(target)
    assert fail(beneath, folder, "link") == errno.ELOOP


@pytest.mark.parametrize("target", ["../18", "/etc", "."])
def test_link_on_the_way(beneath: OpenBeneath, folder: int, root: Path, target: str):
    """Nor is a link to a folder."""
    (root / "17/link").symlink_to(target)
    assert fail(beneath, folder, "link/secret.txt") == errno.ELOOP


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("../18/secret.txt", errno.EXDEV),
        ("/etc/passwd", errno.EXDEV),
        ("missing", errno.ENOENT),
        ("own.txt/x", errno.ENOTDIR),
        ("own.txt\0x", errno.ENOENT),
        ("x" * 300, errno.ENAMETOOLONG),
        ("socket", errno.ENXIO),
    ],
)
def test_fails(beneath: OpenBeneath, folder: int, root: Path, path: str, number: int):
    """What cannot be opened says why."""
    (root / "17/own.txt").write_text("own")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(root / "17/socket"))
        assert fail(beneath, folder, path) == number


def test_pipe_does_not_block(beneath: OpenBeneath, folder: int, root: Path):
    """A pipe that nobody writes to opens at once."""
    os.mkfifo(root / "17/pipe")
    opened = beneath(folder, "pipe", READ)
    try:
        assert stat.S_ISFIFO(os.fstat(opened).st_mode)
    finally:
        os.close(opened)


def test_mounts(beneath: OpenBeneath):
    """Another mount is outside, unless mounts may be crossed."""
    top = os.open("/", FOLDER)
    try:
        assert fail(beneath, top, "proc/version") == errno.EXDEV
        assert fail(beneath, top, "proc") == errno.EXDEV
        os.close(beneath(top, "proc/version", READ, cross_mounts=True))
    finally:
        os.close(top)


def test_magic_links(beneath: OpenBeneath):
    """The kernel's own links, which jump anywhere, are not followed."""
    proc = os.open("/proc", FOLDER)
    try:
        assert fail(beneath, proc, f"{os.getpid()}/cwd/any", cross_mounts=True) == errno.ELOOP
        assert fail(beneath, proc, f"{os.getpid()}/exe", cross_mounts=True) == errno.ELOOP
    finally:
        os.close(proc)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_sandbox_without_openat2(folder: int, number: int):
    """Where a sandbox forbids openat2 the walk is chosen, and openat2 where it works."""
    chosen: list[OpenBeneath] = []

    def sandboxed() -> None:
        forbid_system_call(437, number)
        chosen.append(best_opener(folder))

    run_in_thread(sandboxed)
    assert chosen == [by_walk]
    assert best_opener(folder) is by_openat2


@pytest.mark.parametrize("move", [rename_new, link_new])
def test_move_to_new_name(move: Callable[[int, str, str], None], folder: int, root: Path):
    """A file gets a free name and loses its old one; a taken name, dangling links included, is never replaced."""
    (root / "17/part").write_text("mine")
    (root / "17/taken").write_text("theirs")
    (root / "17/dangling").symlink_to("nowhere")
    for name in ("taken", "dangling"):
        with pytest.raises(FileExistsError):
            move(folder, "part", name)
    move(folder, "part", "free")
    assert {path.name for path in (root / "17").iterdir()} == {"taken", "dangling", "free"}
    assert (root / "17/taken").read_text() == "theirs"
    assert (root / "17/free").read_text() == "mine"


def run_in_thread(work: Callable[[], None]) -> None:
    """A seccomp filter stays on the thread that set it, and goes with it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def forbid_system_call(system_call: int, number: int) -> None:
    """Let a system call fail with an errno, in this thread for good (seccomp(2), classic BPF)."""
    program = b"".join(
        struct.pack("HBBI", *step)
        for step in (
            (0x20, 0, 0, 0),  # load the system call's number
            (0x15, 0, 1, system_call),  # is it this one?
            (0x06, 0, 0, 0x00050000 | number),  # then fail with errno
            (0x06, 0, 0, 0x7FFF0000),  # else allow
        )
    )
    buffer = ctypes.create_string_buffer(program)
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, 2, filters) == 0, os.strerror(ctypes.get_errno())
