"""Messages that are too much: which they are when they come, and what their person hears about it."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.calls import Calls
from surfaces_core._engine.journal import Entry
from surfaces_core._engine.lanes import Lanes
from surfaces_core._engine.limits import Limits
from surfaces_core._engine.spots import Spot
from surfaces_core._engine.work import Outcome, Say
from surfaces_core.events import Inbound, Kind


class Declines:
    """Declines messages, by the depth of their lane and the limits of their person."""

    def __init__(
        self, max_lane_depth: int, limits: Limits, lanes: Lanes[Entry], calls: Calls, log: FilteringBoundLogger
    ) -> None:
        self._max_lane_depth = max_lane_depth
        self._limits = limits
        self._lanes = lanes
        self._calls = calls
        self._log = log
        self._told_full: set[Spot] = set()
        """Where it was said that a lane is full, since it was last caught up with."""

    def caught_up(self, spot: Spot) -> None:
        """What was too much in a lane is answered: the next time is another time."""
        self._told_full.discard(spot)

    def reason(self, message: Inbound, coming: int, of_person: int) -> str:
        """Why a message is declined; the numbers say how many come before it, in its lane and of its person."""
        command = self._calls.parse(message)[0]
        if message.kind is not Kind.MESSAGE or (command is not None and command.urgent):
            return ""
        if command is None and self._lanes.depth(Spot.of(message)) + coming >= self._max_lane_depth:
            return "LANE_FULL"
        if command is None and self._limits.is_full(message, of_person):
            return "TOO_MANY_WAITING"
        return self._limits.admit(message)

    def outcome(self, message: Inbound, reason: str) -> Outcome:
        """What it comes to: said once a burst, and kept, as far as a flood can be."""
        tell, keep = self._limits.declined(message, reason)
        if reason == "LANE_FULL":
            tell = self._is_first(Spot.of(message))
        says = [Say(text=self._line(message, reason))] if tell else []
        if keep:
            return Outcome(says=says, kind="dead", dead=reason)
        self._log.warning("message.declined", reason=reason)
        return Outcome(says=says, kind="refused")

    def _is_first(self, spot: Spot) -> bool:
        first = spot not in self._told_full
        self._told_full.add(spot)
        return first

    def _line(self, message: Inbound, reason: str) -> str:
        match reason:
            case "LANE_FULL":
                return words.LANE_FULL(self._lanes.depth(Spot.of(message)))
            case "TOO_MANY_WAITING":
                return words.TOO_MANY_WAITING(self._limits.waiting(message))
            case _:
                return words.TOO_FAST(self._limits.seconds(message))
