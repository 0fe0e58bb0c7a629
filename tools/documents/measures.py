"""The page of metrics: what a host with one surface and one event of each kind says of itself."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from surfaces_core._operating.health import Report, StorageState, SurfaceState
from surfaces_core._operating.metrics import CODES, Metrics, View
from surfaces_core._operating.pulse import Pulse
from surfaces_core.events import Accepted, Address, Inbound, Kind, Observed, Postponed, TurnEnded
from tools.documents.parts import GENERATED, Page, table

HERE = Address(surface="x", conversation="x")
SUFFIXES = {"counter": "_total"}
OURS = "surfaces_"


def metrics_page() -> Page:
    """Every metric there is."""
    yield from ("# Metrics", "", GENERATED, "")
    yield "`GET /metrics` on `ops.listen` answers in the text format of Prometheus. Labels are names that the config"
    yield f"gives, or codes; of codes {CODES} are told apart in each metric and further ones count as `OTHER`. No"
    yield "conversation and no person is ever a label."
    yield ""
    families = _families()
    yield from table(("metric", "type", "labels", "meaning"), *(_row(one) for one in families if _is_ours(one)))
    yield from ("## Of the process", "")
    yield from table(("metric", "type", "labels", "meaning"), *(_row(one) for one in families if not _is_ours(one)))


def _families() -> list[Metric]:
    metrics = Metrics(lambda: _VIEW)
    events: list[Observed] = [
        TurnEnded(turn="x", address=HERE, outcome="answered", seconds=1.0),
        Postponed(turn="x", address=HERE, part=None, reason="X", tries=1, wait_s=1.0),
        Accepted(
            message=Inbound(address=HERE, event_id="x", sender="x", sent_at=0.0, kind=Kind.GAP, cause="X"), turn="x"
        ),
    ]
    for event in events:
        metrics.observe(event)
    return sorted(text_string_to_metric_families(metrics.text().decode()), key=lambda family: family.name)


def _is_ours(family: Metric) -> bool:
    return family.name.startswith(OURS)


def _row(family: Metric) -> tuple[str, str, str, str]:
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    name = f"{family.name}{SUFFIXES.get(family.type, '')}"
    return f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation


_VIEW = View(
    report=Report(
        ready=True,
        stopping=False,
        storage=StorageState(),
        loop_lag_s=0.0,
        surfaces={"x": SurfaceState(connected=True, admits=True, decrypts=None, exchanged_s=0, outbox=0, reasons=())},
        agents_down=(),
        inbox=0,
        outbox=0,
        dead_letters=0,
        reasons=(),
    ),
    inbox=(),
    outbox=(),
    pulse=Pulse(),
)
