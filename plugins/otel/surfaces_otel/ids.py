"""The ids of a turn's trace: they follow from the turn, so that each life of a host adds to the same trace."""

from __future__ import annotations

import hashlib
import random

from opentelemetry.trace import SpanContext, TraceFlags

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def root_of(service: str, turn: str) -> SpanContext:
    """The trace of a turn, and the span at its root, be that made already or only by a later life.

    Turns are named by what happened in a messenger, so two bots in one room may have the same: `service` tells them
    apart.
    """
    digest = hashlib.sha256(f"{service}\0{turn}".encode()).digest()
    trace, span = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
    return SpanContext(trace_id=trace or 1, span_id=span or 1, is_remote=False, trace_flags=SAMPLED)


def below(parent: SpanContext) -> SpanContext:
    """A span of its own in the same trace."""
    span = random.getrandbits(64) or 1
    return SpanContext(trace_id=parent.trace_id, span_id=span, is_remote=False, trace_flags=SAMPLED)
