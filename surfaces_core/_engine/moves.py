"""Moves: a conversation whose agent is not the one it should be with goes to that one, and says so once.

Each is an entry of the inbox, so that it comes behind what runs there, and a crash in the middle ends in the
same state: the new context is made from the entry, and so shows whether the entry has moved it already.
"""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core._engine import words
from surfaces_core._engine.bindings import context_id
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.journal import Entry, Journal
from surfaces_core._engine.people import People
from surfaces_core._engine.work import Outcome, Say
from surfaces_core.errors import Rejected
from surfaces_core.events import Binding, Inbound, Kind


class Moves:
    """Moves conversations to their agents."""

    def __init__(self, journal: Journal, people: People, book: Book, contact: str) -> None:
        self._journal = journal
        self._people = people
        self._book = book
        self._contact = contact

    async def due(self, surface: str, owner: str | None = None) -> Sequence[Entry]:
        """Store an entry for each conversation, of one owner or of all, that is not with its agent; the new ones."""
        misplaced = [
            binding
            for binding in self._book.all(surface)
            if owner in (None, binding.owner) and not binding.left and self._is_misplaced(binding)
        ]
        batch = [self._call(binding) for binding in misplaced]
        return await self._journal.accept(surface, batch, None, lambda entry: entry) if batch else ()

    def _is_misplaced(self, binding: Binding) -> bool:
        wanted = self._people.wanted(binding)
        return wanted is not None and wanted.id != binding.agent

    def _call(self, binding: Binding) -> Inbound:
        wanted = self._people.wanted(binding)
        assert wanted is not None
        return Inbound(
            address=binding.address,
            event_id=f"agent {wanted.id} {binding.context} {self._people.since}",
            sender=binding.owner,
            sent_at=self._journal.now(),
            kind=Kind.MOVED,
        )

    async def run(self, entry: Entry) -> Outcome:
        """What such an entry comes to."""
        binding = self._book.at(entry.message.address)
        if binding is None or binding.left or self._people.wanted(binding) is None:
            return Outcome()
        binding, says = await self.settle(entry, binding)
        return Outcome(says=() if binding.archived else says)

    async def settle(self, entry: Entry, binding: Binding) -> tuple[Binding, Sequence[Say]]:
        """Bring a conversation to its agent before anything is asked there; what to say of it.

        Raises `Rejected` when its owner has none.
        """
        wanted = self._people.wanted(binding)
        if wanted is None:
            raise Rejected(f"{binding.owner} has no agent", code="NO_AGENT", public=words.no_agent(self._contact))
        fresh = context_id(binding.owner, f"moved {entry.turn}")
        if binding.agent != wanted.id:
            binding = await self._book.hand_over(binding, wanted.id, fresh)
        moved = binding.context == fresh
        return binding, [Say(text=words.MOVED(agent=words.plain(wanted.label)))] if moved else []

    def introduction(self, entry: Entry, binding: Binding) -> tuple[Sequence[Say], dict[bytes, bytes | None]]:
        """What an owner without an agent of their own is told, once, and what to store with it."""
        agent = self._people.agents.get(binding.agent)
        if agent is None or binding.shared:
            return [], {}
        if not self._people.tells(binding.address.surface, binding.owner, entry.turn):
            return [], {}
        say = Say(text=words.DEFAULT_AGENT(agent=words.plain(agent.label)), address=binding.address)
        return [say], dict(self._people.told(binding.address.surface, binding.owner))
