"""What a simulated host is given beside its drivers: a fate, a log, and commands."""

from __future__ import annotations

import random
import sys
import traceback
from dataclasses import dataclass
from typing import Any, cast

from structlog.typing import FilteringBoundLogger

from proof.simulation.judge import Judge
from proof.simulation.life import InjectedBug, Life
from proof.simulation.trace import HOST, Trace
from surfaces_commands_context import chats, context, staging
from surfaces_core._config.discovery import Hooks, Offer
from surfaces_core._engine import basics


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How one life ends."""

    steps: int | None = None
    """Passes through doors, until it dies at one."""
    only: frozenset[str] | None = None
    """The doors that are counted; None: all."""
    after_s: float | None = None
    """Until something is done to it."""
    stop: bool = False
    """It is asked to stop, and not killed."""
    then_s: float | None = None
    """How long it has for stopping before it is killed, or asked a second time."""
    twice: bool = False
    """It is asked a second time, which cancels it."""
    grace_s: float = 20.0
    """Its setting for running turns."""


ENDLESS = Fate()
SHARP: tuple[tuple[frozenset[str], int, int], ...] = (
    (frozenset({"commit cursor"}), 80, 1),
    (frozenset({"committed cursor"}), 80, 3),
    (frozenset({"committed in"}), 200, 2),
    (frozenset({"commit out"}), 100, 1),
    (frozenset({"committed out"}), 200, 1),
    (frozenset({"sent", "shown"}), 100, 1),
    (frozenset({"heard"}), 80, 1),
    (frozenset({"saved"}), 4, 3),
    (frozenset({"called"}), 4, 1),
)
"""Doors at which a mistake in the order of things costs most: about how often a life passes each, and its weight."""


def fate(chance: random.Random, mortality: float) -> Fate:
    """How the next life ends: killed at some door, at some moment, or asked to stop."""
    luck = chance.random()
    if luck < 0.1:
        return Fate(steps=chance.randrange(1, 400))
    if luck < 0.2:
        return Fate(steps=1 + int(chance.expovariate(mortality / 4000)))
    if luck < 0.7:
        ((only, often, _),) = chance.choices(SHARP, [weight for _, _, weight in SHARP])
        return Fate(steps=1 + int(chance.expovariate(mortality / often)), only=only)
    after_s = chance.expovariate(mortality / 25)
    if luck < 0.8:
        return Fate(after_s=after_s)
    grace_s = chance.choice([0.0, 0.1, 1.0, 5.0, 20.0])
    then_s = chance.uniform(0.0, grace_s + 5.0) if chance.random() < 0.4 else None
    return Fate(after_s=after_s, stop=True, grace_s=grace_s, then_s=then_s, twice=chance.random() < 0.5)


class Log:
    """Takes what the host logs: a bug that nobody put in is a finding, the rest costs nothing."""

    def __init__(self, judge: Judge, trace: Trace, life: Life) -> None:
        self._judge = judge
        self._trace = trace
        self._life = life

    def bind(self, **_keys: Any) -> Log:
        """The keys do not matter."""
        return self

    def debug(self, _event: str, **_keys: Any) -> None:
        """Not kept."""

    info = debug

    def warning(self, event: str, **_keys: Any) -> None:
        """A line."""
        self._trace.line(HOST, f"warns: {event}")

    error = warning

    def exception(self, event: str, **_keys: Any) -> None:
        """A bug, perhaps one that was put in."""
        error = sys.exc_info()[1]
        self._trace.line(HOST, f"bug: {event} {type(error).__name__}")
        if not self._life.dead and not isinstance(error, InjectedBug):
            self._judge.fail("bug", HOST, f"{event}: {described(error)}")


def logger(judge: Judge, trace: Trace, life: Life) -> FilteringBoundLogger:
    """A log for one life."""
    return cast(FilteringBoundLogger, Log(judge, trace, life))


def described(error: BaseException | None) -> str:
    """An error with where it came from."""
    return "".join(traceback.format_exception(error)) if error else "nothing"


def is_only(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an error is of a kind, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_only(inner, kind) for inner in error.exceptions)
    return isinstance(error, kind)


def hooks() -> Hooks:
    """The commands that the host has."""
    made = Hooks()
    for plugin in (basics, chats, context, staging):
        name = plugin.__name__
        made.add(Offer(group="surfaces.hooks", name=name, value=name, distribution="simulation", version="0"), plugin)
    return made
