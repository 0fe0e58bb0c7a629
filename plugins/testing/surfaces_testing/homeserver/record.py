"""The ground truth for tests: what was asked, when, by whom, and what it was answered."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Request:
    """One request that came in; the answer's fields are filled when it goes out."""

    route: str
    method: str
    path: str
    at: float
    """Monotonic seconds."""
    user_id: str = ""
    device_id: str = ""
    args: tuple[str, ...] = ()
    body: str = ""
    """What came with it; of what is bigger than an event the beginning."""
    since: str | None = None
    """The token that it begins at: `since` of `/sync`, `from` of `/messages`."""
    status: int = 0
    """0: no answer (yet)."""
    answered_at: float | None = None
    next_batch: str | None = None
    """Of `/sync`: the token that was handed out, if it arrived."""
    fault: str = ""
    """What was made to go wrong."""


@dataclass(slots=True)
class Record:
    """All requests, oldest first."""

    requests: list[Request] = field(default_factory=list)

    def of(self, route: str) -> list[Request]:
        """Those to one endpoint."""
        return [request for request in self.requests if request.route == route]

    def transactions(self, device_id: str) -> list[str]:
        """The transaction ids that a device used, repeats included."""
        return [r.args[-1] for r in self.requests if r.device_id == device_id and r.route in ("send", "redact")]

    def tokens(self, device_id: str) -> Iterator[tuple[str, str]]:
        """Sync tokens of a device in order: `("used", token)` and `("handed", token)`."""
        for request in self.of("sync"):
            if request.device_id == device_id:
                if request.since is not None:
                    yield "used", request.since
                if request.next_batch is not None:
                    yield "handed", request.next_batch

    def busiest_second(
        self, route: str = "*", *, failed: bool = False, since: float = 0.0, until: float = math.inf
    ) -> int:
        """The most requests to an endpoint (`*`: to any) that began within one second.

        `since` and `until` are monotonic seconds; `failed` counts those alone that were not answered well.
        """
        times = [
            request.at
            for request in self.requests
            if route in ("*", request.route)
            and since <= request.at < until
            and (not failed or request.status >= 400 or request.fault)
        ]
        return max((bisect_left(times, start + 1) - i for i, start in enumerate(times)), default=0)
