"""Owns the conversations of people in their terminals: each is a row in the surface's own store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pydantic import TypeAdapter

from surfaces_core import Address, Binding, Conversations, Opening, Store

ROOMS = "room/"
LOBBY = "lobby:"
"""Where a person calls from who is in no conversation yet; their name follows."""
LINK = "chat:"
_BINDING = TypeAdapter(Binding)


class Rooms(Conversations):
    """All that were ever opened."""

    def __init__(self, surface: str, store: Store, changed: Callable[[str], None]) -> None:
        self._surface = surface
        self._store = store
        self._changed = changed
        """Called with the person whose conversations are others now."""
        self._rooms: dict[str, Binding] = {}

    async def load(self) -> None:
        """Read them all."""
        rows = await self._store.scan(ROOMS)
        self._rooms = {row.removeprefix(ROOMS): _BINDING.validate_json(value) for row, value in rows.items()}

    def all(self) -> list[Binding]:
        """Every one."""
        return list(self._rooms.values())

    def live(self, person: str) -> list[Binding]:
        """Those that a person can talk in, by number."""
        mine = [room for room in self._rooms.values() if room.owner == person and room.live]
        return sorted(mine, key=lambda room: room.number)

    def lobby(self, person: str) -> Address:
        """Where a person calls from."""
        return Address(surface=self._surface, conversation=f"{LOBBY}{person}")

    def person_at(self, chat: str) -> str:
        """Whose a conversation or a lobby is; empty where it is nobody's."""
        if chat.startswith(LOBBY):
            return chat.removeprefix(LOBBY)
        room = self._rooms.get(chat)
        return room.owner if room else ""

    async def enter(self, entry: Address, person: str) -> bool:
        """A terminal can be answered wherever it calls from."""
        return True

    async def open(self, opening: Opening) -> Address:
        """Made by its key, so that a repeat finds the first."""
        address = Address(surface=opening.surface, conversation=opening.key)
        if opening.key not in self._rooms:
            await self.record(
                Binding(
                    address=address,
                    owner=opening.owner,
                    number=opening.number,
                    name=opening.name,
                    agent=opening.agent,
                    context=opening.context,
                    created_at=opening.created_at,
                )
            )
        return address

    async def find(self, address: Address) -> Binding | None:
        """The stored one."""
        return self._rooms.get(address.conversation)

    async def record(self, binding: Binding) -> None:
        """Store it, and tell whoever is attached."""
        chat = binding.address.conversation
        await self._store.put(f"{ROOMS}{chat}", _BINDING.dump_json(binding))
        self._rooms[chat] = binding
        self._changed(binding.owner)

    async def recall(self, person: str, live: Sequence[Binding]) -> Collection[Address]:
        """Nobody ever leaves; what an emptied store no longer knows is gone."""
        return [binding.address for binding in live if binding.address.conversation not in self._rooms]

    def link(self, address: Address) -> str:
        """Only `surfaces chat` can follow it."""
        room = self._rooms.get(address.conversation)
        return f"{LINK}{room.number}" if room else LINK
