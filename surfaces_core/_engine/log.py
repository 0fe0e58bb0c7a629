"""Logs as events with keys: for people on a terminal, JSON lines elsewhere; secrets cut out by type."""

from __future__ import annotations

import logging
import sys
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


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send all logs to a stream, standard error unless said otherwise."""
    stream = sys.stderr if stream is None else stream
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
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def logger(**keys: object) -> FilteringBoundLogger:
    """A logger with keys bound."""
    bound: FilteringBoundLogger = structlog.get_logger(**keys)
    return bound
