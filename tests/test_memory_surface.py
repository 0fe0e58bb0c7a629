"""The memory surface keeps the contract that it stands in for."""

from __future__ import annotations

import pytest

from surfaces_core import Address, Pace
from surfaces_core.testing.checks.surface import SURFACE_CHECKS, SurfaceBench, SurfaceCheck
from surfaces_core.testing.memory_surface import NAME, MemoryMessenger, MemorySurface


def bench(messenger: MemoryMessenger) -> SurfaceBench:
    """A bench on one messenger."""

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


@pytest.mark.parametrize("check", SURFACE_CHECKS, ids=lambda check: check.__name__)
async def test_the_memory_surface_keeps_the_contract(check: SurfaceCheck) -> None:
    """Each promise of a surface holds for the double too."""
    await check(bench(MemoryMessenger()))
