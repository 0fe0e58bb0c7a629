"""Says what goes wrong next: by a script, always, or by chance; everywhere or in one context."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from surfaces_testing.agent.faults import ENDLESS, FAULTS, Fault, Stage

SHORT: Sequence[str] = tuple(sorted(FAULTS.keys() - ENDLESS))
"""Those that come to an end by themselves, sooner or later."""
Where = str | None
"""A context; None for any."""


class Faults:
    """Says at each stage of a connection whether something goes wrong there."""

    def __init__(self) -> None:
        self._scripts: dict[Where, deque[tuple[str, Fault]]] = {}
        self._always: dict[Where, dict[Stage, tuple[str, Fault]]] = {}
        self._chance: tuple[random.Random, float, Sequence[str]] | None = None

    def script(self, *faults: str | Fault, times: int = 1, context: Where = None) -> None:
        """The next who come to the stage of the first of these meet it, then the next one, `times` over."""
        self._scripts.setdefault(context, deque()).extend([_named(fault) for fault in faults] * times)

    def always(self, fault: str | Fault, *, context: Where = None) -> None:
        """Everybody meets this, until `clear`; one at each stage."""
        name, known = _named(fault)
        self._always.setdefault(context, {})[known.stage] = name, known

    def random(self, seed: int, rate: float, names: Sequence[str] = SHORT) -> None:
        """A share of what comes goes wrong at each stage; repeatable by its seed."""
        self._chance = (random.Random(seed), rate, names)  # noqa: S311  repeatable, not secret

    def clear(self, context: Where = None) -> None:
        """All is well again: in one context, or everywhere."""
        if context is not None:
            self._scripts.pop(context, None)
            self._always.pop(context, None)
            return
        self._scripts.clear()
        self._always.clear()
        self._chance = None

    def next(self, stage: Stage, context: str) -> tuple[str, Fault] | None:
        """What goes wrong here and now: its name and what is done."""
        for where in (context, None):
            script = self._scripts.get(where)
            if script and script[0][1].stage == stage:
                return script.popleft()
            if stage in self._always.get(where, {}):
                return self._always[where][stage]
        if self._chance is None:
            return None
        chance, rate, names = self._chance
        here = [name for name in names if FAULTS[name].stage == stage]
        return _named(chance.choice(here)) if here and chance.random() < rate else None


def _named(fault: str | Fault) -> tuple[str, Fault]:
    return (fault, FAULTS[fault]) if isinstance(fault, str) else ("custom", fault)
