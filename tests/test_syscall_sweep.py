"""The sweep over system calls: the real host dies at its n-th write, sync and send, killed or by a power cut."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from proof.lives import live
from proof.processes import HOST, reference_agent
from proof.syscalls import KINDS, SIDES, Counts, Point, Verdict, measure, points, result, sweep
from proof.trace import Kill, Side
from proof.traced import TracedRun
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow
FULL = os.environ.get("SURFACES_SWEEP") == "full"


def swept(counts: Counts) -> list[Point]:
    """Every call with `SURFACES_SWEEP=full`, else a few of each kind; the long form takes an hour."""
    if FULL:
        return points(counts, each=None, cuts=None, twice=4)
    return [*points(counts, each=1, cuts=1), *points(counts, each=0, twice=1)[::3]]


async def test_no_system_call_is_one_to_die_at(tmp_path: Path) -> None:
    """Wherever a life ends, and wherever the one behind it does, nothing is lost, doubled, out of order or torn."""
    counts = await measure(tmp_path / "measured")
    found = await sweep(swept(counts), tmp_path / "swept")
    assert found.good, found.table()
    assert found.landed >= 0.8 * found.points, found.table()


def test_a_result_can_be_kept_as_json() -> None:
    """Who runs a sweep for hours writes down what came of it."""
    good = Verdict(point=Point(kills=(Kill(kind="fsync", side="after", count=3),)), landed=True)
    bad = Verdict(point=Point(kills=(Kill(kind="send", side="before", count=1),)), landed=False, lost=2, text="gone")
    kept = json.loads(json.dumps(asdict(result([good, bad], 1.5))))
    assert kept == {
        "points": 2,
        "landed": 1,
        "lost": 2,
        "doubled": 0,
        "reordered": 0,
        "torn": 0,
        "other": 0,
        "seconds": 1.5,
        "figures": {"fsync": [1, 1], "send": [1, 0]},
        "wrong": ["send-before-1: gone"],
    }


# Planted bugs: a sweep that cannot fail proves nothing ------------------------------------------------


async def answers(folder: Path, module: str, bug: str) -> list[int]:
    """Which of its sends are messages of the bot, counted from 1, while nothing happens to the host."""
    volume = folder / "agents"
    volume.mkdir(parents=True)
    async with reference_agent(volume, "--words-per-second", "100") as agent, FakeHomeserver() as homeserver:
        run = TracedRun(agent, folder, homeserver, (*HOST[:2], module, bug), follow=True)
        await live(run, [])
    (trace,) = run.traces()
    sends = [call for call in trace.calls if call.kind == "send"]
    return [number for number, call in enumerate(sends, 1) if re.match(rb"PUT .*/send/m\.room\.message/", call.data)]


CAUGHT: Mapping[str, tuple[str, Side, bool, str]] = {
    "delivered_before_sent": ("proof.planted", "before", False, "lost"),
    "transactions_by_chance": ("proof.planted", "after", False, "doubled"),
    "unsynced": ("proof.planted_order", "before", True, "lost"),
}
"""Where each bug is, at which side of an answer and by which kind of end it shows, and as what."""


@pytest.mark.parametrize("bug", CAUGHT if FULL else ["transactions_by_chance"])
async def test_the_sweep_catches_a_planted_bug(tmp_path: Path, bug: str) -> None:
    """A small mistake shows at one of the calls around the first answer; without it all is well there."""
    module, side, power, wrong = CAUGHT[bug]
    first = (await answers(tmp_path / "answers", module, bug))[0]
    near = [
        Point(kills=(Kill(kind="send", side=side, count=count),), power=power)
        for count in (first - 1, first, first + 1)
    ]
    found = await sweep(near, tmp_path / "swept", command=(*HOST[:2], module, bug), patience_s=6)
    assert getattr(found, wrong) > 0, found.table()


# Which points there are -------------------------------------------------------------------------------

COUNTS = Counts(
    first={"fsync": 10, "write": 30, "send": 20, "name": 2}, second={"fsync": 6, "write": 12, "send": 8, "name": 1}
)


def ends(chosen: Sequence[Point]) -> list[str]:
    """As they are written."""
    return [str(point) for point in chosen]


def test_all_calls_are_swept_on_both_sides() -> None:
    """None left out, none twice."""
    chosen = ends(points(COUNTS, each=None))
    assert chosen == [
        f"{kind}-{side}-{count}" for kind in KINDS for side in SIDES for count in range(1, COUNTS.first[kind] + 1)
    ]


def test_a_spread_has_the_first_call_and_the_last() -> None:
    """Both ends are special: nothing is there yet, nothing is left to do."""
    chosen = ends(points(COUNTS, each=3))
    assert [point for point in chosen if point.startswith("send-after")] == [
        "send-after-1",
        "send-after-11",
        "send-after-20",
    ]


def test_second_kills_are_in_the_middle_of_lives() -> None:
    """Every two kinds, at calls that leave the next life something to do."""
    chosen = points(COUNTS, each=0, twice=2)
    assert len(chosen) == 4 * 4 * 4 - 2 * 4  # the one name of a second life is swept once
    for point in chosen:
        first, second = point.kills
        assert 1 <= first.count <= COUNTS.first[first.kind]
        assert 1 <= second.count <= COUNTS.second[second.kind]


def test_power_cuts_are_beside_kills() -> None:
    """Told apart by name and in the figures."""
    (point, *_) = points(COUNTS, each=0, cuts=1)
    assert (str(point), point.kind, point.power) == ("power+fsync-before-5", "power+fsync", True)
