"""Owns the command line of `surfaces supervise`."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from surfaces_supervisor.arguments import Parser, complain
from surfaces_supervisor.limits import Limits
from surfaces_supervisor.lines import Log
from surfaces_supervisor.notify import Voice
from surfaces_supervisor.places import folder_of

DEFAULTS = Limits()
HELPS = {
    "crashes": "so many unclean ends in a row of --within-s hold the host",
    "within_s": "seconds in which they count",
    "wait_s": "the first wait after an unclean end; it doubles",
    "longest_wait_s": "the longest wait",
    "settle_s": "a host that was ready for so long runs well, and is recorded",
    "watchdog_s": "a host that says nothing for so long hangs, and is ended",
}


def parser() -> argparse.ArgumentParser:
    """What `surfaces supervise` takes."""
    made = Parser(
        "supervise",
        "Run the host as a child and start it again when it dies. `surfaces supervise status [--json]` says how it is.",
    )
    for name, about in HELPS.items():
        default = getattr(DEFAULTS, name)
        kind = _count if isinstance(default, int) else _seconds
        option = f"--{name.replace('_', '-')}"
        made.add_argument(option, type=kind, default=default, metavar="N", help=f"{about}; default: %(default)s")
    return made


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is no number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds")
    return value


def supervise(rest: Sequence[str]) -> int:
    """Supervise, or say how a supervisor is; the exit code."""
    if rest[:1] == ["status"]:
        from surfaces_supervisor.operators import status

        return status(rest[1:])
    options = parser().parse_args(rest)
    if not options.config.is_file():
        return complain(f"{options.config} is not there", os.EX_CONFIG)
    folder = folder_of(options.config, options.folder)
    try:
        lock = _lock_of(folder)
    except OSError as error:
        code = os.EX_NOPERM if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else os.EX_IOERR
        return complain(f"{error.filename}: {error.strerror}; --folder names another place", code)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode().strip()
        return complain(f"process {holder} supervises {options.config} already", os.EX_TEMPFAIL)
    with suppress(OSError):  # a full disk keeps it from nothing: this is for people alone
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return _run(options, folder)


def _lock_of(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0 and (owner := folder.stat().st_uid) != 0:  # who could lay links there for root to follow
        raise PermissionError(errno.EPERM, f"root is not its owner, user {owner} is", str(folder))
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _run(options: argparse.Namespace, folder: Path) -> int:
    from surfaces_supervisor.supervisor import Options, Supervisor

    limits = Limits(**{name: getattr(options, name) for name in HELPS})
    chosen = Options(config=options.config.absolute(), folder=folder, limits=limits)
    return Supervisor(chosen, Log(), Voice(os.environ)).run()
