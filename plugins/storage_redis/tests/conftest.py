"""What the tests of this plugin share: a real server for each module, and drivers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog

from proof import servers
from surfaces_core import Context
from surfaces_storage_redis import RedisStorage

StorageUnder = Callable[..., RedisStorage]


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    """A Redis server that persists every write."""
    with servers.redis() as server:
        yield server


@pytest.fixture
def storage_under(server: servers.Server) -> StorageUnder:
    """Makes an unopened storage under a prefix."""

    def make(prefix: str, **settings: object) -> RedisStorage:
        checked = RedisStorage.Settings.model_validate({"url": server.url, "prefix": prefix, **settings})
        return RedisStorage(checked, Context(name="storage", log=structlog.get_logger()))

    return make
