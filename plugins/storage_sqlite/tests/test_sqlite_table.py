"""The statements on the table are few and of bounded size."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from surfaces_storage_sqlite import table

SMALL, LARGE = b"v" * 200, b"v" * (64 * 1024)


@pytest.mark.parametrize(("value", "count", "statements"), [(SMALL, 640, 10), (LARGE, 10, 5), (None, 640, 10)])
def test_statements_are_cut_by_count_and_size(value: bytes | None, count: int, statements: int) -> None:
    """Small values and deletions go 64 to a statement, large ones 128 KiB, so that none holds up the loop."""
    said: list[str] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        connection.set_trace_callback(said.append)
        table.apply(connection, {b"%d" % number: value for number in range(count)})
    assert len(said) == statements


def test_pages_are_cut_by_size() -> None:
    """A page of large values ends at 1 MiB and says that more may come."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        table.apply(connection, {b"%02d" % number: LARGE for number in range(40)})
        first = table.page(connection, b"", b"\xff")
        rest = table.page(connection, b"16", b"\xff")
    assert [key for key, _ in first.rows] == [b"%02d" % number for number in range(16)]
    assert (first.complete, len(rest.rows), rest.complete) == (False, 16, False)
