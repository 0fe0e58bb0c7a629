"""Turns what a host shows its observers into spans: one at the root of each turn, one for each step below it.

Names and attributes are those of the semantic conventions for messaging and for agents where these have one. What
people and agents say, names of files and people, and words of errors never become part of a span: only ids, names
that the operator gave, codes, counts and times.
"""

from __future__ import annotations

import re
import time
from importlib.metadata import version

from opentelemetry.sdk.resources import SERVICE_NAME
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from surfaces_core import Agent, Observed, StepEnded, TurnEnded
from surfaces_otel.ids import Ids, root_of

CUT = ("STOPPED", "CHANGED", "CANCELLED")
"""What ends a step early and is no failure."""
FAILED = ("failed", "dead")
NS = 1_000_000_000
ROUNDED = NS // 2_000
"""When a message was stored is kept to the millisecond; no step may seem to begin before it."""

Attributes = dict[str, AttributeValue]


class Spans:
    """Makes the spans of one host. `provider` has `Ids`."""

    def __init__(self, provider: TracerProvider) -> None:
        assert isinstance(provider.id_generator, Ids)
        self._ids = provider.id_generator
        self._sampler = provider.sampler
        self._service = str(provider.resource.attributes.get(SERVICE_NAME, ""))
        self._tracer = provider.get_tracer("surfaces_otel", version("surfaces-otel"))

    def observe(self, event: Observed) -> None:
        """Make a span of a step or a turn that is over."""
        if not isinstance(event, StepEnded | TurnEnded):
            return
        root = root_of(self._service, event.turn)
        # By the trace alone, so that every life of the host comes to the same.
        decision = self._sampler.should_sample(None, root.trace_id, "process").decision
        if decision is not Decision.RECORD_AND_SAMPLE:
            return
        if isinstance(event, TurnEnded):
            self._turn(event, root)
        else:
            self._step(event, root)

    def _turn(self, event: TurnEnded, root: SpanContext) -> None:
        ended = time.time_ns()
        began = round(event.came_at * NS) - ROUNDED if event.came_at else ended - round(event.seconds * NS)
        attributes: Attributes = {
            "surfaces.turn_id": event.turn,
            "surfaces.outcome": event.outcome,
            "surfaces.attempts": event.attempts,
            "messaging.system": event.address.surface,
            "messaging.destination.name": event.address.conversation,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            **_who(event.agent),
        }
        with self._ids.of(root):
            span = self._tracer.start_span(
                f"process {event.address.surface}",
                kind=SpanKind.CONSUMER,
                attributes=attributes,
                start_time=min(began, ended),
            )
        if event.outcome in FAILED:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def _step(self, event: StepEnded, root: SpanContext) -> None:
        ended = time.time_ns()
        began = ended - round(event.seconds * NS)
        name, kind, own = _described(event)
        attributes: Attributes = {"surfaces.turn_id": event.turn, "surfaces.attempt": event.attempt, **own}
        if event.files:
            attributes["surfaces.files"] = event.files
        parent = set_span_in_context(NonRecordingSpan(root))
        span = self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes, start_time=began)
        if event.first_s is not None:
            first = self._tracer.start_span("first text", context=set_span_in_context(span), start_time=began)
            first.end(began + round(event.first_s * NS))
        _end(span, event.error, ended)


def _described(event: StepEnded) -> tuple[str, SpanKind, Attributes]:
    """The name of a step's span, its kind, and what only such a step has."""
    match event.step:
        case "ask":
            own: Attributes = {"gen_ai.operation.name": "invoke_agent", **_who(event.agent)}
            if event.first_s is not None:
                own["gen_ai.response.time_to_first_chunk"] = event.first_s
            return f"invoke_agent {event.agent.id if event.agent else ''}".rstrip(), SpanKind.CLIENT, own
        case "send":
            surface = event.address.surface
            own = {
                "messaging.system": surface,
                "messaging.destination.name": event.address.conversation,
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
            }
            if event.part is not None:
                own["surfaces.part"] = event.part
            return f"send {surface}", SpanKind.PRODUCER, own
        case _:
            return event.step, SpanKind.INTERNAL, {}


def _who(agent: Agent | None) -> Attributes:
    return {} if agent is None else {"gen_ai.agent.id": agent.id, "surfaces.transport": agent.transport}


def _end(span: Span, error: str, ended: int) -> None:
    if error in CUT:
        span.set_attribute("surfaces.cut", error)
    elif error:
        # A code comes from a plugin: one that is none might be what somebody said.
        span.set_attribute("error.type", error if re.fullmatch(r"[A-Z][A-Z0-9_]{0,39}", error) else "OTHER")
        span.set_status(StatusCode.ERROR)
    span.end(ended)
