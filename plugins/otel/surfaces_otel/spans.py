"""Turns what a host shows its observers into spans: one at the root of each turn, one for each step below it.

Names and attributes are those of the semantic conventions for messaging and for agents where these have one. What
people and agents say, names of files and people, and words of errors never become part of a span: only ids, names
that the operator gave, codes, counts and times.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from importlib.metadata import version

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from surfaces_core import Agent, Observed, StepEnded, TurnEnded
from surfaces_otel.ids import below, root_of

CUT = ("STOPPED", "CHANGED", "CANCELLED")
"""What ends a step early and is no failure."""
FAILED = ("failed", "dead")
FINE, WRONG = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
NS = 1_000_000_000
ROUNDED = NS // 2_000
"""When a message was stored is kept to the millisecond; no step may seem to begin before it."""

Attributes = dict[str, AttributeValue]


class Spans:
    """Makes the spans of one host, each when it is over: none is open, so none is lost but with the process.

    They are put together here and not by the SDK's tracer, which takes more than twice as long, for what a span that is
    over does not need, and would have to be made to give a root the id that its steps have been told already.
    """

    def __init__(self, *, resource: Resource, sampler: Sampler, end: Callable[[ReadableSpan], None]) -> None:
        self._resource = resource
        self._service = str(resource.attributes[SERVICE_NAME])
        self._sampler = sampler
        self._end = end
        """Takes a span that is over."""
        self._scope = InstrumentationScope("surfaces_otel", version("surfaces-otel"))

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
        status = WRONG if event.outcome in FAILED else FINE
        name, kind = f"process {event.address.surface}", SpanKind.CONSUMER
        self._put(name, root, None, min(began, ended), ended, kind=kind, attributes=attributes, status=status)

    def _step(self, event: StepEnded, root: SpanContext) -> None:
        ended = time.time_ns()
        began, itself = ended - round(event.seconds * NS), below(root)
        name, kind, own = _described(event)
        attributes: Attributes = {"surfaces.turn_id": event.turn, "surfaces.attempt": event.attempt, **own}
        if event.files:
            attributes["surfaces.files"] = event.files
        status = FINE
        if event.error in CUT:
            attributes["surfaces.cut"] = event.error
        elif event.error:
            status = WRONG
            attributes["error.type"] = _code(event.error)
        self._put(name, itself, root, began, ended, kind=kind, attributes=attributes, status=status)
        if event.first_s is not None:
            self._put("first text", below(itself), itself, began, began + round(event.first_s * NS))

    def _put(
        self,
        name: str,
        itself: SpanContext,
        parent: SpanContext | None,
        began: int,
        ended: int,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        status: Status = FINE,
    ) -> None:
        self._end(
            ReadableSpan(
                name=name,
                context=itself,
                parent=parent,
                resource=self._resource,
                attributes=attributes or {},
                kind=kind,
                status=status,
                start_time=began,
                end_time=ended,
                instrumentation_scope=self._scope,
            )
        )


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


def _code(error: str) -> str:
    """A code comes from a plugin: one that is none might be what somebody said."""
    return error if re.fullmatch(r"[A-Z][A-Z0-9_]{0,39}", error) else "OTHER"
