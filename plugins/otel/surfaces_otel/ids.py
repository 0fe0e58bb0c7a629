"""The ids of a turn's trace: they follow from the turn, so that each life of a host adds to the same trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, TraceFlags


def root_of(service: str, turn: str) -> SpanContext:
    """The trace of a turn, and the span at its root, be that made already or only by a later life.

    Turns are named by what happened in a messenger, so two bots in one room may have the same: `service` tells them
    apart.
    """
    digest = hashlib.sha256(f"{service}\0{turn}".encode()).digest()
    return SpanContext(
        trace_id=int.from_bytes(digest[:16]) or 1,
        span_id=int.from_bytes(digest[16:24]) or 1,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


class Ids(RandomIdGenerator):
    """Gives out random ids, but those of a root while that one is made. For one thread."""

    def __init__(self) -> None:
        self._root: SpanContext | None = None

    @contextmanager
    def of(self, root: SpanContext) -> Iterator[None]:
        """The span that is started inside is this one."""
        self._root = root
        try:
            yield
        finally:
            self._root = None

    def generate_trace_id(self) -> int:
        """That of the root, or a random one."""
        return super().generate_trace_id() if self._root is None else self._root.trace_id

    def generate_span_id(self) -> int:
        """That of the root, or a random one."""
        return super().generate_span_id() if self._root is None else self._root.span_id
