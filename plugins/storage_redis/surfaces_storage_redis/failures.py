"""Owns the sentences and exit codes for everything that can be wrong with a Redis server."""

from __future__ import annotations

import os

from redis import exceptions

from surfaces_core import StateError

_AWAY = "the server cannot be reached; start it, or correct `url`"
_LOGIN = "the server does not let us in; correct the user and the password in `url`"
_RIGHTS = "the server's ACL forbids what is needed; see the README of surfaces-storage-redis"
_MEMORY = "the server is full; raise its maxmemory"
_READ_ONLY = "the server only reads, as a replica does; name the primary in `url`"
_CLUSTER = "the server is part of a cluster; name a server of its own in `url`"
_DISK = "the server cannot write to its disk; look at its log"
_BUSY = "the server is busy with a script; look what runs there"
_FOREIGN = "its keys belong to another program; name another `prefix`"
_UNEXPECTED = "the server refused; look at its log and report this"
_LIBRARY = "the client and the server do not understand each other; report this"

BY_ERROR: dict[type[Exception], tuple[int, str]] = {
    exceptions.AskError: (os.EX_CONFIG, _CLUSTER),
    exceptions.AuthenticationError: (os.EX_CONFIG, _LOGIN),
    exceptions.AuthenticationWrongNumberOfArgsError: (os.EX_CONFIG, _LOGIN),
    exceptions.AuthorizationError: (os.EX_NOPERM, _RIGHTS),
    exceptions.BusyLoadingError: (os.EX_UNAVAILABLE, _AWAY),
    exceptions.ClusterCrossSlotError: (os.EX_CONFIG, _CLUSTER),
    exceptions.ClusterDownError: (os.EX_CONFIG, _CLUSTER),
    exceptions.ClusterError: (os.EX_CONFIG, _CLUSTER),
    exceptions.ConnectionError: (os.EX_UNAVAILABLE, _AWAY),
    exceptions.ExternalAuthProviderError: (os.EX_CONFIG, _LOGIN),
    exceptions.MasterDownError: (os.EX_IOERR, _READ_ONLY),
    exceptions.MaxConnectionsError: (os.EX_UNAVAILABLE, _AWAY),
    exceptions.NoPermissionError: (os.EX_NOPERM, _RIGHTS),
    exceptions.OutOfMemoryError: (os.EX_IOERR, _MEMORY),
    exceptions.ReadOnlyError: (os.EX_IOERR, _READ_ONLY),
    exceptions.RedisClusterException: (os.EX_CONFIG, _CLUSTER),
    exceptions.RedisError: (os.EX_IOERR, _LIBRARY),
    exceptions.ChildDeadlockedError: (os.EX_IOERR, _LIBRARY),
    exceptions.IncorrectPolicyType: (os.EX_IOERR, _LIBRARY),
    exceptions.ResponseError: (os.EX_IOERR, _UNEXPECTED),
    exceptions.TimeoutError: (os.EX_UNAVAILABLE, _AWAY),
    exceptions.TryAgainError: (os.EX_CONFIG, _CLUSTER),
}
"""Exit code and sentence by the library's class; a class that is not named is what its nearest base is."""

BY_WORD: dict[str, tuple[int, str]] = {
    "BUSY": (os.EX_TEMPFAIL, _BUSY),
    "CLUSTERDOWN": (os.EX_CONFIG, _CLUSTER),
    "LOADING": (os.EX_UNAVAILABLE, _AWAY),
    "MISCONF": (os.EX_IOERR, _DISK),
    "MOVED": (os.EX_CONFIG, _CLUSTER),
    "NOAUTH": (os.EX_CONFIG, _LOGIN),
    "NOPERM": (os.EX_NOPERM, _RIGHTS),
    "OOM": (os.EX_IOERR, _MEMORY),
    "READONLY": (os.EX_IOERR, _READ_ONLY),
    "WRONGPASS": (os.EX_CONFIG, _LOGIN),
    "WRONGTYPE": (os.EX_DATAERR, _FOREIGN),
}
"""Exit code and sentence by the word that an answer of the server holds; they may stand inside a script's error."""

LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
"""The connection ended, or is of no use any more."""
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)
"""Everything that a call of the library raises because of the server."""


def translated(place: str, error: BaseException) -> StateError:
    """Whatever the library raised, as what the host understands; never with the URL, which may hold a password."""
    exit_code, sentence = _judged(error)
    return StateError(f"{place}: {sentence} ({type(error).__name__})", exit_code=exit_code)


def _judged(error: BaseException) -> tuple[int, str]:
    if isinstance(error.__cause__, exceptions.AuthenticationError):  # while connecting it is wrapped
        error = error.__cause__
    if isinstance(error, exceptions.ResponseError | exceptions.ConnectionError):
        words = str(error).replace(":", " ").replace("-", " ").split()
        for word, meaning in BY_WORD.items():
            if word in words:
                return meaning
    for known in type(error).__mro__:
        if known in BY_ERROR:
            return BY_ERROR[known]
    if isinstance(error, OSError | TimeoutError):
        return os.EX_UNAVAILABLE, _AWAY
    return os.EX_CONFIG, "`url` cannot be used; write it like redis://user:password@host:6379/0"


def held(place: str, holder: str) -> StateError:
    """Another host has this state."""
    return StateError(
        f"{place}: {holder or 'another process'} holds this state; stop it, or name another prefix",
        exit_code=os.EX_TEMPFAIL,
    )


def superseded(place: str) -> StateError:
    """Another host began while the connection was cut; what this one wants to write is refused."""
    return StateError(f"{place}: another process took this state over while the connection was cut", exit_code=75)


def in_doubt(place: str) -> StateError:
    """The connection ended between a commit and its answer."""
    return StateError(
        f"{place}: the connection was lost during a commit; the next start finds out what is stored",
        exit_code=os.EX_IOERR,
    )


def newer(place: str, version: str, known: int) -> StateError:
    """The keys are laid out by younger code."""
    return StateError(
        f"{place}: written by a newer version of Surfaces; upgrade, or restore a backup from before "
        f"(version {version}, known {known})",
        exit_code=os.EX_DATAERR,
    )


def foreign(place: str) -> StateError:
    """The keys belong to somebody else."""
    return StateError(f"{place}: {_FOREIGN}", exit_code=os.EX_DATAERR)


def replica(place: str) -> StateError:
    """The server follows another one."""
    return StateError(f"{place}: {_READ_ONLY}", exit_code=os.EX_CONFIG)


def untold(place: str, name: str) -> StateError:
    """The server cannot be asked what it promises."""
    return StateError(
        f"{place}: the server does not know {name}, so it cannot be told whether it keeps what it acknowledges; "
        "name a Redis server in `url`",
        exit_code=os.EX_CONFIG,
    )


def not_durable(place: str, name: str, value: str, wanted: str) -> StateError:
    """The server would acknowledge what a crash can take back, or drop what it needs room for."""
    return StateError(
        f"{place}: {name} is {value}, so messages could be lost; run `redis-cli CONFIG SET {name} {wanted}` "
        "and `redis-cli CONFIG REWRITE`, or put it into redis.conf",
        exit_code=os.EX_CONFIG,
    )
