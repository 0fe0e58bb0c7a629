"""The kill sweep: the real host dies by SIGKILL at every kind of point, lives again, and makes everything good.

Judged from outside, by what the homeserver shows to people. `SURFACES_SWEEP=full` takes every occurrence of
every point, as `make crash` does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from proof.cases import Case, Tally, run_all
from proof.double import SPOILED
from proof.nursery import Nursery
from proof.planted import CAUGHT, Catch
from proof.points import NAMES, Counts
from proof.sweep import double_cases, measured, spoiled_cases, sweep_cases, with_bug, without_bug

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
FULL = os.environ.get("SURFACES_SWEEP") == "full"
EACH = None if FULL else 1
"""How many occurrences of each point are swept."""
SHARE = 4 if FULL else 96
"""Of so many pairs of points one is swept."""
GROUPS = 4 if FULL else 1
SIDE_BY_SIDE = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where hosts come from."""
    async with Nursery() as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counts() -> Counts:
    """How often a life without a kill comes to each point; that life is started as operators start it."""
    return await measured()


async def test_the_scenario_comes_to_every_point(counts: Counts) -> None:
    """No point is left out of the sweep because nothing in the scenario leads there."""
    assert [name for name in NAMES if not counts.get(name)] == []


async def passed(cases: Iterable[Case]) -> Tally:
    """All of these pass, a few of them side by side: they wait more than they work."""
    tally = await run_all(list(cases), SIDE_BY_SIDE)
    assert tally.failures == {}
    return tally


@pytest.mark.parametrize("name", NAMES)
async def test_a_kill_loses_and_doubles_nothing(nursery: Nursery, counts: Counts, name: str) -> None:
    """After a kill at any point a clean life makes everything good."""
    tally = await passed(sweep_cases(nursery, counts, EACH, [name]))
    assert tally.landed == tally.runs, "a kill never came with work outstanding"


@pytest.mark.parametrize("group", range(GROUPS))
async def test_a_kill_while_recovering_loses_and_doubles_nothing(nursery: Nursery, counts: Counts, group: int) -> None:
    """Two lives end at points of the sweep; the third makes everything good."""
    tally = await passed(list(double_cases(nursery, counts, SHARE))[group::GROUPS])
    assert tally.landed > tally.runs, "no second life ended in its middle"


@pytest.mark.parametrize("message", sorted({case.message for case in SPOILED}))
async def test_what_kills_leave_without_an_answer_is_said_once(nursery: Nursery, message: str) -> None:
    """A message that kills three times is put aside, or by another policy was interrupted; all else is answered."""
    cases = [case for case in SPOILED if case.message == message]
    tally = await passed(case for case in spoiled_cases(nursery) if case.name in map(str, cases))
    assert tally.landed == sum(len(case.at) for case in cases)
    assert sum(tally.notices.values()) == len(cases)


# Planted bugs: a sweep that cannot fail proves nothing ----------------------------------------------


@pytest.mark.parametrize("catch", CAUGHT if FULL else CAUGHT[::3], ids=lambda catch: catch.name)
async def test_the_sweep_catches_a_planted_bug(nursery: Nursery, catch: Catch) -> None:
    """The real host with a small mistake in it fails at a point of the sweep where without it all is well."""
    async with asyncio.TaskGroup() as group:
        bug = group.create_task(with_bug(nursery, catch))
        control = group.create_task(without_bug(nursery, catch))
    assert bug.result().verdict.counts()[catch.by], f"seen instead: {bug.result()}"
    assert control.result().good, str(control.result())
    assert control.result().landed == len(catch.at)
