"""OpenTelemetry traces: the hooks plugin `otel`, which shows each turn as one trace.

They leave as protobuf over HTTP, to where the environment says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter

from surfaces_core import Companion, Observed, hookimpl
from surfaces_otel.sending import is_disabled, sending_spans
from surfaces_otel.spans import Spans


class Traces:
    """The plugin: makes spans of what it is shown while its host lives."""

    def __init__(self, exporter: Callable[[], SpanExporter] = OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._spans: Spans | None = None

    @hookimpl
    def surfaces_companions(self) -> Sequence[Companion]:
        """What sends the spans."""
        return [self._alive]

    @hookimpl
    def surfaces_observe(self, event: Observed) -> None:
        """Make a span of what is over."""
        if self._spans is not None:
            self._spans.observe(event)

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        if is_disabled():
            yield
            return
        async with sending_spans(self._exporter) as self._spans:
            try:
                yield
            finally:
                self._spans = None
