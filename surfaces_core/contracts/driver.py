"""What every driver is, whatever its kind: its settings, what it is handed, and what a look at it finds."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

import structlog
from pydantic import BaseModel, ConfigDict

from surfaces_core.events import Agent
from surfaces_core.i18n import Catalogue

_ = Catalogue("surfaces_core")


CONTRACTS: Mapping[str, int] = MappingProxyType({"surface": 1, "transport": 1, "storage": 1, "files": 1, "hooks": 1})
"""The version of each kind's contract in this host; a start refuses a plugin that was built for another one."""


class Settings(BaseModel):
    """Base of every driver's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Store(Protocol):
    """A small durable namespace of one driver's own, kept in the host's storage.

    Keys are text without NUL. Each call is one committed transaction; raises `StateError`.
    """

    async def get(self, key: str) -> bytes | None:
        """A value, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; removing one that is not there is no error."""
        ...

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        """Every value whose key begins so, by key."""
        ...

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set, and with None remove, several keys together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every driver is handed beside its settings."""

    name: str
    """The operator's name for this instance."""
    log: structlog.typing.FilteringBoundLogger
    """Bound to the instance; events and keys, never message text or secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at a driver found (`Driver.examine`)."""

    what: str
    """What was looked at, in a word: `folder`, `login`, `clock`."""
    said: str
    """One line for an operator, with the remedy where it is not well; no secrets."""
    level: Literal["well", "doubtful", "wrong"] = "well"
    """`wrong`: the host would not work. `doubtful`: it would, but somebody should know."""


class Driver(ABC):
    """Base of all drivers: settings in, one `async with` block, nothing else in common.

    A driver with settings gives its own inner `class Settings(surfaces_core.Settings)`. What only the context
    can tell of them, as whether a tool is there, `__init__` may refuse with a `ConfigError` that names the setting.
    """

    Settings: ClassVar[type[BaseModel]] = Settings

    settings: Any
    context: Any
    surfaces_contract: ClassVar[int] = 1
    """The version of its kind's contract that it was built for."""

    def __init__(self, settings: Any, context: Any) -> None:
        self.settings = settings
        self.context = context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """What an operator should know before a start, for `surfaces check`.

        Asked of a driver that is not opened, perhaps while another process runs with the same settings:
        it changes nothing. `agents` are those of the config. Raises nothing but bugs.
        """
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A piece of a snapshot for people to read."""

    title: str
    lines: tuple[str, ...] = ()
    """Markdown, one line each."""

    def markdown(self) -> str:
        """The section as it is said."""
        return "\n".join([f"**{self.title}**", *(f"- {line}" for line in self.lines)])
