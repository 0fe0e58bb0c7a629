"""Owns the question whether a tool may be used: it shows exactly what would happen, and nothing else."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from surfaces_llm import words

LONGEST = 1_500
"""Characters of arguments that are shown."""
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Cn")
"""Characters that don't show, or that turn around what does."""


def question(tool: str, arguments: Any, number: int, digest: str) -> str:
    """The question, in Markdown. The same call of the same turn is always asked about in the same words."""
    shown = visible(json.dumps(arguments, indent=2, sort_keys=True, ensure_ascii=False))
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    reference = f"{number}-{digest[:12]}"
    if len(shown) <= LONGEST:
        return words.MAY_I(tool=tool, arguments=f"{fence}json\n{shown}\n{fence}", reference=reference)
    begun = f"{fence}\n{shown[:LONGEST]}\n{fence}"
    return words.MAY_I_LONG(
        tool=tool, arguments=begun, shown=LONGEST, length=len(shown), digest=digest, reference=reference
    )


def visible(text: str) -> str:
    """A text in which every character shows: what would not is written as its number."""
    return "".join(
        f"\\u{ord(char):04x}" if char != "\n" and unicodedata.category(char) in HIDDEN else char for char in text
    )
