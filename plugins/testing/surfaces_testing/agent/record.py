"""The ground truth for tests: who connected and what was asked, when, and how often work was done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from surfaces_testing.agent.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """One connection that came in, whatever became of it."""

    at: float
    """Monotonic seconds."""
    context: str
    """Empty where it did not come to that."""
    number: int
    fault: str = ""
    """What was made to go wrong with the upgrade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One frame of a host."""

    at: float
    """Monotonic seconds."""
    context: str
    connection: int
    frame: Json
    fault: str = ""
    """What was made to go wrong with the answer."""


@dataclass(slots=True)
class Record:
    """Everything, oldest first."""

    connections: list[Connected] = field(default_factory=list)
    frames: list[Received] = field(default_factory=list)
    work: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often the work of a question was done, by context and text. More than once is what message ids prevent."""

    def questions(self, context: str | None = None) -> list[Received]:
        """Every `USER_MESSAGE`, repeats included."""
        asked = [got for got in self.frames if got.frame.get("type") == "USER_MESSAGE"]
        return [got for got in asked if context in (None, got.context)]

    def texts(self, context: str | None = None) -> list[str]:
        """What was asked, repeats included."""
        return [str(got.frame.get("text")) for got in self.questions(context)]

    def repeats(self) -> Counter[tuple[str, str]]:
        """Message ids that came more than once, by context and id."""
        ids = Counter(
            (got.context, str(got.frame["message_id"])) for got in self.questions() if "message_id" in got.frame
        )
        return Counter({key: count for key, count in ids.items() if count > 1})

    def busiest_second(self, since: float = 0.0) -> int:
        """The most connections that came within one second."""
        return busiest_second([made.at for made in self.connections if made.at >= since])


def busiest_second(times: list[float]) -> int:
    """The most of some moments that lie within one second."""
    return max((sum(start <= at < start + 1 for at in times[i:]) for i, start in enumerate(times)), default=0)
