"""The kill sweep on storages that are servers: the whole host dies by SIGKILL at its kill points and makes it good.

A few points of each; `SURFACES_SWEEP=full` takes all of them, several times.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import pytest_asyncio

from proof import servers
from proof.cases import Case, run_all
from proof.lives import Outcome, live, world
from proof.nursery import Nursery
from proof.points import Point
from surfaces_core._engine.killpoints import POINTS

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
FULL = os.environ.get("SURFACES_SWEEP") == "full"
FEW = [("accept.after", 2), ("complete.before", 2), ("delivered.before", 2)]
ALL = [(name, count) for name in POINTS for count in ((1, 2, 3) if not name.startswith("open.") else (1,))]
SIDE_BY_SIDE = 3
Storages = Callable[[str], dict[str, object]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where hosts come from."""
    async with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="module", params=["postgres", "redis"])
def storages(request: pytest.FixtureRequest) -> Iterator[Storages]:
    """A storage for each run, on one server."""
    if request.param == "postgres":
        with servers.postgres() as server:
            yield lambda name: {"use": "postgres", "dsn": server.url, "schema_name": name}
    else:
        with servers.redis() as server:
            yield lambda name: {"use": "redis", "url": server.url, "prefix": name}


async def swept(nursery: Nursery, point: Point, storage: dict[str, object]) -> Outcome:
    """One kill, then a clean life."""
    async with world(nursery, storage=storage) as run:
        return await live(run, [point])


async def test_a_kill_on_a_server_loses_and_doubles_nothing(nursery: Nursery, storages: Storages) -> None:
    """After a kill at any point a clean life makes everything good."""
    points = [Point(name=name, count=count) for name, count in (ALL if FULL else FEW)]
    cases = [Case(name=str(point), run=partial(swept, nursery, point, storages(str(point)))) for point in points]
    tally = await run_all(cases, SIDE_BY_SIDE)
    assert tally.failures == {}
    assert tally.landed >= len(points) * 3 // 4, "kills never came with work outstanding"
