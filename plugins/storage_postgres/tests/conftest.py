"""What the tests of this plugin share: a real server for each module, and drivers on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import structlog

from proof import servers
from surfaces_core import Context
from surfaces_storage_postgres import PostgresStorage

StorageIn = Callable[..., PostgresStorage]


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    """A PostgreSQL server."""
    with servers.postgres() as server:
        yield server


@pytest.fixture
def storage_in(server: servers.Server) -> StorageIn:
    """Makes an unopened storage in a schema."""

    def make(schema: str, **settings: object) -> PostgresStorage:
        checked = PostgresStorage.Settings.model_validate({"dsn": server.url, "schema_name": schema, **settings})
        return PostgresStorage(checked, Context(name="storage", log=structlog.get_logger()))

    return make
