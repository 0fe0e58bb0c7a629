"""Says which request meets which fault: by a script, always, or by chance."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from surfaces_testing.homeserver.faults import Dropped, Fault, Html, Lost, Reset, Status, Truncated, limited
from surfaces_testing.homeserver.record import Request

COMMON: Sequence[Fault] = (
    limited(retry_after_ms=50),
    limited(retry_after="1"),
    limited(),
    Html(status=502),
    Html(status=504),
    Status(status=500),
    Lost(),
    Dropped(),
    Reset(),
    Truncated(),
)
"""What real networks do to real servers: each passes, and none needs a person."""


class Faults:
    """Says for each request whether something goes wrong with it."""

    def __init__(self) -> None:
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._always: dict[str, Fault] = {}
        self._where: list[tuple[Callable[[Request], bool], Fault]] = []
        self._chance: tuple[random.Random, float, Sequence[Fault], frozenset[str]] | None = None

    def script(self, route: str, faults: Iterable[Fault | None]) -> None:
        """The next requests to an endpoint meet these, one each; None is served well."""
        self._scripts.setdefault(route, deque()).extend(faults)

    def always(self, route: str, fault: Fault) -> None:
        """Every request to an endpoint (`*`: to any) meets this, until `clear`."""
        self._always[route] = fault

    def where(self, condition: Callable[[Request], bool], fault: Fault) -> None:
        """Every request of which a condition holds meets this, until `clear`."""
        self._where.append((condition, fault))

    def random(self, seed: int, rate: float, kinds: Sequence[Fault] = COMMON, routes: Iterable[str] = ()) -> None:
        """A share of all requests (to `routes`, where any are named) goes wrong; repeatable by its seed."""
        self._chance = (random.Random(seed), rate, kinds, frozenset(routes))  # noqa: S311  repeatable, not secret

    def clear(self, route: str | None = None) -> None:
        """All is well again, at one endpoint or everywhere."""
        if route is None:
            self._scripts.clear()
            self._always.clear()
            self._where.clear()
            self._chance = None
            return
        self._scripts.pop(route, None)
        self._always.pop(route, None)

    def pending(self, route: str) -> int:
        """How many of a script are still to come."""
        return len(self._scripts.get(route, ()))

    def meets(self, request: Request) -> Fault | None:
        """What meets a request that came just now."""
        for condition, fault in self._where:
            if condition(request):
                return fault
        return self.next(request.route)

    def next(self, route: str) -> Fault | None:
        """What meets the next request to an endpoint."""
        script = self._scripts.get(route)
        if script:
            return script.popleft()
        if route in self._always or "*" in self._always:
            return self._always.get(route) or self._always["*"]
        if self._chance is None:
            return None
        chance, rate, kinds, routes = self._chance
        if (routes and route not in routes) or chance.random() >= rate:
            return None
        return chance.choice(kinds)
