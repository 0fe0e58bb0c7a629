"""One request as an endpoint sees it, what it answers, and how an endpoint is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote

import orjson

from surfaces_testing.homeserver.accounts import Device
from surfaces_testing.homeserver.errors import MatrixError, bad_json, missing_token, not_json
from surfaces_testing.homeserver.event import Json, Origin
from surfaces_testing.homeserver.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})

    @classmethod
    def json(cls, content: object, status: int = 200) -> Answer:
        """Some JSON."""
        return cls(status=status, body=orjson.dumps(content))

    @classmethod
    def error(cls, error: MatrixError) -> Answer:
        """A refusal."""
        return cls.json(error.body, error.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; `args` are the variable parts of its path, decoded."""

    args: tuple[str, ...]
    query: Mapping[str, str]
    body: bytes
    headers: Mapping[str, str]
    device: Device | None

    @property
    def caller(self) -> Device:
        """Who asks. Raises `M_MISSING_TOKEN`."""
        if self.device is None:
            raise missing_token()
        return self.device

    @property
    def user_id(self) -> str:
        """Who asks."""
        return self.caller.user_id

    def json(self) -> Json:
        """The body. Raises `M_NOT_JSON` or `M_BAD_JSON`."""
        try:
            content = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError:
            raise not_json() from None
        if not isinstance(content, dict):
            raise bad_json("Content must be a JSON object.")
        return content

    def origin(self, txn: str) -> Origin:
        """For telling a repeat from a new request."""
        return Origin(user_id=self.user_id, device_id=self.caller.device_id, txn=txn)


Handler: TypeAlias = Callable[[World, Call], Awaitable[object]]
"""Answers with an `Answer`, or with something that becomes one as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An endpoint; `*` in the path stands for one variable part."""

    name: str
    method: str
    path: str
    handler: Handler
    open: bool = False
    """Needs no login."""


class Routes:
    """Finds the endpoint of a request."""

    def __init__(self, *routes: Route) -> None:
        self._by_shape: dict[tuple[str, int], list[tuple[tuple[str, ...], Route]]] = {}
        for route in routes:
            parts = tuple(route.path.split("/"))
            self._by_shape.setdefault((route.method, len(parts)), []).append((parts, route))

    def find(self, method: str, raw_path: str) -> tuple[Route, tuple[str, ...]] | None:
        """The endpoint and the variable parts of a path that is still percent-encoded."""
        asked = raw_path.split("/")
        for parts, route in self._by_shape.get((method, len(asked)), ()):
            pairs = list(zip(parts, asked, strict=True))
            if all(part in ("*", given) for part, given in pairs):
                return route, tuple(unquote(given) for part, given in pairs if part == "*")
        return None
