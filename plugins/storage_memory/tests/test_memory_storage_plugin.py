"""The memory storage for demos and tests: within its process it keeps the contract, and it says what it forgets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from structlog.testing import capture_logs

from surfaces_core import Context
from surfaces_core.testing import contract
from surfaces_core.testing.memory_storage import MemoryDisk
from surfaces_storage_memory import MemoryStorage


def storage(disk: MemoryDisk | None = None, control: Path | None = None) -> MemoryStorage:
    """One as the host makes it, over a disk of the test's."""
    context = Context(name="storage", log=structlog.get_logger())
    return MemoryStorage(MemoryStorage.Settings(control=control), context, disk=disk)


@contract.storage
def test_contract() -> Callable[[], MemoryStorage]:
    """Over one disk, which is one process, it keeps every promise."""
    disk = MemoryDisk()
    return lambda: storage(disk)


async def test_it_says_that_nothing_survives(tmp_path: Path) -> None:
    """Every start warns; the next one begins with nothing; operators' commands reach it where its config says."""
    for _ in range(2):
        with capture_logs() as logs:
            async with storage(control=tmp_path / "door") as open_storage, open_storage.transaction() as tx:
                assert await tx.get(b"a") is None
                await tx.put(b"a", b"1")
                assert open_storage.control == tmp_path / "door"
        (said,) = logs
        assert (said["log_level"], said["event"]) == ("warning", "storage.forgets")


def test_it_needs_no_tools_for_tests() -> None:
    """Its double comes from the testing package, without pytest and Hypothesis."""
    code = "import surfaces_storage_memory, sys; print({'pytest', 'hypothesis', '_pytest'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
