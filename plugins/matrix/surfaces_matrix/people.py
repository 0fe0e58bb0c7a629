"""Decides who may talk to the bot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate


class People:
    """The allowed people; patterns know `*`, `?` and `[…]` and must match the whole user id."""

    def __init__(self, allow: Sequence[str], deny: Sequence[str] = ()) -> None:
        self._patterns = tuple(allow)
        self._allow = _one(allow)
        self._deny = _one(deny)

    def allowed(self, user_id: str) -> bool:
        """May this person talk to the bot? Denial wins."""
        return self._allow.fullmatch(user_id) is not None and self._deny.fullmatch(user_id) is None

    def any_allowed(self) -> bool:
        """Whether there can be anybody who may: False when all those made up after the allowed patterns are denied."""
        return any("[" in pattern or self.allowed(_somebody(pattern)) for pattern in self._patterns)


def _somebody(pattern: str) -> str:
    return pattern.replace("*", "some-body.7").replace("?", "s")


def _one(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")
