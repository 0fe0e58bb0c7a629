"""Owns how what comes from elsewhere may look on a terminal: never with a control character of its own."""

from __future__ import annotations

import io
import re
from functools import lru_cache

LONGEST_DRAFT = 6000
"""Characters of a running answer that are drawn, the last ones."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""All that a terminal obeys, and what turns the direction of a line; not tab and newline."""
SGR = re.compile("\x1b\\[[0-9;]*m")
DECODED = re.compile(CONTROL.pattern.replace("\x0b-\x1f", "\x0b-\x1a\x1c-\x1f"))
"""The same where colours are already, each behind an ESC: Markdown can write a character as its number."""
LINK = re.compile(r"\[((?:[^\]\\]|\\.)*)\]\(chat:(\d+)\)")


def clean(text: str) -> str:
    """A text without what a terminal would obey."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def clean_line(text: str) -> str:
    """The same on one line."""
    return " ".join(clean(text).split())


def with_ways(markdown: str) -> str:
    """A text whose links to conversations say how to go there."""
    return LINK.sub(r"\1 (`/chat \2`)", markdown)


def drawn(markdown: str, width: int, *, quiet: bool = False, colours: bool = True) -> str:
    """Markdown with the colours of a terminal, in lines of some width. `quiet`: the host says it."""
    from rich.console import Console  # only who shows something waits for it
    from rich.markdown import Markdown

    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=True,
        width=max(20, width),
        color_system="256" if colours else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    text = with_ways(clean(markdown)).replace("\t", "    ")
    console.print(Markdown(text, hyperlinks=False, style="bright_black" if quiet else "none"))
    shown = DECODED.sub("\N{REPLACEMENT CHARACTER}", out.getvalue())
    lines = [line.rstrip() for line in shown.split("\n")]
    seen = [number for number, line in enumerate(lines) if SGR.sub("", line).strip()]
    return "\n".join(lines[seen[0] : seen[-1] + 1]) if seen else ""


@lru_cache(maxsize=4)
def drawn_draft(markdown: str, width: int, height: int, *, colours: bool = True) -> str:
    """The end of a running answer, in at most so many lines."""
    tail = markdown[-LONGEST_DRAFT:]
    return "\n".join(drawn(tail, width, colours=colours).split("\n")[-height:]) if tail.strip() else ""
