"""The bench: that it runs, and that a page and pictures can be made of whatever it finds."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plot, report
from bench.bots import bare, surfaces
from bench.plan import Plan, measure, measure_floor

PLAN = Plan(rounds=1, trickle=3, waves=1, burst=2)
ROOMS = 100


@pytest.mark.slow
async def test_everybody_answers_everything(tmp_path: Path):
    """A few messages to the host and to the bare loop: all are answered once, in order, and every figure is found."""
    host, loop = await measure(surfaces(tmp_path), ROOMS, PLAN), await measure(bare(), ROOMS, PLAN)
    assert [host[harm] for harm in ("burst_lost", "burst_doubled", "burst_disordered")] == [0, 0, 0]
    assert set(host) == set(loop)
    wanted = {row.name for row in (*report.MESSAGE, *report.GROWTH)} - {"intake_per_s"}
    assert wanted <= set(host)
    assert {row.name for row in report.MESSAGE if row.adds} <= set(await measure_floor(PLAN))


def results(gone: str = "") -> report.Results:
    """As few as there may be: of all sizes the smallest two; `gone` could not bear the larger one."""
    rows = {row.name: 1.5 for row in (*report.MESSAGE, *report.GROWTH)}
    sizes = {name: {size: rows for size in ("1", "100") if (name, size) != (gone, "1")} for name in report.NAMES}
    found = {"rooms": {name: sizes[name] for name in ("nio", "bare", "surfaces", "surfaces_agent")}}
    found |= {"agents": {"surfaces_agent": sizes["surfaces_agent"]}, "floor": {"floor": {"1": rows}}}
    return report.results({**found, "intake": {"surfaces": {"100": rows}}})


@pytest.mark.parametrize("gone", ["", "nio", "surfaces_agent"])
def test_a_page_and_pictures_come_of_what_was_found(gone: str):
    """A quick run has few sizes, and one that could not bear the most has no figures there."""
    found = results(gone)
    assert "| to matrix-nio |" in "\n".join(report.page(found))
    for draw in plot.PICTURES.values():
        ElementTree.fromstring(draw(found))
