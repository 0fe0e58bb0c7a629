"""How the host is, and why it is not better: what supervisors are told, and one line in the log for each change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine.delivery import Delivery
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.gate import Trouble
from surfaces_core._engine.journal import Journal, key
from surfaces_core._operating.pulse import Pulse
from surfaces_core.contracts import Condition, Surface
from surfaces_core.errors import ConfigError, StateError, Unavailable

LATE_S = 1.0
"""A loop that is later than this makes everybody wait."""
TOO_LATE_S = 5.0
"""A loop that is later than this serves nobody: the host is not ready until it has been better for a while."""
PROBE_EVERY_S = 5.0
"""The state is written to for a probe at most this often."""
PROBE_PATIENCE_S = 2.0
MOST_AGENTS = 5
"""Agents that are named when many are down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceState:
    """One surface, as it says itself and as the host sees it."""

    connected: bool
    admits: bool
    decrypts: bool | None
    exchanged_s: float | None
    """Seconds since the last exchange with the messenger that went well."""
    outbox: int
    """Parts that wait to be sent."""
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageState:
    """The storage, as the last probe found it."""

    writable: bool = True
    write_s: float | None = None
    """How long it took."""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole host at one moment."""

    ready: bool
    """It takes messages in, answers them and can store what it must."""
    held: str = ""
    """Why it takes nothing in and sends nothing until an operator lets it; empty: it does."""
    stopping: bool
    storage: StorageState
    loop_lag_s: float
    surfaces: Mapping[str, SurfaceState]
    agents_down: Sequence[str]
    inbox: int
    outbox: int
    dead_letters: int
    reasons: Sequence[str]
    """A sentence for everything that is not as it should be, whether ready or not."""
    registry: str = ""
    """Why a changed registry is not in use, with its place; empty: it is."""

    def as_json(self) -> dict[str, object]:
        """For `/readyz`, where what is wrong with a registry is one of the reasons."""
        shown = asdict(self)
        del shown["registry"]
        return shown


class Health:
    """What is known of the parts of a host."""

    def __init__(
        self,
        *,
        journal: Journal,
        surfaces: Mapping[str, Surface],
        deliveries: Mapping[str, Delivery],
        agents_down: Mapping[str, Trouble],
        pulse: Pulse,
        waiting: Callable[[], int],
        stopping: Callable[[], bool],
        log: FilteringBoundLogger,
        held: str = "",
    ) -> None:
        self._journal = journal
        self._surfaces = surfaces
        self._deliveries = deliveries
        self._agents_down = agents_down
        self._pulse = pulse
        self._waiting = waiting
        self._stopping = stopping
        self._log = log
        self._held = held
        self._new = set(surfaces)
        """Surfaces that have not had their first exchange."""
        self._exchanged: dict[str, float] = {}
        """When each had its last one, on the monotonic clock."""
        self._lost: dict[str, Trouble] = {}
        self._buggy: set[str] = set()
        self._registry = ""
        """Why a changed one is not in use."""
        self._storage = StorageState()
        self._next_probe = 0.0

    # What is told to it

    def lost(self, surface: str, error: Unavailable) -> None:
        """A surface ended because its messenger is away."""
        if surface not in self._lost:
            self._lost[surface] = Trouble.of(error)
            self._log.warning("surface.down", surface=surface, code=error.code, error=str(error))

    def exchanged(self, surface: str) -> bool:
        """A surface had an exchange with its messenger; True when with this one every surface has had its first."""
        if self._lost.pop(surface, None) is not None:
            self._log.info("surface.back", surface=surface)
        self._exchanged[surface] = time.monotonic()
        first = surface in self._new
        self._new.discard(surface)
        return first and not self._new

    def registry(self, refused: ConfigError | None) -> None:
        """A changed registry was refused, or with None the one that stands there is in use."""
        self._registry = "" if refused is None else _refusal(refused)

    # What it tells

    async def probe(self) -> None:
        """Find out by writing whether the state can be written, unless that was found out just now."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._next_probe:
            return
        self._next_probe = began + PROBE_EVERY_S
        try:
            async with asyncio.timeout(PROBE_PATIENCE_S):
                await self._journal.write({key("meta", "probe"): str(int(self._journal.now())).encode()})
        except TimeoutError:
            problem = f"storing something small took more than {PROBE_PATIENCE_S:g} s"
            self._storage = StorageState(writable=False, problem=problem)
        except StateError as error:
            self._storage = StorageState(writable=False, problem=str(error))
        else:
            self._storage = StorageState(write_s=round(loop.time() - began, 4))

    def report(self) -> Report:
        """Everything, with the last probe of the storage."""
        surfaces = {name: self._surface(name) for name in self._surfaces}
        reasons = [f"{name}: {reason}" for name, state in surfaces.items() for reason in state.reasons]
        connected = all(state.connected for state in surfaces.values())
        return Report(
            ready=connected and self._storage.writable and not self._hindered(),
            held=self._held,
            stopping=self._stopping(),
            storage=self._storage,
            loop_lag_s=round(self._pulse.lag_s, 4),
            surfaces=surfaces,
            agents_down=list(self._agents_down),
            inbox=self._waiting(),
            outbox=sum(state.outbox for state in surfaces.values()),
            dead_letters=self._journal.dead,
            registry=self._registry,
            reasons=[*self._own_reasons(), *reasons, *self._agents()],
        )

    def _hindered(self) -> bool:
        """The host itself keeps people from being served."""
        return bool(self._held) or self._stopping() or self._pulse.lag_s >= TOO_LATE_S

    def _own_reasons(self) -> list[str]:
        reasons = {
            f"held: {self._held}": bool(self._held),
            "the host is stopping": self._stopping(),
            f"storage: {self._storage.problem}": not self._storage.writable,
            f"the registry was refused: {self._registry}; the old one is in use": bool(self._registry),
            f"the event loop was {self._pulse.lag_s:.1f} s late": self._pulse.lag_s > LATE_S,
        }
        return [reason for reason, holds in reasons.items() if holds]

    def _agents(self) -> list[str]:
        down = list(self._agents_down.items())
        reasons = [f"agent {agent} cannot be reached {_since(trouble)}" for agent, trouble in down[:MOST_AGENTS]]
        more = len(down) - len(reasons)
        return [*reasons, f"{more} more agents cannot be reached"] if more else reasons

    def _surface(self, name: str) -> SurfaceState:
        delivery, condition = self._deliveries[name], self._condition(name)
        reasons = []
        if name in self._lost:
            reasons.append(f"the messenger is away {_since(self._lost[name])}")
        elif name in self._new:
            reasons.append("there was no exchange with the messenger yet")
        if delivery.trouble is not None:
            reasons.append(f"sending fails {_since(delivery.trouble)}")
        exchanged = self._exchanged.get(name)
        known = name not in self._lost and name not in self._new and not delivery.away
        return SurfaceState(
            connected=condition.connected and known,
            admits=condition.admits,
            decrypts=condition.decrypts,
            exchanged_s=None if exchanged is None else round(time.monotonic() - exchanged, 1),
            outbox=len(delivery.lanes),
            reasons=[*reasons, *condition.reasons],
        )

    def _condition(self, name: str) -> Condition:
        try:
            with contained():
                return self._surfaces[name].condition()
        except Exception:  # noqa: BLE001 - what only looks must not end what works
            if name not in self._buggy:
                self._buggy.add(name)
                self._log.exception("surface.condition.bug", surface=name)
            return Condition(connected=False, reasons=("how it is cannot be told, because of a bug",))


def _refusal(error: ConfigError) -> str:
    """Without the keys that lead there: among them are people."""
    more = f" (and {len(error.others)} more)" if error.others else ""
    return f"{error.place}: {error.problem}{more}" if error.place else f"{error.problem}{more}"


def _since(trouble: Trouble) -> str:
    at = datetime.fromtimestamp(trouble.since, UTC)
    return f"since {at:%Y-%m-%dT%H:%M:%SZ} ({trouble.code})"
