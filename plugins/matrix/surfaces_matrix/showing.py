"""Makes rooms show what their bindings say: the room's name, and its place in the owner's Space."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from structlog.typing import FilteringBoundLogger

from surfaces_core import Binding, Store
from surfaces_matrix.errors import Refused
from surfaces_matrix.reconcile import Snapshot
from surfaces_matrix.roomstate import RoomState

_ROWS = "shown/"


class _Shown(BaseModel):
    """What a conversation's room was last made to show."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    space: str | None
    """The Space that it is listed in."""
    was: tuple[str, ...] = ()
    """Names from before a person changed them; the host may not have heard of that yet."""


class Showing:
    """What the rooms of one account show; a row for each, which can be lost, spares writing what is there."""

    def __init__(self, state: RoomState, store: Store, log: FilteringBoundLogger, *, via: str) -> None:
        self._state = state
        self._store = store
        self._log = log
        self._via = via

    async def rooms(self) -> list[str]:
        """The rooms of all conversations that are known here."""
        return [row.removeprefix(_ROWS) for row in await self._store.scan(_ROWS)]

    async def listed_in(self, space: str) -> set[str]:
        """The rooms of the conversations that a Space lists."""
        rows = await self._store.scan(_ROWS)
        return {row.removeprefix(_ROWS) for row, raw in rows.items() if _Shown.model_validate_json(raw).space == space}

    async def forget(self, room: str) -> None:
        """The bot is no longer in a room."""
        await self._store.delete(_ROWS + room)

    async def learn(self, snapshot: Snapshot) -> None:
        """Note what rooms show, as a snapshot has them."""
        listed = {child: space.room for space in snapshot.spaces.values() for child in space.children}
        stored = await self._store.scan(_ROWS)
        rooms = {binding.address.conversation: binding.name for binding in snapshot.found}
        seen = {
            _ROWS + room: _Shown(name=name, space=listed.get(room)).model_dump_json().encode()
            for room, name in rooms.items()
        }
        # In one go: an account with an empty store may have thousands of rooms.
        if fresh := {row: shown for row, shown in seen.items() if stored.get(row) != shown}:
            await self._store.write(fresh)

    async def renamed(self, room: str, name: str) -> None:
        """A person gave a room another name: that is what it shows now."""
        raw = await self._store.get(_ROWS + room)
        if raw is not None:
            shown = _Shown.model_validate_json(raw)
            if shown.name != name:
                shown = shown.model_copy(update={"name": name, "was": (*shown.was, shown.name)})
                await self._store.put(_ROWS + room, shown.model_dump_json().encode())

    async def unlist(self, space: str, room: str) -> None:
        """Take a room that is no more out of a Space."""
        try:
            await self._state.set(space, "m.space.child", room, {})
        except Refused as error:
            self._log.info("space.gone", room=space, errcode=error.errcode)

    async def show(self, binding: Binding, space: str | None, *, new: bool = False) -> None:
        """Name a room and list it in its owner's Space, or not where it is archived; only what changed.

        The name is compared with what the room shows, and with what it showed before, so that one that
        the person gave it in their client stays.
        """
        room = binding.address.conversation
        raw = await self._store.get(_ROWS + room)
        shown = None if raw is None else _Shown.model_validate_json(raw)
        stale = shown is not None and binding.name in shown.was
        if not new and not stale and (shown is None or shown.name != binding.name):
            await self._state.set(room, "m.room.name", "", {"name": binding.name or binding.label})
        wanted = None if binding.archived else space
        if shown is None or shown.space != wanted:
            wanted = await self._list(binding, wanted, was=space if shown is None else shown.space, new=new)
        now = _Shown(name=binding.name, space=wanted)
        if stale and shown is not None:
            now = shown.model_copy(update={"space": wanted})
        if now != shown:
            await self._store.put(_ROWS + room, now.model_dump_json().encode())

    async def _list(self, binding: Binding, space: str | None, *, was: str | None, new: bool) -> str | None:
        """List a room in a Space and no longer in another; the Space that lists it now."""
        room, via = binding.address.conversation, [self._via]
        try:
            if was is not None and was != space:
                await self._state.set(was, "m.space.child", room, {})
        except Refused as error:
            self._log.info("space.gone", room=was, errcode=error.errcode)
        if space is None:
            return None
        try:
            await self._state.set(space, "m.space.child", room, {"via": via, "order": f"{binding.number:09d}"})
            if not new:
                await self._state.set(room, "m.space.parent", space, {"via": via, "canonical": True})
        except Refused as error:
            # A Space that is gone is made anew, and rooms are listed there, when the person is let in again.
            self._log.warning("space.refused", room=room, errcode=error.errcode)
            return None
        return space
