"""The contract checks see faults that are planted into the memory storage."""

from __future__ import annotations

import pytest

from surfaces_core.testing import contract, planted
from surfaces_core.testing.memory_storage import MemoryDisk
from surfaces_storage_memory import MemoryStorage


def each_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one instance stored the next one does not find."""
    monkeypatch.setattr(MemoryStorage.Settings, "disk", property(lambda self: MemoryDisk()))


test_planted = planted.are_caught(contract.storage(MemoryStorage), {each_has_its_own: "durable"})
