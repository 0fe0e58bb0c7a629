"""What a supervisor hears of its host and takes over from it, without one."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from surfaces_supervisor.notify import Ear

BURYING = """
import ctypes, os, subprocess
from surfaces_supervisor.child import bury
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: like the first process of a container
own = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
subprocess.run(["sh", "-c", "true & true & echo"])
while len(open(f"/proc/self/task/{os.getpid()}/children").read().split()) > 1:
    bury({own.pid})
own.stdin.close()
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
bury({own.pid})
assert own.wait() == 0
"""


def say(ear: Ear, text: bytes) -> None:
    """As the host does it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
        voice.sendto(text, ear.address)


@pytest.mark.parametrize("depth", [0, 3])
def test_only_the_host_is_heard(tmp_path: Path, depth: int) -> None:
    """However long the path; other users cannot reach it, and what another process said is forgotten."""
    folder = tmp_path.joinpath(*["x" * 60] * depth)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notify").touch()  # of a supervisor that was killed
    ear = Ear(folder)
    assert stat.S_IMODE((folder / "notify").stat().st_mode) == 0o600
    say(ear, b"READY=1\nSTATUS=well")
    assert list(ear.heard(os.getpid())) == [{"READY": "1", "STATUS": "well"}]
    say(ear, b"READY=1")
    assert list(ear.heard(os.getppid())) == []
    say(ear, b"READY=1")
    ear.clear()
    assert list(ear.heard(os.getpid())) == []
    ear.socket.close()


def test_orphans_are_buried_and_children_are_not() -> None:
    """In a container the supervisor is the first process, to which they all come."""
    subprocess.run([sys.executable, "-c", BURYING], check=True, timeout=30)
