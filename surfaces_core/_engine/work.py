"""An entry while it is worked on, and what it comes to: the values that pass between those who do the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from surfaces_core._engine.journal import Changes, Entry
from surfaces_core.events import Address, FileRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Something to say; becomes one or more outbox parts."""

    text: str = ""
    file: FileRef | None = None
    notice: bool = True
    address: Address | None = None
    """Elsewhere than where the message came from."""
    replaces: str = ""
    """The key of what it shows in the place of."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What something comes to beside what is said: stored with the end of the entry that did it."""

    changes: Changes = field(default_factory=dict)
    follow: Sequence[Entry] = ()
    """Entries that are queued with it."""
    then: Callable[[], None] = _nothing
    """Called when it is stored."""


def together(effects: Iterable[Effect]) -> Effect:
    """Several as one."""
    several = list(effects)

    def then() -> None:
        for effect in several:
            effect.then()

    changes = {row: value for effect in several for row, value in effect.changes.items()}
    return Effect(changes=changes, follow=[entry for effect in several for entry in effect.follow], then=then)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an entry ended: what to say, what to store with it, and under which name it is counted."""

    says: Sequence[Say] = ()
    kind: Literal["answered", "command", "refused", "failed", "stopped", "dead", "done"] = "done"
    changes: Changes = field(default_factory=dict)
    dead: str = ""
    """A reason keeps the entry as a dead letter."""
    effect: Effect = field(default_factory=Effect)
    """Comes to pass with it."""


@dataclass(slots=True, eq=False)
class Work:
    """An entry while it is worked on."""

    entry: Entry
    """As it is stored right now."""
    task: asyncio.Task[None] | None = None
    """Listens to the agent."""
    stopped: bool = False
    unwanted: bool = False
    """The person asked to stop it, be it too late for this try."""
    worker: asyncio.Task[None] | None = None
    """Does the entry."""
    amendments: list[Entry] = field(default_factory=list)
    """What the person has changed since this try began."""
    closed: bool = False
    """The answer stands, whatever is changed now."""

    def stop(self) -> None:
        """Cancel it; what came already is kept. An answer that is complete stays what it is."""
        self.unwanted = True
        if self.task is None or self.task.cancel():
            self.stopped = True

    def amend(self, amendment: Entry) -> bool:
        """Begin anew with what the person has changed; False when it is too late for that."""
        if self.closed or self.unwanted:
            return False
        self.amendments.append(amendment)
        if self.task is not None:
            self.task.cancel()
        return True
