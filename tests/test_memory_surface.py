"""The memory surface keeps the contract that it stands in for."""

from __future__ import annotations

import pytest

from surfaces_core import Address, Pace
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.driver_contexts import MemoryStore
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_surface import NAME, MemoryMessenger, MemorySurface, memory_context


@contract.surface
@pytest.mark.parametrize("rooms", [True, False], ids=["rooms", "no rooms"])
def test_contract(rooms: bool) -> SurfaceBench:
    """Each promise of a surface holds for the double too."""
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
        make=lambda: MemorySurface(messenger, context=context, pace=Pace(), rooms=rooms),
        address=Address(surface=NAME, conversation="home"),
        push=push,
        shown=shown,
        forget=forget,
        other_device=other_device,
    )
