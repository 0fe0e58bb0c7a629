"""How the program ends: what is said of an error, with which exit code, and that it ends at all.

What a plugin leaves running may keep a process for ever: a task that is deaf to its cancellation, a thread
that nobody told to end. Everything that was acknowledged is durable, so the process may be ended at any time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeGuard

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.checking import each
from surfaces_core._config.plain import printable
from surfaces_core._engine import log
from surfaces_core._engine.log import Sink
from surfaces_core._engine.redaction import traceback_of
from surfaces_core._host.notify import one_line, tell
from surfaces_core._operating import stacks
from surfaces_core.errors import ConfigError, StateError, SurfacesError, Unavailable

LAST_S = 3.0
"""How long the process may take once nothing of the host is left to do."""
REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EACCES: "give the user of this process the right to it",
    errno.EPERM: "give the user of this process the right to it",
    errno.EROFS: "name a place that may be written",
    errno.ENOENT: "make it, or name another place",
    errno.ENOTDIR: "a part of this path is no folder; name another place",
    errno.EISDIR: "name a file in it",
    errno.EBUSY: "a file that is mounted by itself cannot be replaced; mount its folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "look at the health of its disk",
}
"""What helps against what the system says."""
_WANTED = (SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""Somebody asked for this end, and knows why."""


def first(error: BaseException) -> BaseException:
    """What really happened, out of the groups that nested tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        expected = [inner for inner in error.exceptions if isinstance(first(inner), SurfacesError)]
        error = (expected or error.exceptions)[0]
    return error


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    match error:
        case SystemExit(code=int(code)):
            return code
        case ConfigError():
            return os.EX_CONFIG
        case StateError(exit_code=code):
            return code
        case Unavailable():
            return os.EX_UNAVAILABLE
        case BrokenPipeError():  # whoever read has seen enough
            return os.EX_OK
        case KeyboardInterrupt() | asyncio.CancelledError():
            return 130
        case PermissionError():
            return os.EX_NOPERM
        case OSError() if _is_of_system(error):
            return os.EX_IOERR
        case _:
            return os.EX_SOFTWARE


def explain(error: BaseException, *, verbose: bool = False, debug: bool = False) -> int:
    """One line on standard error for each thing that is expected, the traceback for a bug or when asked; the exit code.

    With `verbose` what was behind it stands below, a line for each cause.
    """
    cause = first(error)
    stderr = Sink(sys.stderr)
    known = isinstance(cause, SurfacesError) or _is_of_system(cause)
    if debug and known:
        stderr.write(traceback_of(error, content=log.shown.content) + "\n")
    if isinstance(cause, SurfacesError):
        problems = each(cause) if isinstance(cause, ConfigError) else (cause,)
        stderr.write("".join(f"surfaces: {problem.code}: {printable(str(problem))}\n" for problem in problems))
    elif isinstance(cause, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
    elif _is_of_system(cause):
        stderr.write(f"surfaces: FILE: {printable(_of_system(cause))}\n")
    elif not isinstance(cause, _WANTED):
        stderr.write(traceback_of(error, content=log.shown.content) + "\n")
        stderr.write("surfaces: BUG: this should not happen; please report it with the lines above\n")
    if verbose and known:
        stderr.write("".join(f"  because: {printable(line)}\n" for line in _causes(cause)))
    return exit_code(cause)


def _is_of_system(error: BaseException) -> TypeGuard[OSError]:
    """Whether it says what the system refused; a time-out or a cut connection that nobody caught is a bug."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in REMEDIES)


def _of_system(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    place = f"{error.filename}: " if error.filename is not None else ""
    remedy = REMEDIES.get(error.errno or 0)
    return f"{place}{error.strerror or error}{f'; {remedy}' if remedy else ''}"


def _causes(error: BaseException) -> Iterator[str]:
    """What an error came of, the nearest first; of others than ours and the system's the kind alone, for their words
    may hold what people said, or a secret.
    """
    while (behind := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = behind
        said = f": {error}" if isinstance(error, SurfacesError | OSError) else ""
        yield f"{type(error).__name__}{said}"


def say_why(error: BaseException) -> None:
    """Tell a supervisor what ends the host, in one line in which nothing of a message can be."""
    cause = first(error)
    if isinstance(cause, _WANTED):
        return
    if isinstance(cause, SurfacesError):
        others = len(cause.others) if isinstance(cause, ConfigError) else 0
        more = f" (and {others} more problems)" if others else ""
        reason = f"{cause.code}: {printable(str(cause))}{more}"
    elif _is_of_system(cause):
        reason = f"FILE: {printable(_of_system(cause))}"
    else:  # what a bug says of itself may be anything
        reason = f"BUG: {type(cause).__qualname__}; its log has the rest"
    line = one_line(reason)
    tell(f"STATUS={line}\nX_SURFACES_END={line}")


class Deadline:
    """Ends the process when it has not ended by itself in time; needs no memory for that but what it has."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._at = time.monotonic() + threading.TIMEOUT_MAX
        self._end: BaseException | int = os.EX_OK
        self.loop: asyncio.AbstractEventLoop | None = None
        """Whose tasks are named when they keep the process."""
        self._sleep = threading.Lock()
        self._sleep.acquire()
        threading.Thread(target=self._watch, name="surfaces-deadline", daemon=True).start()

    def within(self, seconds: float, end: BaseException | int = os.EX_OK) -> None:
        """End in so many seconds at the latest: for an error that is still to be told, or with an exit code."""
        self._at = min(self._at, time.monotonic() + seconds)
        if self._end == os.EX_OK or isinstance(end, int):
            self._end = end
        with suppress(RuntimeError):  # it is awake
            self._sleep.release()
        # Should even that fail, the kernel ends the process (SIGALRM).
        signal.setitimer(signal.ITIMER_REAL, self._at - time.monotonic() + LAST_S)

    def _watch(self) -> None:
        while (left := self._at - time.monotonic()) > 0:
            self._sleep.acquire(timeout=left)
        code = self._end if isinstance(self._end, int) else os.EX_SOFTWARE
        try:
            tasks = [] if self.loop is None else stacks.of_tasks(self.loop, deaf=True)
            self._log.warning("host.kept", tasks=tasks, threads=stacks.of_others())
            if isinstance(self._end, BaseException):
                code = explain(self._end)
                say_why(self._end)
        finally:  # whatever went wrong with that, for want of memory perhaps
            os._exit(code)
