"""The kill sweep: the real host dies by SIGKILL at every kind of point, lives again, and makes everything good.

Judged from outside, by what the homeserver shows to people.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proof import planted
from proof.lives import Point, Run, sweep
from proof.processes import Agent, reference_agent
from surfaces_core._engine.killpoints import POINTS
from surfaces_testing.homeserver import FakeHomeserver

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all runs."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "100") as agent:
        yield agent


OCCURRENCES = {
    "accept.before": 6,
    "accept.after": 6,
    "begin.before": 5,
    "begin.after": 5,
    "shown.after": 2,
    "complete.before": 10,
    "complete.after": 10,
    "send.before": 12,
    "send.after": 12,
    "delivered.before": 12,
    "delivered.after": 11,
    "open.before": 2,
    "open.after": 2,
}
"""How often a clean life surely comes to each kill point."""
REQUESTS = {
    "sync": 6,
    "login": 1,
    "join": 1,
    "createRoom": 3,
    "state.put": 3,
    "invite": 3,
    "messages": 1,
    "download": 1,
    "send": 14,
    "upload": 1,
}
"""How often it asks the homeserver for what changes something, or for what must not be lost."""
EACH = None if os.environ.get("SURFACES_SWEEP") == "full" else 3
"""How many of them are swept."""


def spread(count: int) -> list[int]:
    """Which occurrences are swept: all, or a few from the first to the last."""
    if EACH is None or count <= EACH:
        return list(range(1, count + 1))
    return [1 + round(step * (count - 1) / (EACH - 1)) for step in range(EACH)]


SWEPT = [
    *(Point(name=name, count=count) for name, most in OCCURRENCES.items() for count in spread(most)),
    *(
        Point(name=name, count=count, side=side)
        for name, most in REQUESTS.items()
        for count in spread(most)
        for side in ("before", "after")
    ),
]


def test_every_kill_point_is_swept() -> None:
    """A kill point that is new gets its place in the sweep."""
    assert OCCURRENCES.keys() == set(POINTS)


async def test_a_life_without_a_kill(agent: Agent, tmp_path: Path) -> None:
    """The scenario is answered as the judge wants it."""
    async with FakeHomeserver() as homeserver:
        await sweep(Run(agent, tmp_path, homeserver), None)


@pytest.mark.parametrize("point", SWEPT, ids=str)
async def test_a_kill_loses_and_doubles_nothing(agent: Agent, tmp_path: Path, point: Point) -> None:
    """After a kill at any point a clean life makes everything good."""
    async with FakeHomeserver() as homeserver:
        await sweep(Run(agent, tmp_path, homeserver), point)


# Planted bugs: a sweep that cannot fail proves nothing ----------------------------------------------

CAUGHT = {
    "random_turns": (Point(name="complete.before", count=1), "where 'Your conversation is ready"),
    "random_transactions": (Point(name="send", count=1, side="after"), "2 messages instead of 1"),
    "cursor_first": (Point(name="accept.before", count=1), "lost"),
    "delivered_before_sent": (Point(name="send", count=1, side="before"), "lost"),
}
"""For each bug a point of the sweep at which it shows, and how; without it all is well there."""


@pytest.mark.parametrize("bug", planted.BUGS)
async def test_the_sweep_catches_a_planted_bug(agent: Agent, tmp_path: Path, bug: str) -> None:
    """The real host with a small mistake in its names or in the order of its writes does not pass."""
    command = (sys.executable, str(Path(planted.__file__)), bug)
    point, verdict = CAUGHT[bug]
    with pytest.RaisesGroup(
        pytest.RaisesExc(AssertionError, match=verdict), allow_unwrapped=True, flatten_subgroups=True
    ):
        async with FakeHomeserver() as homeserver:
            await sweep(Run(agent, tmp_path, homeserver, command), point, patience_s=8)
