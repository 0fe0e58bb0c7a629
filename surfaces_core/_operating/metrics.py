"""Metrics in the format of Prometheus: counted from what is observed, and read from the host when somebody asks.

Labels have few values: names that the operator gave, and codes, of which only so many are told apart.
No conversation and no person is ever one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from surfaces_core._operating.health import Report
from surfaces_core._operating.pulse import Pulse
from surfaces_core._operating.queue import Waiting
from surfaces_core.contracts import Reconciled
from surfaces_core.events import Accepted, Delivered, Kind, Observed, Postponed, TurnEnded

OUTCOMES = ("answered", "command", "refused", "failed", "stopped", "dead", "done")
"""Of turns; counted from zero, so that the first of a kind is seen as a rise."""
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
CODES = 40
"""Codes that are told apart in one metric; those that come later are counted as `OTHER`."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began says the start of the process


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The host at the moment when somebody asks."""

    report: Report
    inbox: Sequence[Waiting]
    outbox: Sequence[Waiting]
    pulse: Pulse


Values = Iterable[tuple[Sequence[str], float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A metric that is read."""

    name: str
    help: str
    read: Callable[[View], Values]
    labels: Sequence[str] = ()
    counts: bool = False

    def family(self, view: View) -> Metric:
        """Its present values."""
        kind = CounterMetricFamily if self.counts else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in self.read(view):
            family.add_metric(labels, value)
        return family


def _one(value: float) -> Values:
    return [((), value)]


def _depth(lanes: Sequence[Waiting]) -> Values:
    return _one(sum(lane.depth for lane in lanes))


def _oldest(lanes: Sequence[Waiting]) -> Values:
    return _one(max((lane.oldest_s for lane in lanes), default=0.0))


READINGS = (
    Reading(
        name="surfaces_info",
        help="The version of the host.",
        labels=("version",),
        read=lambda _: [([version("surfaces-core")], 1)],
    ),
    Reading(name="surfaces_ready", help="1 when /readyz answers 200.", read=lambda view: _one(view.report.ready)),
    Reading(
        name="surfaces_held",
        help="1 when surfaces are held: nothing is taken in or sent until an operator resumes; /readyz says why.",
        read=lambda view: _one(bool(view.report.held)),
    ),
    Reading(
        name="surfaces_registry_refused",
        help="1 when a changed agent registry was refused and the old one is in use; /readyz says why.",
        read=lambda view: _one(bool(view.report.registry)),
    ),
    Reading(
        name="surfaces_surface_connected",
        help="1 when the messenger of a surface takes and gives messages.",
        labels=("surface",),
        read=lambda view: [([name], state.connected) for name, state in view.report.surfaces.items()],
    ),
    Reading(
        name="surfaces_agents_down",
        help="Agents that could not be reached when they were last tried.",
        read=lambda view: _one(len(view.report.agents_down)),
    ),
    Reading(
        name="surfaces_inbox_depth",
        help="Messages that are stored and not done, those that are worked on included.",
        read=lambda view: _depth(view.inbox),
    ),
    Reading(
        name="surfaces_inbox_oldest_seconds",
        help="Age of the oldest message in the inbox.",
        read=lambda view: _oldest(view.inbox),
    ),
    Reading(
        name="surfaces_outbox_depth",
        help="Parts of answers that are stored and do not show yet.",
        read=lambda view: _depth(view.outbox),
    ),
    Reading(
        name="surfaces_outbox_oldest_seconds",
        help="Age of the oldest part in the outbox.",
        read=lambda view: _oldest(view.outbox),
    ),
    Reading(
        name="surfaces_dead_letters",
        help="Messages and parts of answers that were given up and are kept.",
        read=lambda view: _one(view.report.dead_letters),
    ),
    Reading(
        name="surfaces_loop_lag_seconds",
        help="How late the event loop was at its worst in the last quarter of a minute.",
        read=lambda view: _one(view.pulse.lag_s),
    ),
    Reading(
        name="surfaces_loop_stalled_seconds",
        help="Time lost because the event loop was late by more than a tenth of a second.",
        counts=True,
        read=lambda view: _one(view.pulse.stalled_s),
    ),
)


class Codes:
    """The values of a label that come from outside: few, and short."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, code: str) -> str:
        """The code itself, or `OTHER`."""
        if code not in self._known:
            if len(self._known) >= CODES or not re.fullmatch(r"\w{1,40}", code, re.ASCII):
                return "OTHER"
            self._known.add(code)
        return code


class Metrics:
    """All metrics of one host."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, view: Callable[[], View]) -> None:
        self._registry = registry = CollectorRegistry()
        self._reasons, self._causes = Codes(), Codes()
        self._turn_seconds = Histogram(
            "surfaces_turn_seconds",
            "How long the last try of a turn took, until its answer was stored.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._turns = Counter("surfaces_turns_total", "Turns that are over.", ["outcome"], registry=registry)
        self._retries = Counter(
            "surfaces_retries_total",
            "Tries of a turn, or of sending a part of an answer, that were put off, by the code of the failure.",
            ["reason"],
            registry=registry,
        )
        self._received = Counter(
            "surfaces_received_total", "What came from messengers and was stored.", ["kind"], registry=registry
        )
        self._gaps = Counter(
            "surfaces_gaps_total", "Times that messages were passed over for good.", ["cause"], registry=registry
        )
        self._reconciled = Gauge(
            "surfaces_reconciled",
            "Conversations in the last look at what a messenger shows: `rooms_seen`, `restored`, `repaired`, "
            "`unchanged`, `skipped` and `conflicts`, the last two with a reason each.",
            ["surface", "result", "reason"],
            registry=registry,
        )
        self._delivered = Counter(
            "surfaces_delivered_total", "Parts of answers that messengers took.", registry=registry
        )
        for outcome in OUTCOMES:
            self._turns.labels(outcome)
        for kind in Kind:
            self._received.labels(kind.value)
        registry.register(_Now(view))
        PlatformCollector(registry=registry)
        ProcessCollector(registry=registry)

    def observe(self, event: Observed) -> None:
        """Count what happened."""
        match event:
            case TurnEnded(outcome=outcome, seconds=seconds):
                self._turns.labels(outcome).inc()
                self._turn_seconds.observe(seconds)
            case Postponed(reason=reason):
                self._retries.labels(self._reasons(reason)).inc()
            case Accepted(message=message):
                self._received.labels(message.kind.value).inc()
                if message.kind is Kind.GAP:
                    self._gaps.labels(self._causes(message.cause or "PASSED_OVER")).inc()
            case Delivered():
                self._delivered.inc()
            case _:
                pass

    def reconciled(
        self,
        surface: str,
        result: Reconciled,
        rooms_seen: int,
        skipped: Mapping[str, int],
        conflicts: Mapping[str, int],
    ) -> None:
        """Show the last look at what a messenger shows; of the one before nothing is left."""
        self._reconciled.remove_by_labels({"surface": surface})
        counts = {
            "rooms_seen": {"": rooms_seen},
            "restored": {"": result.restored},
            "repaired": {"": result.repaired},
            "unchanged": {"": result.unchanged},
            "skipped": skipped or {"": 0},
            "conflicts": conflicts or {"": 0},
        }
        for name, by_reason in counts.items():
            for reason, count in by_reason.items():
                self._reconciled.labels(surface, name, self._reasons(reason) if reason else "").set(count)

    def text(self) -> bytes:
        """Everything, as `content_type` says."""
        return generate_latest(self._registry)


class _Now(Collector):
    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        view = self._view()
        for reading in READINGS:
            yield reading.family(view)
