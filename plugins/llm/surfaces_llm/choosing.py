"""Owns which of an agent's models is asked, and in which order."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from surfaces_llm.settings import LlmOptions, ModelSettings


def order(
    options: LlmOptions, models: Mapping[str, ModelSettings], *, context: str, pictures: bool = False
) -> Sequence[str]:
    """The names of an agent's models as they are to be asked; one that sees comes first where there are pictures."""
    names = [name for name in options.model if name in models]
    if options.choose == "by_weight":
        names.sort(key=lambda name: _draw(context, name, models[name].weight))
    if pictures:
        names.sort(key=lambda name: not models[name].vision)  # keeps the order of those that are alike
    return names


def _draw(context: str, name: str, weight: float) -> float:
    """A number that is smallest for a model as often as its weight says, and always the same in a context."""
    digest = hashlib.sha256(f"{context}\0{name}".encode()).digest()
    even = (int.from_bytes(digest[:7]) + 1) / (1 << 56)
    return -math.log(even) / weight
