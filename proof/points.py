"""Where a life can end: at a kill point of the host, at a request to the homeserver, at a word with the agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from surfaces_core._engine.killpoints import POINTS

REQUESTS = (
    "account_data",
    "account_data.put",
    "createRoom",
    "download",
    "invite",
    "join",
    "login",
    "members",
    "messages",
    "profile",
    "receipt",
    "send",
    "state.get",
    "state.put",
    "sync",
    "typing",
    "upload",
)
"""Everything that a host asks of the homeserver in a life without trouble."""
WHEN_SLOW = ("event", "unknown", "whoami")
"""Asked where something takes long or is not offered; not in every life."""
MOMENTS = ("agent.connect", "agent.ask", "agent.frame")
"""An agent is connected to, is asked something, says something."""
SIDES = ("before", "after")


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a life ends."""

    name: str
    """A kill point of the host, an endpoint of the homeserver, or a moment at the agent."""
    count: int
    """The how many-th time in this life."""
    side: str = ""
    """Not at a kill point: `before` or `after` it is done."""
    text: str = ""
    """Of `agent.ask`: at which question. Then `count` is how many frames of its answer are sent first."""
    draft: bool = False
    """Then also a draft shows first."""

    def __str__(self) -> str:
        draft = "draft" if self.draft else ""
        return "-".join(filter(None, (self.name, self.side, self.text.replace(" ", "_"), str(self.count), draft)))

    @property
    def earlier(self) -> Point | None:
        """The same, one time earlier."""
        return replace(self, count=self.count - 1) if self.count > 1 else None


Counts = Mapping[str, int]
"""How often a life comes to each name."""


def spread(count: int, most: int | None) -> Sequence[int]:
    """Which occurrences are swept: all, or a few from the first to the last."""
    if most is None or count <= most:
        return range(1, count + 1)
    if most == 1:
        return [(count + 1) // 2]
    return [1 + round(step * (count - 1) / (most - 1)) for step in range(most)]


NAMES = (*POINTS, *REQUESTS, *MOMENTS)
"""All names of points."""


def catalogue(counts: Counts, most: int | None, names: Sequence[str] = NAMES) -> Iterator[Point]:
    """All points that a life of that kind comes to, at most so many occurrences of each."""
    for name in names:
        for count in spread(counts.get(name, 0), most):
            for side in SIDES if name not in POINTS else ("",):
                yield Point(name=name, count=count, side=side)
