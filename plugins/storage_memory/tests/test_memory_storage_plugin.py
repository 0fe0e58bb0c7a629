"""The memory storage for demos and tests: within its process it keeps the contract, and it says what it forgets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from surfaces_core import Context
from surfaces_core.cli import main
from surfaces_core.testing import contract
from surfaces_storage_memory import MemoryStorage

test_contract = contract.storage(MemoryStorage)


def storage(control: Path) -> MemoryStorage:
    """One as the host makes it."""
    return MemoryStorage(MemoryStorage.Settings(control=control), Context(name="storage", log=structlog.get_logger()))


async def test_it_says_that_nothing_survives(tmp_path: Path) -> None:
    """Every start warns; the next one begins with nothing; operators' commands reach it where its config says."""
    for _ in range(2):
        with capture_logs() as logs:
            async with storage(tmp_path / "door") as open_storage, open_storage.transaction() as tx:
                assert await tx.get(b"a") is None
                await tx.put(b"a", b"1")
                assert open_storage.control == tmp_path / "door"
        (said,) = logs
        assert (said["log_level"], said["event"]) == ("warning", "storage.forgets")


def test_it_needs_no_tools_for_tests() -> None:
    """Its double comes from the testing package, without pytest and Hypothesis."""
    code = "import surfaces_storage_memory, sys; print({'pytest', 'hypothesis', '_pytest'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_check_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`surfaces check` has a line for what keeps nothing."""
    config = tmp_path / "surfaces.yaml"
    account = '{homeserver: "http://127.0.0.1:9", user_id: "@bot:hs.test", password: x}'
    config.write_text(
        f"storage: {{use: memory}}\nsurfaces: {{matrix: {account}}}\n"
        "transports: {echo: {}}\nagents: [{id: a, transport: echo}]\n"
    )
    assert main(["check", "--offline", "-c", str(config)]) == 0
    assert "keeps nothing beyond the end of the process" in capsys.readouterr().out
