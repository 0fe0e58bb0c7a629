"""A surface's way into the host: what it receives is stored, and only then worked on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from surfaces_core._engine.journal import storable
from surfaces_core.contracts import Command, Reconciled
from surfaces_core.events import Address, Binding, Inbound

if TYPE_CHECKING:
    from surfaces_core._host.lifecycle import Engine


class SurfaceIntake:
    """One surface's way into the host."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._since = engine.book.tick

    async def cursor(self) -> str | None:
        """The stored cursor."""
        return await self._engine.journal.cursor(self._name)

    async def accept(self, batch: Sequence[Inbound], cursor: str) -> None:
        """Store first; only then does anybody work on it."""
        self._engine.release(self._name)
        await self._engine.take_in(self._name, [_storable(message) for message in batch], cursor)

    async def restore(
        self, found: Sequence[Binding], *, rooms_seen: int | None = None, skipped: Mapping[str, str] | None = None
    ) -> Reconciled:
        """Bring the book in step."""
        result = await self._engine.book.reconciling.restore(self._name, found, since=self._since)
        await self._engine.settle(self._name)
        self._engine.release(self._name)
        seen = len(found) if rooms_seen is None else rooms_seen
        self._engine.operations.reconciled(self._name, result, seen, Counter((skipped or {}).values()))
        return result

    def ready(self) -> None:
        """An exchange went well."""
        self._engine.release(self._name)
        self._engine.surface_ready(self._name)

    def commands(self, address: Address, person: str) -> Sequence[Command]:
        """What a person may call there."""
        return self._engine.calls.usable(address, person)

    def language(self, person: str) -> str:
        """What they chose, else the operator's."""
        return self._engine.languages.of(self._name, person)


def _storable(message: Inbound) -> Inbound:
    """A message whose every text can be stored; a surface's own names in it should be so already."""
    files = tuple(
        replace(file, ref=storable(file.ref), name=storable(file.name), mime=storable(file.mime))
        for file in message.attachments
    )
    clean = replace(
        message,
        event_id=storable(message.event_id),
        sender=storable(message.sender),
        sender_name=storable(message.sender_name),
        text=storable(message.text),
        target=storable(message.target),
        thread=storable(message.thread),
        quote=storable(message.quote),
        attachments=files,
    )
    return message if clean == message else clean
