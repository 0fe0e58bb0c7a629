"""Owns the sentences and exit codes for everything that can be wrong with a database file."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from surfaces_core import StateError

_DAMAGED = "the file is damaged; restore a backup, or move it away to start empty"
_FOREIGN = "this is not a database of Surfaces; name another file, or move this one away"
_RIGHTS = "no right to write here; give this user the file and its folder"
_INPUT_OUTPUT = "reading or writing failed; look at the disk and the system's log"
_FULL = "the disk is full; free some space"
_HELD = "another program keeps the database locked; close it"
_UNEXPECTED = "the database refused; keep the file and report this"
_NEWER = "written by a newer version of Surfaces; upgrade, or restore a backup from before"
_NO_WAL = "this place cannot hold a write-ahead log; use a local disk"
_CLOSED = "the store is closed"
_MEMORY = "out of memory; give this process more"
_GONE = "removed or replaced while it was in use, so nothing more is written; put it back or start empty"
_LINKED = "has a second name (hard link), under which another process may hold it; remove one of the names"
_EMPTIED = "the file is empty, but held state before; restore a backup, or remove it to start empty"

BY_RESULT: dict[int, tuple[int, str]] = {
    sqlite3.SQLITE_CORRUPT: (os.EX_DATAERR, _DAMAGED),
    sqlite3.SQLITE_FORMAT: (os.EX_DATAERR, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (os.EX_DATAERR, _FOREIGN),
    sqlite3.SQLITE_AUTH: (os.EX_NOPERM, _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: (os.EX_NOPERM, _RIGHTS),
    sqlite3.SQLITE_PERM: (os.EX_NOPERM, _RIGHTS),
    sqlite3.SQLITE_READONLY: (os.EX_NOPERM, _RIGHTS),
    sqlite3.SQLITE_FULL: (os.EX_IOERR, _FULL),
    sqlite3.SQLITE_IOERR: (os.EX_IOERR, _INPUT_OUTPUT),
    sqlite3.SQLITE_NOLFS: (os.EX_IOERR, _INPUT_OUTPUT),
    sqlite3.SQLITE_NOMEM: (os.EX_IOERR, _MEMORY),
    sqlite3.SQLITE_BUSY: (os.EX_TEMPFAIL, _HELD),
    sqlite3.SQLITE_LOCKED: (os.EX_TEMPFAIL, _HELD),
    sqlite3.SQLITE_PROTOCOL: (os.EX_TEMPFAIL, _HELD),
    sqlite3.SQLITE_ABORT: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_CONSTRAINT: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_EMPTY: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_ERROR: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_INTERNAL: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_INTERRUPT: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_MISMATCH: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_MISUSE: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_NOTFOUND: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_RANGE: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_SCHEMA: (os.EX_IOERR, _UNEXPECTED),
    sqlite3.SQLITE_TOOBIG: (os.EX_IOERR, _UNEXPECTED),
}
"""Exit code and sentence by SQLite's primary result code (https://sqlite.org/rescode.html)."""

_BY_ERRNO: dict[int, tuple[int, str]] = {
    errno.EACCES: (os.EX_NOPERM, _RIGHTS),
    errno.EPERM: (os.EX_NOPERM, _RIGHTS),
    errno.EROFS: (os.EX_NOPERM, _RIGHTS),
    errno.ENOSPC: (os.EX_IOERR, _FULL),
    errno.EDQUOT: (os.EX_IOERR, _FULL),
    errno.ENOTDIR: (os.EX_IOERR, "a part of this path is a file, not a folder; name another path"),
    errno.EEXIST: (os.EX_IOERR, "a part of this path is a file, not a folder; name another path"),
    errno.EISDIR: (os.EX_IOERR, "this is a folder; name a file in it"),
}


def from_sqlite(path: Path, error: sqlite3.Error) -> StateError:
    """Translate any error of the sqlite3 module; its extended result codes fall under their primary one."""
    result = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    exit_code, sentence = BY_RESULT.get(result & 0xFF, (os.EX_IOERR, _UNEXPECTED))
    return StateError(f"{path}: {sentence} ({_detail(error)})", exit_code=exit_code)


def _detail(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return f"{name}: {error}" if name else str(error)


def from_os(path: Path, error: OSError) -> StateError:
    """Translate what the operating system said about the file, its folder or its lock."""
    exit_code, sentence = _BY_ERRNO.get(error.errno or 0, (os.EX_IOERR, _INPUT_OUTPUT))
    return StateError(f"{path}: {sentence} ({error.strerror or error})", exit_code=exit_code)


def held(path: Path, holder: str) -> StateError:
    """Another process, or another driver in this one, has the store open."""
    return StateError(
        f"{path}: {holder or 'another process'} holds this store; stop it, or name another file",
        exit_code=os.EX_TEMPFAIL,
    )


def damaged(path: Path, finding: str) -> StateError:
    """The file is ours, but its content is not sound."""
    return StateError(f"{path}: {_DAMAGED} ({finding})", exit_code=os.EX_DATAERR)


def foreign(path: Path) -> StateError:
    """The file is a database of another program."""
    return StateError(f"{path}: {_FOREIGN}", exit_code=os.EX_DATAERR)


def newer(path: Path, version: int, known: int) -> StateError:
    """The file's schema is younger than this code."""
    return StateError(f"{path}: {_NEWER} (schema {version}, known {known})", exit_code=os.EX_DATAERR)


def emptied(path: Path) -> StateError:
    """The file lost everything that it held."""
    return StateError(f"{path}: {_EMPTIED}", exit_code=os.EX_DATAERR)


def linked(path: Path) -> StateError:
    """The file can be reached by a name that has another lock and another log."""
    return StateError(f"{path}: {_LINKED}", exit_code=os.EX_TEMPFAIL)


def gone(path: Path) -> StateError:
    """A file in use is no longer the one at its name."""
    return StateError(f"{path}: {_GONE}", exit_code=os.EX_IOERR)


def no_memory(path: Path) -> StateError:
    """There was not enough memory for a transaction."""
    return StateError(f"{path}: {_MEMORY}", exit_code=os.EX_IOERR)


def no_wal(path: Path, mode: str) -> StateError:
    """SQLite could not switch to write-ahead logging."""
    return StateError(f"{path}: {_NO_WAL} (journal mode {mode})", exit_code=os.EX_IOERR)


def closed(path: Path) -> StateError:
    """The store was used before it was opened or after it was closed."""
    return StateError(f"{path}: {_CLOSED}", exit_code=os.EX_IOERR)
