"""The volume keeps the contract of files drivers, whichever way it opens paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surfaces_core.testing import contract
from surfaces_core.testing.checks.files import FilesBench
from surfaces_files_volume import VolumeFiles
from surfaces_files_volume.beneath import OpenBeneath, by_openat2, by_walk


@contract.files
@pytest.mark.parametrize("beneath", [by_openat2, by_walk])
@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_contract(
    beneath: OpenBeneath, absolute: bool, tmp_path: Path, make_volume: Callable[..., VolumeFiles]
) -> Iterator[FilesBench]:
    """It keeps every promise, also for folders that it has to make first."""

    def write(workspace: str, path: str, data: bytes) -> None:
        target = tmp_path / workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    names = [f"{tmp_path}/{name}" if absolute else name for name in ("deep/17", "deep/18")]
    yield FilesBench(
        make=lambda: make_volume(beneath=beneath, root=tmp_path),
        workspace=names[0],
        other_workspace=names[1],
        write=write,
        limit=2 << 20,
    )
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if name.endswith(".part")]
