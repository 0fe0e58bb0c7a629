"""Reconciling: the record of conversations is brought in step with what the messenger itself shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from surfaces_core._engine import words
from surfaces_core._engine.bindings import BINDINGS, Bindings, context_id
from surfaces_core._engine.journal import Journal, key, place
from surfaces_core._engine.people import People
from surfaces_core.contracts import Reconciled
from surfaces_core.errors import Rejected
from surfaces_core.events import Address, Binding


@dataclass(slots=True)
class _Found:
    """What one reconciliation has found so far."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    taken: dict[tuple[str, int], Address] = field(default_factory=dict)
    """Where each owner's numbers were seen first."""
    conflicts: dict[str, str] = field(default_factory=dict)
    completed: list[Binding] = field(default_factory=list)

    def keep(self, binding: Binding) -> None:
        """Store a binding."""
        self.rows[key("conv", *place(binding.address))] = BINDINGS.dump(binding)

    def result(self) -> Reconciled:
        """What it comes to."""
        return Reconciled(**self.counts, conflicts=self.conflicts, completed=tuple(self.completed))


class Reconciling:
    """Takes over what is shown; where that lost something, the record completes it."""

    def __init__(self, journal: Journal, bindings: Bindings, people: People, contact: str) -> None:
        self._journal = journal
        self._bindings = bindings
        self._people = people
        self._contact = contact

    async def restore(
        self, surface: str, shown: Sequence[Binding], *, complete: bool = True, since: int | None = None
    ) -> Reconciled:
        """Bring the record in step with what the messenger shows; `complete` when `shown` is all there is.

        What was changed here after the tick `since` is newer than what the messenger was asked for, and stays.
        """
        found = _Found()
        for binding in shown:
            if self._bindings.is_newer(binding.address, since):
                found.counts["unchanged"] += 1
            else:
                self._take_over(binding, found)
        if complete:
            self._mark_left(surface, {binding.address for binding in shown}, since, found)
        await self._store(surface, shown, found)
        return found.result()

    def _take_over(self, shown: Binding, found: _Found) -> None:
        try:
            binding = self.whole(shown)
        except Rejected as error:
            found.conflicts[shown.address.conversation] = error.code
            return
        if binding != shown:
            found.completed.append(binding)
        if found.taken.setdefault((binding.owner, binding.number), binding.address) != binding.address:
            found.conflicts[binding.address.conversation] = "NUMBER_TAKEN"
        known = self._bindings.at(binding.address)
        if known == binding:
            found.counts["unchanged"] += 1
            return
        found.counts["restored" if known is None else "repaired"] += 1
        found.keep(binding)
        self._bindings.learn(binding)

    def whole(self, shown: Binding) -> Binding:
        """A binding with agent and context. Where the messenger lost them those known are taken, else fresh ones.

        Raises `Rejected` for somebody without an agent.
        """
        if shown.agent and shown.context:
            return shown
        known = self._bindings.at(shown.address)
        if known is not None:
            return replace(shown, agent=known.agent, context=known.context)
        agent = self._people.of(shown.address.surface, shown.owner)
        if agent is None:
            raise Rejected(f"{shown.owner} has no agent", code="NO_AGENT", public=words.no_agent(self._contact))
        fresh = context_id(shown.owner, f"found {shown.address.conversation}")
        return replace(shown, agent=agent.id, context=fresh)

    def _mark_left(self, surface: str, shown: Container[Address], since: int | None, found: _Found) -> None:
        for known in self._bindings.all(surface):
            if known.address in shown or known.left or self._bindings.is_newer(known.address, since):
                continue
            left = replace(known, left=True)
            found.counts["repaired"] += 1
            found.keep(left)
            self._bindings.learn(left)

    async def _store(self, surface: str, shown: Sequence[Binding], found: _Found) -> None:
        """Keep what was found, and no owner's next number below one that is shown."""
        highest: dict[str, int] = {}
        for binding in shown:
            highest[binding.owner] = max(highest.get(binding.owner, 0), binding.number)
        counters = {owner: key("number", surface, owner) for owner in highest}
        async with self._journal.changing() as tx:
            stored = await tx.get_many(list(counters.values())) if counters else ()
            for (owner, counter), value in zip(counters.items(), stored, strict=True):
                if int(value or 0) < highest[owner]:
                    found.rows[counter] = str(highest[owner]).encode()
            for row, new in found.rows.items():
                await tx.put(row, new)
