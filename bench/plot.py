"""The figures as pictures: SVG without a library, in the colours of the reader's light or dark page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from math import log10

from bench.report import GROWTH, MESSAGE, NAMES, RESULTS, Figures, Results, Row, beside

STYLE = """
svg{font:13px system-ui,sans-serif} .back{fill:#fff} .ink{fill:#1f2430} .pale{fill:#667085} .rule{stroke:#d5d9e2}
.nio{--c:#8a94a6} .bare{--c:#b9a04a} .floor{--c:#2e9e6b} .surfaces{--c:#3b74e0} .surfaces_agent{--c:#d9622b}
.fill{fill:var(--c)} .line{stroke:var(--c);fill:none;stroke-width:2.2} .title{font-weight:600}
@media(prefers-color-scheme:dark){.back{fill:#1b1e26} .ink{fill:#e6e9f0} .pale{fill:#9aa3b5} .rule{stroke:#39404f}
.surfaces{--c:#6ea0ff} .surfaces_agent{--c:#f08a55} .floor{--c:#4bc48d}}
"""
WIDTH, MARGIN = 760, 20
BAR, STEP = 20, 28
PANEL_WIDTH, PANEL_HEIGHT = 350, 190
Growing = Mapping[str, Mapping[str, Figures]]


PICTURES: Mapping[str, Callable[[Results], str]] = {
    "bench-message.svg": lambda results: _message(beside(results)),
    "bench-rooms.svg": lambda results: _growth("rooms", results["rooms"]),
    "bench-agents.svg": lambda results: _growth("agents", results["agents"]),
}
"""What each file shows."""


def picture(name: str) -> str:
    """One of them, of the last results."""
    return PICTURES[name](json.loads(RESULTS.read_text()))


def _svg(height: float, title: str, *parts: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">'
    back = f'<rect class="back" width="{WIDTH}" height="{height:g}" rx="8"/>'
    return "\n".join([head, f"<title>{escape(title)}</title><style>{STYLE}</style>", back, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, kind: str = "ink", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _message(figures: Mapping[str, Figures]) -> str:
    parts, y = [], 0.0
    for row in MESSAGE[:3]:
        parts.append(_text(MARGIN, y + 32, row.title, "ink title"))
        parts += _bars(row, figures, y + 44)
        y += 54 + STEP * len(NAMES)
    return _svg(y + MARGIN / 2, "What one message costs", *parts)


def _bars(row: Row, figures: Mapping[str, Figures], y: float) -> Iterator[str]:
    """One for each column; the least is made of two."""
    left, most = 150, max(of[row.name] for of in figures.values())
    scale = (WIDTH - left - MARGIN - 80) / most
    for place, (name, of) in enumerate(figures.items()):
        top, x = y + place * STEP, float(left)
        yield _text(left - 10, top + 15, NAMES[name], "pale", "end")
        for piece in ("bare", "floor") if name == "least" else (name,):
            width = figures[piece][row.name] * scale
            yield f'<rect class="fill {piece}" x="{x:.1f}" y="{top:g}" width="{width:.1f}" height="{BAR}" rx="2"/>'
            x += width
        yield _text(round(x + 8, 1), top + 15, row.cell(of[row.name]))


def _growth(what: str, found: Growing) -> str:
    parts = [_text(MARGIN, 32, f"As {what} grow in number", "ink title")]
    x = 230.0
    for name in found:
        parts.append(f'<rect class="fill {name}" x="{x:g}" y="22" width="12" height="12" rx="2"/>')
        parts.append(_text(x + 18, 32, NAMES[name], "pale"))
        x += 40 + 7.2 * len(NAMES[name])
    rows = [row for row in GROWTH if row.name != "load_cpu_ms"]
    for place, row in enumerate(rows):
        left, top = MARGIN + place % 2 * (PANEL_WIDTH + MARGIN), 56 + place // 2 * (PANEL_HEIGHT + 24)
        parts += _panel(row, found, left, top)
    return _svg(56 + 2 * (PANEL_HEIGHT + 24), f"What Surfaces needs as {what} grow in number", *parts)


def _panel(row: Row, found: Growing, left: float, top: float) -> Iterator[str]:
    """One figure: how many there are to the right in powers of ten, the figure upwards from nothing."""
    sizes = sorted({int(size) for of in found.values() for size in of})
    most = _round_up(max(figures[row.name] for of in found.values() for figures in of.values()))
    x0, x1, y0, y1 = left + 46, left + PANEL_WIDTH - 12, top + PANEL_HEIGHT - 24, top + 26
    span = log10(sizes[-1]) or 1.0
    yield _text(left, top + 10, f"{row.title}, {row.unit}")
    for share in (0.0, 0.5, 1.0):
        y = y0 - share * (y0 - y1)
        yield f'<path class="rule" d="M{x0:g} {y:g}H{x1:g}"/>'
        yield _text(x0 - 6, y + 4, f"{most * share:,g}", "pale", "end")
    for size in sizes:
        yield _text(round(x0 + log10(size) / span * (x1 - x0), 1), y0 + 17, f"{size:,}", "pale", "middle")
    for name, of in found.items():
        points = [
            (x0 + log10(int(size)) / span * (x1 - x0), y0 - of[size][row.name] / most * (y0 - y1))
            for size in sorted(of, key=int)
        ]
        yield from _line(name, points)


def _line(name: str, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    yield f'<polyline class="line {name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
    for x, y in points:
        yield f'<circle class="fill {name}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'


def _round_up(value: float) -> float:
    """The next number that reads well."""
    power = 10 ** int(log10(value)) if value >= 1 else 10.0 ** (int(log10(value)) - 1)
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if step * power >= value)
