"""Owns the question whether a tool may be used: it shows exactly what would happen, and nothing else."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from surfaces_llm import words

LONGEST = 1_500
"""Characters of arguments that are shown."""
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Cn", "Zs", "Me")
"""Kinds of characters that don't show, that turn around what does, or that are drawn over it."""
BLANK = re.compile(
    r"[\u034f\u0334-\u0338\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters, signs and marks of other kinds of which the same is true."""
GAP = 8
"""So many spaces show as such; of more each is a number, as they would push out of sight what follows."""


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
    numbered = re.sub(rf"(?<=\S) {{{GAP},}}", lambda gap: "\\u0020" * len(gap[0]), text)
    return "".join(f"\\u{ord(char):04x}" if _hidden(char) else char for char in numbered)


def _hidden(char: str) -> bool:
    return char not in "\n " and (BLANK.match(char) is not None or unicodedata.category(char) in HIDDEN)
