"""Whether people are served, and if not, why and what to do: one value, made of what the parts of a host know.

Served means: every surface is connected and lets people in, the state can be written, no message waits for
us longer than `LONG_S`, and the agents that people have answer. It holds nothing that anybody said, no
secret, and no name of a person or of a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from surfaces_core._engine.gate import Trouble
from surfaces_core._engine.peers import Record
from surfaces_core._operating.health import LATE_S, Report, SurfaceState
from surfaces_core._operating.looks import Look
from surfaces_core._operating.queue import Waiting

LONG_S = 60.0
"""A message that nobody began with, or an answer that does not show, for longer than this is late because of us."""
FAILURES = 3
"""An agent whose last turns all failed, this many in a row, serves nobody."""
LITTLE_MIB = 200
"""With less room than this the disk is full soon."""
MOST_AGENTS = 50
"""Agents that are listed, the worst first."""

State = Literal["served", "degraded", "not served"]
Answers = Literal["yes", "no", "failing", "unknown"]
"""It answered or was looked at; it cannot be reached; its last turns failed; nobody asked it yet."""
WORST_FIRST: Sequence[Answers] = ("no", "failing", "unknown", "yes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Something that is not as it should be."""

    problem: str
    remedy: str
    fatal: bool = False
    """Because of it nobody is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What is known of one agent."""

    record: Record = field(default_factory=Record)
    down: Trouble | None = None
    look: Look | None = None
    lanes: Sequence[Waiting] = ()
    """What waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a verdict is made of."""

    now: float
    """Unix seconds."""
    started_at: float
    version: str
    report: Report
    inbox: Sequence[Waiting]
    outbox: Sequence[Waiting]
    agents: Mapping[str, AgentFacts]
    """Those that people have."""
    free_mib: int | None
    """Room beside the state, where it is kept in a folder."""
    resident_mib: int
    measured: bool
    """Whether the loop's lag is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """How an agent is."""

    id: str
    answers: Answers
    answered_s: float | None
    """Seconds since its last answer."""
    failure: str
    """The code of its last failure."""
    failed_s: float | None
    running: int
    waiting: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The host on one page."""

    state: State
    verdict: str
    reasons: Sequence[Why]
    surfaces: Mapping[str, SurfaceState]
    agents: Sequence[AgentRow]
    agents_left_out: int
    """Agents that are not listed."""
    inbox: int
    inbox_oldest_s: float
    outbox: int
    outbox_oldest_s: float
    dead_letters: int
    writable: bool
    write_s: float | None
    free_mib: int | None
    loop_lag_s: float | None
    resident_mib: int
    version: str
    uptime_s: float

    def as_json(self) -> dict[str, object]:
        """For the control socket."""
        return asdict(self)


def overview(facts: Facts) -> Standing:
    """Judge a host by what is known of it."""
    rows = sorted(
        (_agent(name, agent, facts.now) for name, agent in facts.agents.items()),
        key=lambda row: (WORST_FIRST.index(row.answers), -row.oldest_s, row.id),
    )
    reasons = sorted(
        [*_own(facts), *_surfaces(facts.report), *_agents(rows), *_late(facts)], key=lambda why: not why.fatal
    )
    state = _state(reasons)
    return Standing(
        state=state,
        verdict=_verdict(state, reasons),
        reasons=reasons,
        surfaces=facts.report.surfaces,
        agents=rows[:MOST_AGENTS],
        agents_left_out=max(0, len(rows) - MOST_AGENTS),
        inbox=sum(lane.depth for lane in facts.inbox),
        inbox_oldest_s=_oldest(facts.inbox),
        outbox=sum(lane.depth for lane in facts.outbox),
        outbox_oldest_s=_oldest(facts.outbox),
        dead_letters=facts.report.dead_letters,
        writable=facts.report.storage.writable,
        write_s=facts.report.storage.write_s,
        free_mib=facts.free_mib,
        loop_lag_s=facts.report.loop_lag_s if facts.measured else None,
        resident_mib=facts.resident_mib,
        version=facts.version,
        uptime_s=round(facts.now - facts.started_at, 1),
    )


def _state(reasons: Sequence[Why]) -> State:
    if any(why.fatal for why in reasons):
        return "not served"
    return "degraded" if reasons else "served"


def _verdict(state: State, reasons: Sequence[Why]) -> str:
    if state == "served":
        return "Users are being served."
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{'Degraded' if state == 'degraded' else 'Not served'}: {reasons[0].problem}{more}."


def _oldest(lanes: Sequence[Waiting]) -> float:
    return round(max((lane.oldest_s for lane in lanes), default=0.0), 1)


# Why not ------------------------------------------------------------------------------------------


def _own(facts: Facts) -> Iterator[Why]:
    report = facts.report
    if report.held:
        remedy = "mend it and call `surfaces resume`, or `surfaces rollback`; nothing is lost meanwhile"
        yield Why(problem=f"the host is held: {report.held}", remedy=remedy, fatal=True)
    if report.stopping:
        yield Why(problem="the host is stopping", remedy="wait until it runs again, or start it", fatal=True)
    if not report.storage.writable:
        remedy = "make room, or give the host's user the folder of the state; nothing is lost meanwhile"
        yield Why(problem=f"the state cannot be written: {report.storage.problem}", remedy=remedy, fatal=True)
    if report.registry:
        problem = f"the registry was refused: {report.registry}; the old one is in use"
        yield Why(problem=problem, remedy="correct it: the host takes it up by itself; `surfaces check` names the rest")
    if facts.free_mib is not None and facts.free_mib < LITTLE_MIB:
        yield Why(problem=f"only {facts.free_mib} MiB of disk are left", remedy="make room on the disk of the state")
    if report.loop_lag_s > LATE_S:
        remedy = "see `loop.stalled` in the log, which names what holds it up"
        yield Why(problem=f"the event loop was {report.loop_lag_s:.1f} s late", remedy=remedy)


def _surfaces(report: Report) -> Iterator[Why]:
    usable = [name for name, state in report.surfaces.items() if state.connected and state.admits]
    for name, state in report.surfaces.items():
        reasons = state.reasons or ([] if state.connected else ["it is not connected"])
        for reason in reasons:
            fatal = not usable and not (state.connected and state.admits)
            yield Why(problem=f"{name}: {reason}", remedy=_surface_remedy(state), fatal=fatal)


def _surface_remedy(state: SurfaceState) -> str:
    if not state.connected:
        return "`surfaces check` says whether the messenger answers and takes the login; the host tries again by itself"
    if state.outbox:
        return "`surfaces queue` shows what waits to be sent; it is tried again"
    return "`surfaces check` says what to change in the config"


def _agents(rows: Sequence[AgentRow]) -> Iterator[Why]:
    bad = [row for row in rows if row.answers == "no" or row.answers == "failing"]
    fatal = len(bad) == len(rows)
    for row in bad[:3]:
        what = "cannot be reached" if row.answers == "no" else "fails every turn"
        code = f" ({row.failure})" if row.failure else ""
        remedy = f"start it, or correct its address; `surfaces check --agent {row.id}` looks at it"
        yield Why(problem=f"agent {row.id} {what}{code}", remedy=remedy, fatal=fatal)
    if len(bad) > 3:
        yield Why(problem=f"{len(bad) - 3} more agents do not answer", remedy="`surfaces check --agents`", fatal=fatal)


def _late(facts: Facts) -> Iterator[Why]:
    ours = [
        lane for lane in facts.inbox if lane.state in {"ready", "held"} and not lane.tries and lane.oldest_s > LONG_S
    ]
    if ours:
        problem = f"a message waits for {_oldest(ours):.0f} s and nobody has begun with it"
        yield Why(problem=problem, remedy="`surfaces queue` shows which; raise `host.max_concurrent_turns`")
    unsent = [lane for lane in facts.outbox if lane.oldest_s > LONG_S]
    if unsent:
        problem = f"an answer waits for {_oldest(unsent):.0f} s to be shown"
        yield Why(problem=problem, remedy="`surfaces queue` shows which and why; it is tried again")


# Agents -------------------------------------------------------------------------------------------


def _agent(name: str, facts: AgentFacts, now: float) -> AgentRow:
    record, look = facts.record, facts.look
    answers, seen = _answers(facts)
    failed = facts.down or record.trouble
    failure, failed_at = ("", None) if failed is None else (failed.code, failed.since)
    if answers == "no" and look is not None and look.at == seen:
        failure, failed_at = look.health.code, look.at
    return AgentRow(
        id=name,
        answers=answers,
        answered_s=_since(record.answered_at, now),
        failure=failure,
        failed_s=_since(failed_at, now),
        running=sum(lane.state == "running" for lane in facts.lanes),
        waiting=sum(lane.depth - (lane.state == "running") for lane in facts.lanes),
        oldest_s=_oldest(facts.lanes),
    )


def _answers(facts: AgentFacts) -> tuple[Answers, float]:
    """The newest that is known, and when that was."""
    record, look = facts.record, facts.look
    known: list[tuple[float, Answers]] = []
    if record.answered_at is not None:
        known.append((record.answered_at, "yes"))
    if look is not None and look.health.reachable is not None:
        known.append((look.at, "yes" if look.health.reachable else "no"))
    if facts.down is not None:
        known.append((record.trouble.since if record.trouble else facts.down.since, "no"))
    seen, answers = max(known, default=(0.0, "unknown"))
    if record.in_row >= FAILURES and answers != "no":
        return "failing", seen
    return answers, seen


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 1)
