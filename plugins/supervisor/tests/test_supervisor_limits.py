"""What follows an end, without a process and without a clock."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_supervisor.limits import AWAY, USELESS, Course, Done, Hold, Limits, Wait
from surfaces_supervisor.lines import Log
from surfaces_supervisor.notify import Voice
from surfaces_supervisor.supervisor import Options, Supervisor

LIMITS = Limits()
unclean = st.sampled_from([-signal.SIGKILL, -signal.SIGSEGV, 1, os.EX_SOFTWARE, 130])
gaps = st.lists(st.floats(min_value=0, max_value=1000), max_size=40)


def course(chance: float = 1.0) -> Course:
    """One that has seen nothing."""
    return Course(LIMITS, lambda: chance)


def test_a_clean_end_is_the_end() -> None:
    """Whoever stops a host wants it stopped."""
    assert course().ended(0, 0.0) == Done()


@pytest.mark.parametrize("code", USELESS)
def test_what_a_start_does_not_mend_is_held_at_once(code: int) -> None:
    """With its reason, until the config changes."""
    assert course().ended(code, 0.0, why="because") == Hold(
        reason=f"exit code {code} ({USELESS[code]}): because", mendable=True
    )


@given(gaps, st.sampled_from(sorted(AWAY)))
def test_what_is_away_is_waited_for(gaps: list[float], code: int) -> None:
    """However often, it never holds and never makes a crash loop of a crash."""
    one, now = course(), 0.0
    for gap in gaps:
        now += gap
        assert isinstance(one.ended(code, now), Wait)
    assert isinstance(one.ended(-signal.SIGKILL, now), Wait)


@given(gaps, unclean)
def test_a_loop_is_so_many_unclean_ends_in_so_short_a_time(gaps: list[float], code: int) -> None:
    """Held exactly when this end and those before it are within the time."""
    one, now, ends = course(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        ends.append(now)
        looped = len(ends) >= LIMITS.crashes and now - ends[-LIMITS.crashes] <= LIMITS.within_s
        assert isinstance(one.ended(code, now), Hold) == looped
    assert one.unclean == len(gaps)


@given(st.floats(min_value=0, max_value=1), st.integers(min_value=1, max_value=60))
def test_waits_grow_to_a_bound(chance: float, ends: int) -> None:
    """No wait is shorter than half of its step, none longer than the longest."""
    one = course(chance)
    for number in range(ends):
        after = one.ended(-signal.SIGKILL, number * 1000.0)
        step = min(LIMITS.longest_wait_s, LIMITS.wait_s * 2.0**number)
        assert isinstance(after, Wait)
        assert step / 2 <= after.seconds <= step


def test_a_host_that_ran_well_is_started_at_once_again() -> None:
    """The waits begin anew; what is a loop does not change by it."""
    one = course()
    one.ended(-9, 0.0)
    one.ended(-9, 1.0)
    one.settled()
    assert one.ended(os.EX_IOERR, 2.0) == Wait(seconds=LIMITS.wait_s)
    assert isinstance(one.ended(-9, 3.0), Hold)


def test_a_host_that_has_settled_counts_as_one(tmp_path: Path) -> None:
    """The supervisor says so to its course."""
    options = Options(config=tmp_path / "surfaces.yaml", folder=tmp_path, limits=LIMITS)
    supervisor = Supervisor(options, Log(), Voice({}))
    for _ in range(5):
        supervisor._course.ended(os.EX_IOERR, 0.0)
    supervisor._settle()
    after = supervisor._course.ended(os.EX_IOERR, 0.0)
    supervisor._ear.socket.close()
    supervisor._selector.close()
    assert isinstance(after, Wait)
    assert after.seconds <= LIMITS.wait_s


def test_a_person_who_looked_is_given_all_tries_again() -> None:
    """After a resume what was before does not count."""
    one = course()
    for now in (0.0, 1.0, 2.0):
        last = one.ended(-9, now)
    assert last == Hold(reason="3 unclean ends in 2 s, the last: killed by SIGKILL", mendable=False)
    one.forgiven()
    assert one.ended(-9, 3.0) == Wait(seconds=LIMITS.wait_s)
    assert one.unclean == 4
