"""The stage keeps its folder to itself and says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from surfaces_demo.children import DemoError
from surfaces_demo.stage import CONFIG, Stage, program


async def test_two_demos_in_one_folder_are_refused(tmp_path: Path) -> None:
    """A second demo in the same folder ends with a line that says what to do; afterwards the folder is free."""
    async with Stage(tmp_path):
        with pytest.raises(DemoError, match="--folder"):
            async with Stage(tmp_path):
                pass
    async with Stage(tmp_path):
        pass


async def test_the_host_needs_a_homeserver(tmp_path: Path) -> None:
    """Starting things out of order is said plainly."""
    async with Stage(tmp_path) as stage:
        with pytest.raises(DemoError, match="homeserver"):
            await stage.start_host()


def test_programs_that_are_not_installed_are_named() -> None:
    """A program that is missing beside this Python is named."""
    with pytest.raises(DemoError, match="surfaces-nowhere"):
        program("surfaces-nowhere")


def test_the_config_is_shipped() -> None:
    """The config that runs is a file of the package, so that a wheel has it too."""
    assert CONFIG.is_file()
