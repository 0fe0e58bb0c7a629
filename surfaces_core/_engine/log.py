"""Logs as events with keys: for people on a terminal, JSON lines elsewhere; secrets and content cut out by type.

A log that cannot be written ends nothing: who cannot be told must not stop what works.
"""

from __future__ import annotations

import logging
import os
import re
import select
import stat
import sys
import threading
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from surfaces_core._engine.redaction import traceback_of, without_content, without_secrets

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
            logger(library=record.name, where=f"{record.module}:{record.lineno}").log(
                record.levelno, "library.log", message=_words(record), exc_info=record.exc_info
            )


def _words(record: logging.LogRecord) -> str:
    """What a library says, as far as it cannot hold what people say: what it puts in is of unknown origin."""
    if shown.content or record.name == "py.warnings":
        return record.getMessage()
    template = str(record.msg)
    if record.name == "asyncio" and not record.args:  # what it names is called with what people say
        return template.partition("\n")[0].partition("(")[0]
    return template if record.args else "[cut]"


@dataclass(slots=True)
class _Shown:
    content: bool = True
    """What is said may be shown; of a host that runs only when its operator wants that."""


shown = _Shown()


def configure(level: str = "info", stream: TextIO | None = None, *, content: bool = False) -> None:
    """Send all logs to a stream, standard error unless said otherwise; those of libraries too.

    `content`: with what people and agents say.
    """
    stream = sys.stderr if stream is None else stream
    shown.content = content
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("stevedore").setLevel(logging.CRITICAL)  # what it warns of ends in an error that says more
    last: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if stream.isatty():
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"  # no-color.org
        last = [_printable, structlog.dev.ConsoleRenderer(colors=not plain)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            without_secrets if content else without_content,
            structlog.processors.ExceptionRenderer(_formatted),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(Sink(stream)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    threading.excepthook = _thread_bug
    sys.unraisablehook = _unraisable_bug


def logger(**keys: object) -> FilteringBoundLogger:
    """A logger with keys bound."""
    bound: FilteringBoundLogger = structlog.get_logger(**keys)
    return bound


def about(turn: str) -> AbstractContextManager[None]:
    """Everything that is logged in the block, by whomever, is about one turn."""
    return structlog.contextvars.bound_contextvars(turn_id=turn)


def _formatted(exc_info: structlog.typing.ExcInfo) -> str:
    return traceback_of(exc_info[1], content=shown.content)


def _printable(_logger: WrappedLogger, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Nothing that comes from outside may move a terminal's cursor."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = repr(value)
    return event


def _thread_bug(hook: threading.ExceptHookArgs) -> None:
    name = "" if hook.thread is None else hook.thread.name
    if hook.exc_value is not None:
        logger().error("thread.bug", thread=name, exc_info=hook.exc_value)


def _unraisable_bug(hook: sys.UnraisableHookArgs) -> None:
    logger().error("unraisable.bug", where=getattr(hook.object, "__qualname__", ""), exc_info=hook.exc_value)
