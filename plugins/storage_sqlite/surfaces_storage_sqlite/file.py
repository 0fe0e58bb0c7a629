"""Owns the opening of a database file: its rights, whose it is, whether it is sound."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surfaces_storage_sqlite import failures
from surfaces_storage_sqlite.lock import Lock, locked
from surfaces_storage_sqlite.presence import Presence

APPLICATION_ID = 0x53524643
"""`SRFC`, in the file's header, so that a database of another program is never touched."""
SCHEMA_VERSION = 1
_CHECKED_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked whole at every opening, which takes some 50 ms."""
_CACHED_STATEMENTS = 256


@dataclass(frozen=True, slots=True)
class Database:
    """An open database that no other process has open."""

    connection: sqlite3.Connection
    presence: Presence


@contextmanager
def open_database(path: Path, busy_timeout_s: float) -> Iterator[Database]:
    """The one connection to a database; it is made when it is missing.

    To be used in one thread. Raises `StateError` when the file cannot be used.
    """
    path = path.resolve()  # two names of one file must meet at one lock
    try:
        with locked(path) as lock:
            _make_private(path, lock)
            with closing(_connect(path, busy_timeout_s)) as connection:
                _prepare(connection, path)
                lock.mark(filled=True)
                yield Database(connection, Presence((path, Path(f"{path}-wal"), lock.path)))
    except sqlite3.Error as error:
        raise failures.from_sqlite(path, error) from error
    except OSError as error:
        raise failures.from_os(path, error) from error


def _make_private(path: Path, lock: Lock) -> None:
    # SQLite gives its -wal and -shm files the rights of the database. It would also quietly open a
    # file read-only that it may not write, so the right to write is tried here.
    if lock.filled and not path.exists():
        lock.mark(filled=False)  # somebody took it away to start empty
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if found.st_nlink > 1:  # each name has a log of its own, and a lock
        raise failures.linked(path)
    if found.st_size == 0 and lock.filled:
        raise failures.emptied(path)


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=busy_timeout_s,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
    )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    fresh = _identify(connection, path)
    mode = _pragma(connection, "journal_mode=WAL")
    if mode != "wal":
        raise failures.no_wal(path, mode)
    # NORMAL would lose acknowledged transactions on power loss.
    connection.execute("PRAGMA synchronous=FULL")
    # Without a limit the log keeps the size of its largest burst for ever.
    connection.execute(f"PRAGMA journal_size_limit={_CHECKED_BYTES}")
    if fresh:
        _create(connection)
    _check(connection, path)


def _identify(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is empty and may be ours; refuses what is not ours before anything is changed."""
    application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise failures.newer(path, version, SCHEMA_VERSION)
        return False
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application or version or tables:
        raise failures.foreign(path)
    return True


def _create(connection: sqlite3.Connection) -> None:
    # One transaction: after a crash the file is either empty or complete.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    columns = [(name, kind) for _, name, kind, *_ in connection.execute("PRAGMA table_info(kv)")]
    if columns != [("key", "BLOB"), ("value", "BLOB")]:
        raise failures.damaged(path, "its table is missing")
    if path.stat().st_size <= _CHECKED_BYTES:
        finding = _pragma(connection, "quick_check(1)")
        if finding != "ok":
            raise failures.damaged(path, finding.splitlines()[-1])


def _pragma(connection: sqlite3.Connection, text: str) -> Any:
    (value,) = connection.execute(f"PRAGMA {text}").fetchone()
    return value
