"""Draws the pictures of the documents that are no screenshots, as SVG that needs nothing else to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

_STYLE = """
  .paper { fill: #ffffff } .box { fill: #f3f5f9; stroke: #8a94a6 } .host { fill: #e4efff; stroke: #2563eb }
  .kept { fill: #fdf3d8; stroke: #b7791f } .line { stroke: #5b6475; fill: none } .tip { fill: #5b6475 }
  text { fill: #1c2430; font: 15px system-ui, sans-serif; text-anchor: middle }
  .small { font-size: 13px; fill: #4a5363 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #171b22 } .box { fill: #232a35; stroke: #7b8698 } .host { fill: #17294a; stroke: #6ea0ff }
    .kept { fill: #3a2f14; stroke: #d9a441 } .line { stroke: #a3adbd } .tip { fill: #a3adbd }
    text { fill: #e8ecf2 } .small { fill: #b6bfcc }
  }"""
_WIDTH = 600


def _drawing(title: str, height: int, shapes: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}\n</style>",
            '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto-start-reverse">',
            '<path class="tip" d="M0,0 L9,4 L0,8 z"/></marker></defs>',
            f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="10"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'


def _box(x: float, y: float, width: float, kind: str, name: str, *small: str) -> Iterator[str]:
    """A box as high as its lines: a name and what is said about it."""
    yield f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{32 + 18 * len(small)}" rx="7"/>'
    yield _text(x + width / 2, y + 22, name)
    yield from (_text(x + width / 2, y + 41 + 18 * row, line, "small") for row, line in enumerate(small))


def _arrow(x: float, y: float, to_x: float, to_y: float, dashed: bool = False, both: bool = False) -> str:
    more = (' stroke-dasharray="5 4"' if dashed else "") + (' marker-start="url(#tip)"' if both else "")
    return f'<path class="line" d="M{x:g},{y:g} L{to_x:g},{to_y:g}" marker-end="url(#tip)"{more}/>'


def architecture() -> str:
    """What stands around the host."""
    shapes = [_text(85, 30, "people", "small"), _text(300, 30, "the host", "small"), _text(515, 30, "agents", "small")]
    shapes += _box(15, 70, 140, "box", "Matrix", "surface matrix")
    shapes += _box(15, 170, 140, "box", "a terminal", "surface terminal")
    shapes += ['<rect class="host" x="200" y="45" width="200" height="225" rx="9"/>']
    shapes += _box(215, 60, 170, "kept", "journal", "every message, stored")
    shapes += _box(215, 136, 170, "box", "lanes and turns", "in order, side by side")
    shapes += _box(215, 204, 170, "kept", "outbox", "every answer, stored")
    shapes += _box(445, 60, 140, "box", "your agents", "transport agent_api")
    shapes += _box(445, 130, 140, "box", "language models", "transport llm", "and tools")
    shapes += _box(445, 218, 140, "box", "an echo", "transport echo")
    shapes += [_arrow(158, y, 197, y, both=True) for y in (95, 195)]
    shapes += [_arrow(403, y, 442, y, both=True) for y in (85, 164, 243)]
    shapes += [_arrow(300, 112, 300, 133), _arrow(300, 188, 300, 201)]
    shapes += _box(15, 315, 180, "box", "storage", "SQLite, PostgreSQL, Redis")
    shapes += _box(210, 315, 180, "box", "files", "a folder that both share")
    shapes += _box(405, 315, 180, "box", "hooks", "commands, refusals")
    shapes += [_arrow(x, 273, to_x, 312, both=True) for x, to_x in ((230, 105), (300, 300), (370, 495))]
    return _drawing("The host between messengers and agents, and what else is plugged in", 380, shapes)


_STEPS = (
    ("messenger", "host", "a message"),
    ("host", "host", "stored: the message and how far was read"),
    ("host", "agent", "the question"),
    ("agent", "host", "the answer, piece by piece"),
    ("host", "messenger", "a draft, edited as it grows; may be lost"),
    ("agent", "host", "the end"),
    ("host", "host", "stored: the answer, in the place of the question"),
    ("host", "messenger", "the answer, for good"),
    ("messenger", "host", "it shows"),
    ("host", "host", "stored: that it shows"),
)
"""The way of a message: from, to, what. From and to alike is a transaction of the storage."""


def message() -> str:
    """The way of a message, from top to bottom."""
    places = {"messenger": 85, "host": 320, "agent": 530}
    bottom = 78 + 46 * len(_STEPS)
    shapes = [_arrow(x, 50, x, bottom, dashed=True) for x in places.values()]
    for name, x in places.items():
        shapes += _box(x - 60, 15, 120, "host" if name == "host" else "box", name)
    for row, (start, end, words) in enumerate(_STEPS):
        y = 84 + 46 * row
        if start == end:
            shapes += [f'<rect class="kept" x="145" y="{y - 12}" width="350" height="30" rx="7"/>']
            shapes += [_text(320, y + 8, words, "small")]
            continue
        middle = (places[start] + places[end]) / 2
        shapes += [_text(middle, y, words, "small"), _arrow(places[start], y + 9, places[end], y + 9)]
    return _drawing("A message is stored before it is worked on, and its answer before it is sent", bottom + 15, shapes)
