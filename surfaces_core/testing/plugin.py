"""Fixtures for plugin authors, registered with pytest when `surfaces-core[testing]` is installed.

@pytest.fixture
def surfaces_hooks():
return [surfaces_ping]

async def test_ping(testbot):
await testbot.push("!ping a")
assert await testbot.pop() == "pong a"
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import pytest

if find_spec("pytest_asyncio") is not None:  # without the extra there are no fixtures, and pytest still works
    from surfaces_core.testing.fixture import testbot as testbot


@pytest.fixture
def surfaces_hooks() -> Sequence[object]:
    """The hooks plugins that `testbot` loads; override it."""
    return ()
