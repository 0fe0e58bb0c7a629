"""Owns the sentences and exit codes for everything that can be wrong with a PostgreSQL server."""

from __future__ import annotations

import os

import asyncpg
from asyncpg.exceptions import InternalClientError

from surfaces_core import StateError

_AWAY = "the server cannot be reached; start it, or correct `dsn`"
_DAMAGED = "the database is damaged; restore a backup"
_CHANGED = "its tables are not as this version left them; restore a backup, or name an empty schema"
_FULL = "the server's disk is full; free some space there"
_LOGIN = "the server does not let us in; correct the user and the password in `dsn`"
_MANY = "the server has no connection left; raise its max_connections"
_MEMORY = "the server is out of memory; give it more"
_MISSING = "there is no such database; create it, or correct `dsn`"
_RIGHTS = "no right to do this; own the schema, or be granted CREATE on the database"
_READ_ONLY = "the server only reads, as a standby does; name the primary in `dsn`"
_DSN = "`dsn` cannot be used; write it like postgresql://user:password@host:5432/database"
_INPUT_OUTPUT = "the server could not read or write; look at its log"
_SLOW = "the server took too long; look at its load, or raise `timeout_s`"
_HELD = "another session locks the tables; end it"
_UNEXPECTED = "the server refused; look at its log and report this"

BY_STATE: dict[str, tuple[int, str]] = {
    "25006": (os.EX_IOERR, _READ_ONLY),
    "3D000": (os.EX_CONFIG, _MISSING),
    "42501": (os.EX_NOPERM, _RIGHTS),
    "53100": (os.EX_IOERR, _FULL),
    "53200": (os.EX_IOERR, _MEMORY),
    "53300": (os.EX_UNAVAILABLE, _MANY),
    "55P03": (os.EX_TEMPFAIL, _HELD),
    "57014": (os.EX_IOERR, _SLOW),
}
"""Exit code and sentence by SQLSTATE, where its class is too wide."""

_OTHER = "01 02 03 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 2B 2D 2F 34 38 39 3B 3D 44 54 72 F0 HV P0"
"""Classes of what our statements do not give a reason for."""

BY_CLASS: dict[str, tuple[int, str]] = {
    **dict.fromkeys(["08", "57"], (os.EX_UNAVAILABLE, _AWAY)),
    **dict.fromkeys(["28"], (os.EX_CONFIG, _LOGIN)),
    **dict.fromkeys(["3F", "42"], (os.EX_DATAERR, _CHANGED)),
    **dict.fromkeys(["40", "55"], (os.EX_TEMPFAIL, _HELD)),
    **dict.fromkeys(["53", "58"], (os.EX_IOERR, _INPUT_OUTPUT)),
    **dict.fromkeys(["XX"], (os.EX_DATAERR, _DAMAGED)),
    **dict.fromkeys(_OTHER.split(), (os.EX_IOERR, _UNEXPECTED)),
}
"""Exit code and sentence by the class of a SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError, OSError, TimeoutError)
"""Everything that a call of the library raises because of the server."""


def lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more; what was asked may have been done."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "08")[:2] == "08" or (error.sqlstate or "").startswith("57P")
    return True  # a time-out too: the answer may still come, and would be taken for that of the next question


def translated(place: str, error: BaseException) -> StateError:
    """Whatever the library raised, as what the host understands; never with the DSN, which holds a password."""
    exit_code, sentence = _judged(error)
    return StateError(f"{place}: {sentence} ({_detail(error)})", exit_code=exit_code)


def _judged(error: BaseException) -> tuple[int, str]:
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError | ValueError):
        return os.EX_CONFIG, _DSN
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate:
        return BY_STATE.get(error.sqlstate) or BY_CLASS.get(error.sqlstate[:2], (os.EX_IOERR, _UNEXPECTED))
    if isinstance(error, OSError | TimeoutError):  # ConnectionError is one of them
        return os.EX_UNAVAILABLE, _AWAY
    return os.EX_IOERR, _UNEXPECTED


def _detail(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if state:
        return f"{state}: {str(error).splitlines()[0]}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__  # the words of a client's error may quote the DSN


class Held(StateError):
    """Another session has this state."""

    def __init__(self, place: str, holder: str | None) -> None:
        super().__init__(
            f"{place}: {holder or 'another process'} holds this state; stop it, or name another schema",
            exit_code=os.EX_TEMPFAIL,
        )
        self.holder = holder


def superseded(place: str, holder: str | None) -> StateError:
    """While the connection was cut another host began and may have written."""
    return StateError(
        f"{place}: {holder or 'another process'} took this state over while the connection was cut",
        exit_code=os.EX_TEMPFAIL,
    )


def in_doubt(place: str, error: BaseException) -> StateError:
    """The connection ended between a commit and its answer."""
    return StateError(
        f"{place}: the connection was lost during a commit; the next start finds out what is stored ({_detail(error)})",
        exit_code=os.EX_IOERR,
    )


def newer(place: str, version: int, known: int) -> StateError:
    """The schema is younger than this code."""
    return StateError(
        f"{place}: written by a newer version of Surfaces; upgrade, or restore a backup from before "
        f"(schema version {version}, known {known})",
        exit_code=os.EX_DATAERR,
    )


def foreign(place: str) -> StateError:
    """The schema belongs to somebody else."""
    return StateError(
        f"{place}: this schema holds tables of another program; name another one", exit_code=os.EX_DATAERR
    )


def forbidden(place: str) -> StateError:
    """The role may not make what is needed."""
    return StateError(f"{place}: {_RIGHTS}", exit_code=os.EX_NOPERM)


def standby(place: str) -> StateError:
    """The server follows another one."""
    return StateError(f"{place}: {_READ_ONLY}", exit_code=os.EX_CONFIG)


def pooled(place: str) -> StateError:
    """Something between lends one process of the server to several connections."""
    problem = "a pooler lends it to several at once, so no lock would hold; name the server itself, or pool sessions"
    return StateError(f"{place}: {problem}", exit_code=os.EX_CONFIG)


def not_durable(place: str, setting: str, remedy: str) -> StateError:
    """The server would acknowledge what a crash can take back."""
    return StateError(
        f"{place}: {setting} is off, so a crash of the server would lose what it acknowledged; {remedy}",
        exit_code=os.EX_CONFIG,
    )
