"""The contract checks see faults that are planted into the doubles for files and messengers.

Those of storage and transport are with their own tests.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surfaces_core import Address, Draft, FileRef, Intake, Opening, Outbound, Pace, Receipt
from surfaces_core.testing import contract, memory_files, memory_surface, planted
from surfaces_core.testing.checks.files import FilesBench
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_core.testing.memory_files import MemoryFiles, MemoryFilesSettings
from surfaces_core.testing.memory_surface import MemoryMessenger, MemoryRooms, MemorySurface, memory_context

LIMIT = 2 << 20

# Files ---------------------------------------------------------------------------------------------


def files_bench() -> FilesBench:
    """Two agents' files in memory."""
    files = MemoryFiles(MemoryFilesSettings(max_file_bytes=LIMIT))

    def write(workspace: str, path: str, data: bytes) -> None:
        files.contents[workspace][path] = data

    return FilesBench(make=lambda: files, workspace="/a/17", other_workspace="/a/18", write=write, limit=LIMIT)


def one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """All agents share a folder."""

    async def save(self: MemoryFiles, workspace: str, name: str, chunks: Any, **more: Any) -> FileRef:
        return await SAVE(self, "/a/17", name, chunks, **more)

    monkeypatch.setattr(MemoryFiles, "save", save)


def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may lead anywhere."""

    def anywhere(self: MemoryFiles, workspace: str, path: str) -> Any:
        return OPEN(self, *(("/a/18", "secret.txt") if "secret" in path else (workspace, path)))

    monkeypatch.setattr(MemoryFiles, "open", anywhere)


def overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    """A taken name is taken again."""
    monkeypatch.setattr(memory_files, "_free", lambda name, folder: name)


def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too large to be opened."""
    monkeypatch.setattr(MemoryFiles, "_check_size", lambda self, name, size: None)


def dirty_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names stay as they come."""
    monkeypatch.setattr(memory_files, "clean_name", lambda name, mime: name.replace("/", "_") or "x")


def one_large_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file comes at once."""
    monkeypatch.setattr(memory_files, "_PIECE_BYTES", 1 << 30)


def removing_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed stays."""

    async def remove(self: MemoryFiles, workspace: str, path: str) -> None:
        """Nothing."""

    monkeypatch.setattr(MemoryFiles, "remove", remove)


def swallows_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that broke is a short file."""

    async def save(self: MemoryFiles, workspace: str, name: str, chunks: Any, **more: Any) -> FileRef:
        return await SAVE(self, workspace, name, _until_it_breaks(chunks), **more)

    monkeypatch.setattr(MemoryFiles, "save", save)


async def _until_it_breaks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except Exception:  # noqa: BLE001 -- that is the fault
        return


def shrinks_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is what is there now."""

    async def open_(self: MemoryFiles, workspace: str, path: str) -> Any:
        opened = await OPEN(self, workspace, path)
        files = self

        async def chunks() -> AsyncIterator[bytes]:
            yield files.contents[workspace][opened.ref.path]

        opened.chunks = chunks  # type: ignore[method-assign]
        return opened

    monkeypatch.setattr(MemoryFiles, "open", open_)


SAVE, OPEN = MemoryFiles.save, MemoryFiles.open

test_planted_files = planted.are_caught(
    contract.files(files_bench),
    {
        one_folder: "repeated_upload",
        outside: "outside",
        overwrites: "copy_numbers",
        any_size: "not_there",
        dirty_names: "names",
        one_large_piece: "pieces",
        removing_does_nothing: "remove",
        swallows_breaks: "broken_stream",
        shrinks_quietly: "changed_meanwhile",
    },
)

# Messengers ----------------------------------------------------------------------------------------


def surface_bench() -> SurfaceBench:
    """A messenger in memory, and a person."""
    messenger, context = MemoryMessenger(), memory_context(store=MemoryStore(), files=MemoryFiles())

    async def push(text: str) -> None:
        await messenger.say(text)

    async def shown() -> list[str]:
        return messenger.texts()

    async def forget() -> None:
        messenger.forget_keys()

    async def other_device() -> None:
        messenger.device += "x"

    return SurfaceBench(
        make=lambda: MemorySurface(messenger, context=context, pace=Pace(), rooms=True),
        address=Address(surface=memory_surface.NAME, conversation="home"),
        push=push,
        shown=shown,
        forget=forget,
        other_device=other_device,
    )


def sends_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is not looked at."""
    _sending(monkeypatch, lambda message: replace(message, key=secrets.token_hex(8)))


def trusts_the_messenger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are thought to be known for ever."""
    monkeypatch.setattr(memory_surface, "WINDOW_S", float("inf"))


def trusts_any_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device's keys are thought to be known."""
    _sending(monkeypatch, lambda message: replace(message, device="device-1x"))


def drafts_are_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft is never replaced."""
    _sending(monkeypatch, lambda message: replace(message, streamed=False))


def typing_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft without text is a message."""
    original = MemorySurface.show

    async def show(self: MemorySurface, draft: Draft) -> None:
        await original(self, replace(draft, version=draft.version + 1))

    monkeypatch.setattr(MemorySurface, "show", show)


def repeats_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every life begins at the beginning, and names events anew."""
    original = MemorySurface.run

    async def run(self: MemorySurface, intake: Intake) -> None:
        self.messenger.incoming = [replace(each, event_id=secrets.token_hex(8)) for each in self.messenger.incoming]

        async def nothing() -> None:
            return None

        intake.cursor = nothing  # type: ignore[method-assign]
        await original(self, intake)

    monkeypatch.setattr(MemorySurface, "run", run)


def returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receiving is over at once."""

    async def run(self: MemorySurface, intake: Intake) -> None:
        """Nothing."""

    monkeypatch.setattr(MemorySurface, "run", run)


def empty_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text ends with an empty part."""
    original = MemorySurface.split
    monkeypatch.setattr(MemorySurface, "split", lambda self, text: [*original(self, text), ""])


def opens_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opening makes a room each time."""
    original = MemoryRooms.open

    async def open_(self: MemoryRooms, opening: Opening) -> Address:
        return await original(self, replace(opening, key=secrets.token_hex(8)))

    monkeypatch.setattr(MemoryRooms, "open", open_)


def forgets_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded is not kept."""

    async def record(self: MemoryRooms, binding: Any) -> None:
        """Nothing."""

    monkeypatch.setattr(MemoryRooms, "record", record)


def everything_is_residue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset would remove the whole disk."""
    monkeypatch.setattr(MemorySurface, "residue", classmethod(lambda _, settings: [Path("/")]))


def _sending(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    original = MemorySurface.send

    async def send(self: MemorySurface, message: Outbound) -> Receipt:
        return await original(self, change(message))

    monkeypatch.setattr(MemorySurface, "send", send)


test_planted_surface = planted.are_caught(
    contract.surface(surface_bench),
    {
        sends_twice: "same_key_once",
        trusts_the_messenger: "forgotten_key_once",
        trusts_any_device: "other_device_once",
        drafts_are_final: "streamed_ends_exact",
        typing_shows: "typing_says_nothing",
        repeats_after_a_restart: "restart_repeats_nothing",
        returns: "comes_in",
        empty_parts: "split_is_lossless",
        opens_anew: "opened_once",
        forgets_names: "recorded",
        everything_is_residue: "reset",
    },
)
