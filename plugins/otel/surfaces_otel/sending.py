"""Sends spans in a thread of its own, as the environment says (`OTEL_…`), and says when the collector is away.

The queue is bounded: while nobody takes spans the oldest are dropped. A host that ends waits `STOP_S` for the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import urlsplit

import structlog
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError
from surfaces_otel.spans import Spans

STOP_S = 2.0
"""How long a host that ends waits for what is not sent yet."""
DEFAULTS = {SERVICE_NAME: "surfaces", SERVICE_VERSION: version("surfaces-core")}
SENDING = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")
"""The SDK's loggers that speak of every try."""


def is_disabled() -> bool:
    """Whether the environment turns it off."""
    return os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"


@asynccontextmanager
async def sending_spans(make: Callable[[], SpanExporter]) -> AsyncIterator[Spans]:
    """Spans that are sent while the block lasts, and for `STOP_S` behind it."""
    log: FilteringBoundLogger = structlog.get_logger(collector=_collector())
    said = SdkLog(log)
    with said.listening():
        outlet = Outlet(make(), said, log)
        resource = Resource.create({**DEFAULTS, **OTELResourceDetector().detect().attributes})
        sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler  # the environment's
        processor = _processor(outlet)
        try:
            yield Spans(resource=resource, sampler=sampler, end=processor.on_end)
        finally:
            if not await _ended(processor):
                outlet.shutdown()  # ends its waiting for another try
                log.warning("traces.unsent", waited_s=STOP_S)


def _processor(outlet: Outlet) -> BatchSpanProcessor:
    """A queue and a thread, as the environment says. Raises `ConfigError`."""
    try:
        return BatchSpanProcessor(outlet)
    except ValueError as error:
        raise ConfigError("", f"otel: {str(error).rstrip('.')}; look at the variables OTEL_BSP_…") from error


async def _ended(processor: BatchSpanProcessor) -> bool:
    """Send the rest; whether that came to an end in time. The thread does not keep the process."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        processor.shutdown()  # type: ignore[no-untyped-call]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=end, name="surfaces-otel-end", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_S):
            await done.wait()
    return done.is_set()


def _collector() -> str:
    """Host and port, without what may be secret in an address."""
    address = os.environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) or os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)
    return urlsplit(address or "http://localhost:4318").netloc.rpartition("@")[2]


class Outlet(SpanExporter):
    """An exporter that says once when it cannot send and once when it can again."""

    def __init__(self, exporter: SpanExporter, said: SdkLog, log: FilteringBoundLogger) -> None:
        self._exporter = exporter
        self._said = said
        self._log = log
        self._lost = 0
        self._over = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, or lose it."""
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                self._log.warning("traces.down", why=self._said.why)
            self._lost += len(spans)
        elif self._lost:
            self._log.info("traces.back", lost=self._lost)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        """Send no more; a try that waits ends."""
        if not self._over:
            self._over = True
            self._exporter.shutdown()


class SdkLog(logging.Handler):
    """What the SDK logs: why a try failed is kept for who asks, all else is told once.

    Never a value, only the sentence around it: the SDK puts headers into such, and they hold keys.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._told: set[str] = set()
        self.why = ""
        """Of the last try: an exception's name, or the status and its reason."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the block lasts the SDK's log comes here, and nowhere else."""
        logger = logging.getLogger("opentelemetry")
        before, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = before

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or tell it."""
        sentence = str(record.msg)
        if record.name.startswith(SENDING):
            self.why = _why(record) or self.why
        elif sentence not in self._told:
            self._told.add(sentence)
            self._log.warning("traces.sdk", said=sentence)


def _why(record: logging.LogRecord) -> str:
    """What a record says of a failure: `ConnectionError`, `401 Unauthorized`."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    errors = [type(argument).__name__ for argument in arguments if isinstance(argument, Exception)]
    status = [argument for argument in arguments if isinstance(argument, int)]
    phrases = {HTTPStatus(code).phrase for code in status if code in set(HTTPStatus)}
    return " ".join([*errors, *map(str, status), *phrases])
