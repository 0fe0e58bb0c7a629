"""The files double obeys the contract that it stands in for."""

from __future__ import annotations

import pytest

from surfaces_core import FileKind
from surfaces_core.testing import contract
from surfaces_core.testing.checks.files import MIB, FilesBench
from surfaces_core.testing.memory_files import MemoryFiles, MemoryFilesSettings


@pytest.fixture
def files():
    return MemoryFiles(MemoryFilesSettings(max_file_bytes=2 * MIB))


@contract.files
@pytest.mark.parametrize("workspace", ["/agents/17", "17"])
def test_contract(workspace: str, files: MemoryFiles) -> FilesBench:
    """It keeps every promise of a files driver."""

    def write(workspace: str, path: str, data: bytes) -> None:
        files.contents[workspace][path] = data

    other = workspace.replace("17", "18")
    return FilesBench(make=lambda: files, workspace=workspace, other_workspace=other, write=write, limit=2 * MIB)


async def test_agent_side():
    """A test can plant an agent's file and read what was saved."""
    files = MemoryFiles()

    async def stream():
        yield b"in"

    async with files:
        await files.save("17", "in.txt", stream())
        files.contents["17"]["out.png"] = b"out"
        async with await files.open("17", "/workspace/out.png") as opened:
            assert opened.ref.kind is FileKind.IMAGE
            assert [piece async for piece in opened.chunks()] == [b"out"]
    assert files.contents["17"]["in.txt"] == b"in"
