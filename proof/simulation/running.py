"""Runs a simulated world so that nothing outside has a part in it."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from proof.simulation.people import Habits
from proof.simulation.result import Result
from proof.simulation.weather import ROUGH, Weather
from proof.simulation.world import REMEMBERED, World
from surfaces_core._engine import forgetting
from surfaces_core.testing import virtual_time


def simulate(
    seed: int,
    turns: int,
    *,
    weather: Weather = ROUGH,
    habits: Habits | None = None,
    away: Sequence[str] = (),
    copy: TextIO | None = None,
) -> Result:
    """Live through one world and say what came of it.

    `away` are agents that nobody reaches until the end; `copy` gets every line of the trace.
    """
    began, spent = time.perf_counter(), time.process_time()
    with _alone(seed):
        world = World(seed, turns, weather=weather, habits=habits, away=away, copy=copy)
        virtual_time.run(world.main())
        return world.result(time.perf_counter() - began, time.process_time() - spent)


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Chances and the collecting of garbage do not depend on what the process did before; then all is as it was."""
    state, least = random.getstate(), forgetting.SEEN_LEAST
    gc.collect()
    gc.freeze()
    gc.disable()
    random.seed(seed)
    forgetting.SEEN_LEAST = REMEMBERED
    try:
        yield
    finally:
        forgetting.SEEN_LEAST = least
        random.setstate(state)
        gc.unfreeze()
        gc.enable()
