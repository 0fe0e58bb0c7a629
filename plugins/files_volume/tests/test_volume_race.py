"""An agent that swaps folders for links at full speed gets at nothing, while checking first and opening then leaks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surfaces_core import Rejected
from surfaces_files_volume import VolumeFiles
from surfaces_files_volume.beneath import FOLDER, READ, OpenBeneath, by_openat2, by_walk

pytestmark = pytest.mark.slow

TRIES = 20_000
BENEATH_TRIES = 60_000
DRIVER_TRIES = 1_500
PATIENCE_S = 20.0
SECRET = b"secret of another agent"

# Exchanges a folder with a link to another agent's folder, and a file with a link to its file, for ever.
ATTACKER = """
import ctypes, os, sys
os.chdir(sys.argv[1])
rename = ctypes.CDLL(None).renameat2
print("attacking", flush=True)
while True:
    rename(-100, b"folder", -100, b"folder-link", 2)
    rename(-100, b"file", -100, b"file-link", 2)
"""


@pytest.fixture
def attacked(root: Path) -> Iterator[Path]:
    """Agent 17's folder while its agent attacks."""
    folder = root / "17"
    (root / "18/file").write_bytes(SECRET)
    (folder / "folder").mkdir()
    (folder / "folder/file").write_bytes(b"own")
    (folder / "file").write_bytes(b"own")
    (folder / "folder-link").symlink_to("../18")
    (folder / "file-link").symlink_to("../18/file")
    command = [sys.executable, "-c", ATTACKER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout
        assert attacker.stdout.readline() == b"attacking\n"
        yield folder
        assert attacker.poll() is None, "the attacker must have attacked all the time"
        attacker.kill()


def check_then_open(folder: Path, path: str) -> bytes:
    """What everybody writes first."""
    target = os.path.realpath(folder / path)
    if not target.startswith(f"{folder}/"):
        raise PermissionError(path)
    return Path(target).read_bytes()


def read_often(read: Callable[[str], bytes], enough: Callable[[Counter[bytes]], bool]) -> Counter[bytes]:
    """Read both ways in until it is enough; how often each content came, nothing for a refusal."""
    seen: Counter[bytes] = Counter()
    while not enough(seen):
        try:
            seen[read(("folder/file", "file")[seen.total() % 2])] += 1
        except OSError:
            seen[b""] += 1
    return seen


def test_check_then_open_leaks(attacked: Path):
    """The race is real: checking a path and then opening it hands out another agent's file."""
    until = time.monotonic() + PATIENCE_S
    seen = read_often(
        lambda path: check_then_open(attacked, path),
        lambda seen: (seen.total() >= TRIES and seen[SECRET] > 0) or time.monotonic() > until,
    )
    assert seen[b"own"]
    assert seen[SECRET]


@pytest.mark.parametrize("beneath", [by_openat2, by_walk])
def test_beneath_never_leaks(beneath: OpenBeneath, attacked: Path):
    """Opened beneath, own files are read and no other, in three times as many tries."""
    folder = os.open(attacked, FOLDER)

    def read(path: str) -> bytes:
        fd = beneath(folder, path, READ)
        try:
            return os.read(fd, 100)
        finally:
            os.close(fd)

    seen = read_often(read, lambda seen: seen.total() >= BENEATH_TRIES and len(seen) > 1)
    os.close(folder)
    assert set(seen) == {b"own", b""}, "own files must be read, links refused, and nothing else"


@pytest.mark.parametrize("beneath", [by_openat2, by_walk])
async def test_driver_never_leaks(beneath: OpenBeneath, attacked: Path, make_volume: Callable[..., VolumeFiles]):
    """Nor through the driver, whose every refusal is one of the host's errors."""
    seen: list[bytes] = []
    async with make_volume(beneath=beneath) as files:
        for tries in range(DRIVER_TRIES):
            try:
                async with await files.open("17", ("folder/file", "file")[tries % 2]) as opened:
                    seen.append(b"".join([piece async for piece in opened.chunks()]))
            except Rejected:
                seen.append(b"")
    assert set(seen) == {b"own", b""}
