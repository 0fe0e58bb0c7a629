"""Limits for each person, over all their conversations: how fast they may write, how much may wait and run.

Nothing of it is durable: after a restart everybody begins with an empty account.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.spots import Spot
from surfaces_core.events import Inbound

MINUTE_S = 60.0
BURST_S = 60.0
"""What is declined after so long without another is another burst."""
MOST_KEPT = 100
"""Declined messages of one burst that are kept as dead letters; of a flood the first ones say enough."""
MOST_PEOPLE = 10_000
"""Beyond so many, those who wrote nothing lately are forgotten."""
LOOK_AGAIN_S = 5.0
"""At the latest then a lane that waits for its person's other turns looks again."""


@dataclass(slots=True)
class _Person:
    came: deque[float] = field(default_factory=deque)
    """When the messages of the last minute were sent, as far as that can be believed."""
    waiting: int = 0
    running: set[Spot] = field(default_factory=set)
    parked: deque[Spot] = field(default_factory=deque)
    declined: Counter[str] = field(default_factory=Counter)
    """How many in this burst, by reason."""
    declined_at: float = 0.0

    def is_idle(self, now: float) -> bool:
        """Nothing would change if this were forgotten."""
        busy = self.waiting or self.running or self.parked
        return not busy and (not self.came or self.came[-1] < now - MINUTE_S) and self.declined_at < now - BURST_S


class Limits:
    """What each person may do right now."""

    def __init__(self, settings: HostSettings, now: Callable[[], float], wake: Callable[[Hashable], object]) -> None:
        self._limits = settings.limits
        self._operators = settings.operators
        self._now = now
        self._wake = wake
        self._people: dict[tuple[str, str], _Person] = {}

    def _of(self, message: Inbound) -> _Person:
        key = (message.address.surface, message.sender)
        person = self._people.get(key)
        if person is None:
            if len(self._people) >= MOST_PEOPLE:
                now = self._now()
                self._people = {name: one for name, one in self._people.items() if not one.is_idle(now)}
            person = self._people[key] = _Person()
        return person

    # How fast, and how much

    def admit(self, message: Inbound) -> str:
        """Why a message that came is one too many, as a stable word; empty when it is not.

        What counts is when it was sent: what was said over an hour and is read at once was not said at once. But
        nothing was sent later than now, or earlier than what came before it.
        """
        person, limit = self._of(message), self._limits.messages_per_minute
        if limit is None or message.sender in self._operators:
            return ""
        sent = min(message.sent_at, self._now())
        if person.came:
            sent = max(sent, person.came[-1])
        while person.came and person.came[0] <= sent - MINUTE_S:
            person.came.popleft()
        if len(person.came) >= limit:
            return "TOO_FAST"
        person.came.append(sent)
        return ""

    def is_full(self, message: Inbound, coming: int) -> bool:
        """Whether a person has as much waiting as they may, `coming` of the same batch included."""
        limit = self._limits.queue_depth
        if limit is None or message.sender in self._operators:
            return False
        return self._of(message).waiting + coming >= limit

    def came(self, message: Inbound) -> None:
        """A message waits."""
        self._of(message).waiting += 1

    def done(self, message: Inbound) -> None:
        """It is done."""
        self._of(message).waiting -= 1

    def waiting(self, message: Inbound) -> int:
        """How many messages of a person are not done."""
        return self._of(message).waiting

    def seconds(self, message: Inbound) -> int:
        """After how many seconds a person may write again."""
        came = self._of(message).came
        return max(1, math.ceil(came[0] + MINUTE_S - self._now())) if came else 1

    def declined(self, message: Inbound, reason: str) -> tuple[bool, bool]:
        """Count what is declined: whether to say so, which is done once a burst, and whether to keep the message."""
        person, now = self._of(message), self._now()
        if not 0 <= now - person.declined_at < BURST_S:
            person.declined.clear()
        person.declined_at = now
        person.declined[reason] += 1
        return person.declined[reason] == 1, person.declined.total() <= MOST_KEPT

    # How many turns at the same time

    def has_place(self, message: Inbound) -> bool:
        """Whether another turn of a person may begin."""
        limit = self._limits.concurrent_turns
        return limit is None or message.sender in self._operators or len(self._of(message).running) < limit

    def enter(self, message: Inbound) -> bool:
        """Take a place for a turn; False when the lane has to wait, which is woken when there is one."""
        person, spot = self._of(message), Spot.of(message)
        if self.has_place(message):
            person.running.add(spot)
            return True
        if spot not in person.parked:
            person.parked.append(spot)
        return False

    def leave(self, message: Inbound) -> None:
        """Give the place back."""
        person, spot = self._of(message), Spot.of(message)
        if spot in person.running:
            person.running.discard(spot)
            if person.parked:
                self._wake(person.parked.popleft())
