"""Redis storage keeps the contract of storages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from surfaces_core.testing.checks.storage import STORAGE_CHECKS, StorageCheck
from surfaces_storage_redis import RedisStorage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
async def test_redis_storage_keeps_the_contract(
    check: StorageCheck, storage_under: Callable[..., RedisStorage]
) -> None:
    """Redis storage passes every contract check."""
    await check(lambda: storage_under(check.__name__))
