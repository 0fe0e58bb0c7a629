"""PostgreSQL storage keeps the contract of storages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from surfaces_core.testing import contract
from surfaces_core.testing.promises import Check
from surfaces_storage_postgres import PostgresStorage

pytestmark = pytest.mark.slow


@contract.storage
def test_contract(promise: Check, storage_in: Callable[..., PostgresStorage]) -> PostgresStorage:
    """PostgreSQL storage keeps every promise."""
    return storage_in(promise.__name__)
