"""The cursor that the host keeps for an account: the sync token, and what is needed when the token is good no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CLOCK_SKEW_S = 300.0
"""So much the homeserver's clock and ours may differ."""
BEFORE_S = 5.0
"""What was said so shortly before the very first start may be answered: clocks differ, and none may stay unanswered."""

_NUMBERED = re.compile(r"([a-z]?)([0-9]+)(?:_[0-9a-z_~.|-]*)?")


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Reach(_Kept):
    """How far back the messages of a room are to be read."""

    token: str
    """The sync token from which on nothing was read."""
    known: bool = True
    """The homeserver still knows the token; else times have to do."""
    at: float = 0.0
    """Unix seconds at which the token was the newest: what is older was read, a clock's error aside."""
    seen: float = 0.0
    """Unix seconds, by the homeserver's clock, of the newest message that was read."""
    began: float = 0.0
    """Unix seconds of the very first start; what was said before is not to be answered."""
    not_before: float = 0.0
    """Unix seconds; older messages are passed over."""

    @property
    def floor(self) -> float:
        """Unix seconds; older messages are not looked for."""
        if self.known:
            return self.not_before
        return max(self.not_before, self.began - BEFORE_S, self.at - CLOCK_SKEW_S)

    @property
    def seen_until(self) -> float:
        """Unix seconds; older messages that were not read now had been read before."""
        return 0.0 if self.known else max(self.began, min(self.seen, self.at))


class Hole(_Kept):
    """A room whose messages could not be read for some time."""

    reach: Reach
    since: float
    """Unix seconds of the first try that failed."""


class Position(_Kept):
    """A place in the homeserver's stream of everything."""

    token: str
    began: float = 0.0
    """Unix seconds of the very first start."""
    at: float = 0.0
    """Unix seconds of the response that ended here."""
    seen: float = 0.0
    """Unix seconds of the newest message that was read."""
    witness: tuple[str, str] | None = None
    """Room and event id of a message that is there, unless the homeserver went back to an earlier state."""
    holes: Mapping[str, Hole] = Field(default_factory=dict)
    """By room id: where messages before the token are still to be read."""

    @classmethod
    def read(cls, cursor: str) -> Self:
        """From the host's cursor; anything else is a token about which nothing more is known."""
        try:
            return cls.model_validate_json(cursor)
        except ValidationError:
            return cls(token=cursor)

    @property
    def cursor(self) -> str:
        """As the host keeps it."""
        return self.model_dump_json(exclude_defaults=True)


def went_back(token: str, following: str) -> bool:
    """Whether the token that follows another is an earlier one, as far as tokens tell.

    They mean nothing by the specification, but those of most homeservers begin with the number of the
    last event (`s72594_4483_1934`), and a number that falls says that events are gone.
    """
    before, after = _NUMBERED.fullmatch(token), _NUMBERED.fullmatch(following)
    return before is not None and after is not None and before[1] == after[1] and int(after[2]) < int(before[2])
