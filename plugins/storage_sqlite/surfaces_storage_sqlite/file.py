"""Owns the opening of a database file: its lock, its rights, whose it is, whether it is sound."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from surfaces_storage_sqlite import failures

APPLICATION_ID = 0x53524643
"""`SRFC`, in the file's header, so that a database of another program is never touched."""
SCHEMA_VERSION = 1
_CHECKED_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked whole at every opening, which takes some 50 ms."""
_CACHED_STATEMENTS = 256


@contextmanager
def open_database(path: Path, busy_timeout_s: float) -> Iterator[sqlite3.Connection]:
    """The one connection to a database that no other process has open; it is made when it is missing.

    To be used in one thread. Raises `StateError` when the file cannot be used.
    """
    path = path.resolve()  # two names of one file must meet at one lock
    try:
        with _locked(path):
            _make_private(path)
            with closing(_connect(path, busy_timeout_s)) as connection:
                _prepare(connection, path)
                yield connection
    except sqlite3.Error as error:
        raise failures.from_sqlite(path, error) from error
    except OSError as error:
        raise failures.from_os(path, error) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `<path>.lock`, which names our process; the kernel lets go of it when the process dies.

    The lock file stays: were it removed, two processes could each lock a different file of that name.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(lock, path)
        yield
    finally:
        os.close(lock)


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise failures.held(path, os.pread(lock, 20, 0).decode("ascii", "replace").strip()) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)


def _make_private(path: Path) -> None:
    # SQLite gives its -wal and -shm files the rights of the database. It would also quietly open a
    # file read-only that it may not write, so the right to write is tried here.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


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
