"""Decides who may talk to the bot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate


class People:
    """The allowed people; patterns know `*`, `?` and `[…]` and must match the whole user id."""

    def __init__(self, allow: Sequence[str], deny: Sequence[str] = ()) -> None:
        self._allow = _one(allow)
        self._deny = _one(deny)

    def allowed(self, user_id: str) -> bool:
        """May this person talk to the bot? Denial wins."""
        return self._allow.fullmatch(user_id) is not None and self._deny.fullmatch(user_id) is None


def _one(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")
