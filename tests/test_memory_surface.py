"""The memory surface keeps the contract that it stands in for."""

from __future__ import annotations

from surfaces_core import Address, Pace
from surfaces_core.testing import contract
from surfaces_core.testing.checks.surface import SurfaceBench
from surfaces_core.testing.memory_surface import NAME, MemoryMessenger, MemorySurface


@contract.surface
def test_contract() -> SurfaceBench:
    """Each promise of a surface holds for the double too."""
    messenger = MemoryMessenger()

    async def push(text: str) -> None:
        await messenger.say(text)

    async def shown() -> list[str]:
        return messenger.texts()

    async def forget() -> None:
        messenger.forget_keys()

    async def other_device() -> None:
        messenger.device += "x"

    return SurfaceBench(
        make=lambda: MemorySurface(messenger, pace=Pace()),
        address=Address(surface=NAME, conversation="home"),
        push=push,
        shown=shown,
        forget=forget,
        other_device=other_device,
    )
