"""A volume in a folder of its own, and streams to save."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog

from surfaces_core import Context
from surfaces_files_volume import VolumeFiles, VolumeSettings

MakeVolume = Callable[..., VolumeFiles]
LIMIT = 2 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The shared volume with the folders of two agents; 18 has a secret."""
    for agent in ("17", "18"):
        (tmp_path / "agents" / agent).mkdir(parents=True)
    (tmp_path / "agents/18/secret.txt").write_text("secret")
    return tmp_path / "agents"


@pytest.fixture
def make_volume(root: Path) -> MakeVolume:
    """Makes unopened drivers over `root`; keywords are settings, and `beneath`."""

    def make(beneath: object = None, **settings: object) -> VolumeFiles:
        parsed = VolumeSettings.model_validate({"root": root, "max_file_bytes": LIMIT, **settings})
        return VolumeFiles(parsed, Context(name="volume", log=structlog.get_logger()), beneath=beneath)  # type: ignore[arg-type]

    return make


@pytest.fixture
def stream() -> Callable[..., AsyncIterator[bytes]]:
    """A stream of the given chunks."""

    async def chunks(*given: bytes) -> AsyncIterator[bytes]:
        for chunk in given:
            yield chunk

    return chunks
