"""Logs as events with keys: for people on a terminal, JSON lines elsewhere; secrets cut out by type.

A log that cannot be written ends nothing: who cannot be told must not stop what works.
"""

from __future__ import annotations

import logging
import os
import re
import select
import stat
import sys
import time
from contextlib import suppress
from typing import TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut out what is secret or content by its type."""
    for name, value in event.items():
        if isinstance(value, SecretStr | SecretBytes):
            event[name] = "[secret]"
        elif isinstance(value, bytes):
            event[name] = f"[{len(value)} bytes]"
    return event


FULL_S = 0.1
"""So long a reader that is behind is waited for, once until it has caught up."""
REPEAT_S = 60.0
"""What a library says again and again is logged this often."""


_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")
"""What differs each time."""


class Sink:
    """Writes to a stream as long as that works; it never fails, and waits for a slow reader only once and briefly.

    Past the stream's own buffer, where it has a descriptor: what stays in there would fail once more at the
    end of the process, and change its exit code.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._dropped = False
        try:
            self._fd = _never_waiting(stream.fileno())
        except (OSError, ValueError):
            self._fd = -1

    def write(self, text: str) -> int:
        """Write it all, or as much as can be; what a reader has no room for is lost."""
        with suppress(OSError, ValueError):
            if self._fd < 0:
                return self._stream.write(text)
            data = text.encode("utf-8", "backslashreplace")
            while data:
                data = data[self._some(data) :]
            self._dropped = False
        return len(text)

    def _some(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            if self._dropped:
                raise
            self._dropped = True
            select.select((), (self._fd,), (), FULL_S)
            return os.write(self._fd, data)

    def flush(self) -> None:
        """Nothing is kept back."""


def _never_waiting(fd: int) -> int:
    """A descriptor for the same pipe or terminal that does not wait, without a change to others' of it."""
    if not (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)):
        return fd
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return fd


class _Libraries(logging.Handler):
    """What libraries log their own way: warnings and worse, each seldom enough."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        what, now = (record.name, _NUMBERS.sub("", str(record.msg))), time.monotonic()
        if now - self._said.get(what, -REPEAT_S) < REPEAT_S:
            return
        if len(self._said) > 100:
            self._said.clear()
        self._said[what] = now
        with suppress(Exception):  # a record that cannot be put into words
            logger(library=record.name).log(
                record.levelno, "library.log", message=record.getMessage(), exc_info=record.exc_info
            )


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs to a stream, standard error unless said otherwise; those of libraries too."""
    stream = sys.stderr if stream is None else stream
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("stevedore").setLevel(logging.CRITICAL)  # what it warns of ends in an error that says more
    last: list[structlog.typing.Processor]
    if stream.isatty():
        # without the values of variables, among which are texts of people
        last = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(Sink(stream)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


def logger(**keys: object) -> FilteringBoundLogger:
    """A logger with keys bound."""
    bound: FilteringBoundLogger = structlog.get_logger(**keys)
    return bound
