"""The errors of the host; an error's class decides the next step.

    SurfacesError            .public = a sentence that may be shown; .code = a stable word
    ├── ConfigError          where, problem: before start, one line, exit 78
    ├── StateError           the durable state cannot be used: one line, its own exit code
    ├── DriverError
    │   ├── Unavailable      try again later (retry_after)
    │   └── Rejected         trying again will not help
    └── CommandError         the person's mistake, shown as it is

Anything else is a bug: in a turn it is logged with its traceback, the person gets the general
sentence and the host lives; in a surface's run or in the core it ends the host loudly.
"""

from __future__ import annotations

import os
from typing import ClassVar

from surfaces_core.i18n import Catalogue, Sentence

_ = Catalogue("surfaces_core")


class SurfacesError(Exception):
    """Base of all errors that the host expects.

    `str(error)` is for the log: it may name hosts and places of the operator's, never what people or agents say
    or how their files are called. `public` may be shown to a person, in the language of the turn it was raised in.
    """

    code: str = "ERROR"
    default: ClassVar[Sentence] = _("Something went wrong on my side.")
    """What is shown when nothing better was said."""

    def __init__(self, message: str, *, code: str | None = None, public: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.public = self.default() if public is None else public


class ConfigError(SurfacesError):
    """The configuration cannot work. `where` is the dotted place, `problem` says what and the remedy."""

    code = "CONFIG"

    def __init__(self, where: str, problem: str, *, file: str | None = None, line: int | None = None) -> None:
        self.place = "" if file is None else file if line is None else f"{file}:{line}"
        """The file and the line, as far as they are known."""
        said = f"{where}: {problem}" if where else problem
        super().__init__(f"{said} ({self.place})" if self.place else said)
        self.where = where
        self.problem = problem
        self.others: tuple[ConfigError, ...] = ()
        """Further problems that were found in the same pass."""


class StateError(SurfacesError):
    """The durable state cannot be used.

    `exit_code` is one of sysexits.h: 65 unreadable or newer, 74 input/output, 75 held by another
    process, 77 file rights.
    """

    code = "STATE"

    def __init__(self, message: str, *, exit_code: int = os.EX_IOERR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DriverError(SurfacesError):
    """A driver could not do what it was asked."""

    code = "DRIVER"


class Unavailable(DriverError):
    """Not now: the same call may work later. `retry_after` in seconds where the far side named it."""

    code = "UNAVAILABLE"
    default = _("I can't reach what I need right now.")

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        public: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, public=public)
        self.retry_after = retry_after


class Rejected(DriverError):
    """Never: the same call will fail again.

    `interrupted`: the connection was cut while an agent had the question, so that asking once more may
    go well and may be a repeat: `host.on_interrupt` decides.
    """

    code = "REJECTED"
    default = _("That was refused.")

    def __init__(
        self, message: str, *, code: str | None = None, public: str | None = None, interrupted: bool = False
    ) -> None:
        super().__init__(message, code=code, public=public)
        self.interrupted = interrupted


class CommandError(SurfacesError):
    """A command was used in a way that cannot work; the message is shown to the person as it is."""

    code = "COMMAND"

    def __init__(self, message: str) -> None:
        super().__init__(message, public=message)
