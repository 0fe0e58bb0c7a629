"""Reads JSON that may hold anything anywhere: what has the wrong shape counts as not there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Controls, and what turns the direction of the text behind it around; joiners stay, emoji are made with them."""
_USER_ID = re.compile(r"@[^:\x00-\x20\x7f]*:[^\x00-\x20\x7f]+")
_ROOM_ID = re.compile(r"![^\x00-\x20\x7f]+")
LONGEST_ID = 255
_NO_MAPPING: Mapping[str, Any] = {}


def mapping(value: object) -> Mapping[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else _NO_MAPPING


def sequence(value: object) -> Sequence[Any]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else ()


def text(value: object) -> str | None:
    """The string, or None for anything else and for an empty one."""
    return value if isinstance(value, str) and value else None


def user_id(value: object) -> str | None:
    """The id of a person (Matrix spec, "User identifiers"), or None for anything else."""
    return value if isinstance(value, str) and len(value) <= LONGEST_ID and _USER_ID.fullmatch(value) else None


def is_room_id(value: str) -> bool:
    """Whether this can be the id of a room (Matrix spec, "Room IDs")."""
    return len(value) <= LONGEST_ID and _ROOM_ID.fullmatch(value) is not None


def one_line(value: object, longest: int) -> str:
    """A name that people gave, fit to stand within a sentence; empty where there is none."""
    return " ".join(_UNSEEN.sub(" ", text(value) or "").split())[:longest].rstrip()


def seconds(value: object) -> float | None:
    """Unix seconds from a Matrix timestamp in milliseconds."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
        return value / 1000
    return None
