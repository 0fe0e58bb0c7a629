"""The contract checks see faults that are planted into the volume."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from surfaces_core.testing import contract, planted
from surfaces_files_volume import VolumeFiles, reading, upload, volume
from surfaces_files_volume.upload import Rights, Upload


def dots_lead_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are taken as they are spelt, and links and dots followed."""
    monkeypatch.setattr(volume, "relative_to_workspace", lambda path, folder, verb="send": path)
    monkeypatch.setattr(
        VolumeFiles, "_open_in", lambda self, workspace, relative, flags: _anywhere(self, workspace, relative)
    )


def _anywhere(files: VolumeFiles, workspace: str, relative: str) -> int:
    return os.open(files.settings.root / workspace / relative, os.O_RDONLY)


def names_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only slashes are taken out of a name."""
    monkeypatch.setattr(volume, "clean_name", lambda name, mime="": name.replace("/", "_").replace("\0", "_") or "x")


def no_copy_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A taken name is overwritten."""
    monkeypatch.setattr(
        upload, "rename_new", lambda folder, old, new: os.replace(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    )


def numbers_behind_the_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy number comes last."""
    monkeypatch.setattr(upload, "numbered", lambda name, number: f"{name} ({number})" if number else name)


def keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated upload is a new one."""
    original = Upload.place
    monkeypatch.setattr(Upload, "place", lambda self, name, rights, key="": original(self, name, rights))


def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of any size is opened."""
    monkeypatch.setattr(volume, "check", lambda fd, path, most: os.fstat(fd).st_size)


def half_a_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came of a stream that broke is kept under its name."""

    async def half(self: VolumeFiles, workspace: str, name: str, chunks: object, **_more: object) -> None:
        upload = self._begin(workspace)
        try:
            async for chunk in chunks:  # type: ignore[attr-defined]
                upload.write(chunk)
        finally:
            upload.place(name, Rights(uid=None, gid=None, mode=0o600))

    monkeypatch.setattr(VolumeFiles, "save", half)


def large_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file comes in one piece."""
    monkeypatch.setattr(reading, "PIECE_BYTES", 1 << 30)


def removing_takes_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed takes its neighbours along."""

    async def remove(self: VolumeFiles, workspace: str, path: str) -> None:
        shutil.rmtree(Path(self.settings.root) / workspace, ignore_errors=True)

    monkeypatch.setattr(VolumeFiles, "remove", remove)


test_planted = planted.are_caught(
    contract.files(VolumeFiles),
    {
        dots_lead_out: "outside",
        names_as_they_come: "names",
        no_copy_numbers: "copy_numbers",
        numbers_behind_the_extension: "copy_numbers",
        keys_are_forgotten: "repeated_upload",
        no_limit: "not_there",
        half_a_file_stays: "broken_stream",
        large_pieces: "pieces",
        removing_takes_the_folder: "remove",
    },
)
