"""What each conversation has used in its present context."""

from __future__ import annotations

from dataclasses import dataclass, replace

from surfaces_core._engine.journal import Changes, Journal, Rows, key, place
from surfaces_core.events import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a conversation has used in its present context."""

    messages: int = 0
    tokens: int = 0
    last_active: float = 0.0
    since: float = 0.0
    """When it began, Unix seconds; 0 where it began with the conversation."""


USAGES = Rows(Usage)


def stored(address: Address, usage: Usage) -> Changes:
    """The rows that say what a conversation has used."""
    return {key("stat", *place(address)): USAGES.dump(usage)}


class Usages:
    """What all have used, in memory and in the journal; who counts stores the rows with what was counted."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[Address, Usage] = {}

    async def of(self, address: Address) -> Usage:
        """What a conversation has used."""
        if address not in self._known:
            async with self._journal.storage.transaction() as tx:
                value = await tx.get(key("stat", *place(address)))
            found = Usage() if value is None else USAGES.load(value)
            self._known.setdefault(address, found)  # what was counted or cleared meanwhile is newer
        return self._known[address]

    async def used(self, address: Address, tokens: int) -> Changes:
        """Count an answered turn; the rows to store with its answer."""
        return await self._count(address, messages=1, tokens=tokens)

    async def spent(self, address: Address, tokens: int) -> Changes:
        """Count what the agent used for the host; the rows to store with what came of it."""
        return await self._count(address, messages=0, tokens=tokens)

    async def _count(self, address: Address, *, messages: int, tokens: int) -> Changes:
        before = await self.of(address)
        usage = replace(
            before,
            messages=before.messages + messages,
            tokens=before.tokens + tokens,
            last_active=self._journal.now(),
        )
        self.know(address, usage)
        return stored(address, usage)

    def know(self, address: Address, usage: Usage) -> None:
        """What a conversation has used is this, and stored."""
        self._known[address] = usage

    async def moved(self, old: Address, new: Address) -> Changes:
        """A conversation goes on elsewhere with what it has used; the rows to store."""
        usage = await self.of(old)
        if usage == Usage():
            return {}
        del self._known[old]
        self.know(new, usage)
        return {key("stat", *place(old)): None, **stored(new, usage)}
