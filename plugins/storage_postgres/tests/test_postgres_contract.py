"""PostgreSQL storage keeps the contract of storages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from surfaces_core.testing.checks.storage import STORAGE_CHECKS, StorageCheck
from surfaces_storage_postgres import PostgresStorage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
async def test_postgres_storage_keeps_the_contract(
    check: StorageCheck, storage_in: Callable[..., PostgresStorage]
) -> None:
    """PostgreSQL storage passes every contract check."""
    await check(lambda: storage_in(check.__name__))
