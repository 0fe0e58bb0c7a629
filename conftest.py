"""What the tests of all packages share: one real homeserver for the whole run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from surfaces_demo.synapse import Synapse


def pytest_configure() -> None:
    """Keep bytecode even where the machine asks for none: else each process of a test compiles all its modules."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def synapse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Synapse]:
    """A real homeserver, started once: use names of your own for `register`, others use it too."""
    async with Synapse(tmp_path_factory.mktemp("synapse")) as server:
        yield server


PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
"""Where rich is installed structlog else draws every local of every frame, which takes seconds."""


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """What a test that runs the program in this process does to logging ends with it."""
    structlog.reset_defaults()
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], PLAIN])
    yield
    structlog.reset_defaults()
