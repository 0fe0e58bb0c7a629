"""All bindings as they are known now, in memory: whose each conversation is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from surfaces_core._engine.journal import Rows
from surfaces_core.events import Address, Binding, Inbound

BINDINGS = Rows(Binding)


def context_id(owner: str, cause: str) -> str:
    """A context's name: decimal digits below 2**53, so that agents may read it as a number.

    It is made from what caused it, so a repeat after a crash names the same context.
    """
    digest = hashlib.sha256(f"{owner}\0{cause}".encode()).digest()
    return str(int.from_bytes(digest[:8]) >> 11)


class Bindings:
    """Every conversation that was ever bound, by its address."""

    def __init__(self) -> None:
        self._bindings: dict[Address, Binding] = {}
        self._owned: dict[tuple[str, str], dict[Address, Binding]] = {}
        """The same by surface and owner."""
        self._touched: dict[Address, int] = {}
        """When each binding was last changed here, in ticks."""
        self.tick = 0
        """Counts changes."""

    def load(self, rows: Iterable[bytes]) -> None:
        """Know what was stored."""
        for value in rows:
            self.learn(BINDINGS.load(value))

    def learn(self, binding: Binding) -> None:
        """Know a binding that the messenger shows."""
        before = self._bindings.get(binding.address)
        if before is not None:
            del self._owned[before.address.surface, before.owner][before.address]
        self._bindings[binding.address] = binding
        self._owned.setdefault((binding.address.surface, binding.owner), {})[binding.address] = binding

    def changed(self, binding: Binding) -> None:
        """Know a binding that was changed here: what the messenger was asked for before is older."""
        self.learn(binding)
        self.tick += 1
        self._touched[binding.address] = self.tick

    def is_newer(self, address: Address, since: int | None) -> bool:
        """Whether a binding was changed here after that tick."""
        return since is not None and self._touched.get(address, 0) > since

    def at(self, address: Address) -> Binding | None:
        """The binding of a conversation."""
        return self._bindings.get(address)

    def asker(self, message: Inbound) -> str:
        """Whom an answer to a message is for, where several people talk; empty where only one does."""
        binding = self.at(message.address)
        return message.sender if binding is not None and binding.shared else ""

    def all(self, surface: str) -> list[Binding]:
        """Every conversation of a surface that was ever bound."""
        return [binding for binding in self._bindings.values() if binding.address.surface == surface]

    def all_live(self) -> list[Binding]:
        """Everybody's conversations that can be talked in."""
        return [binding for binding in self._bindings.values() if binding.live]

    def live(self, surface: str, owner: str) -> list[Binding]:
        """A person's conversations that can be talked in, by number."""
        mine = self._owned.get((surface, owner), {}).values()
        return sorted((binding for binding in mine if binding.live), key=lambda binding: binding.number)
