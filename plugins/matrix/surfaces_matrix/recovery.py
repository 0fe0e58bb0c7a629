"""Recovers conversations of which rooms say too little: looks at who is in Spaces, and writes what was completed.

What could not be recovered at the start is looked at again when somebody talks there: people rename their rooms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from surfaces_core import Binding, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.keeping import Keeping
from surfaces_matrix.reconcile import Snapshot, Space, bindings
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.shapes import mapping, sequence, user_id
from surfaces_matrix.state import BINDING, SPACE, VERSION, SpaceContent

CHILD = "m.space.child"


class Recovery:
    """The look at all rooms of one account, at each start."""

    def __init__(
        self, *, surface: str, client: Client, state: RoomState, keeping: Keeping, log: FilteringBoundLogger
    ) -> None:
        self._surface = surface
        self._client = client
        self._state = state
        self._keeping = keeping
        self._log = log

    async def look(self, joined: Mapping[str, Sequence[object]], aside: Mapping[str, object]) -> Snapshot:
        """What the rooms show, and the Spaces that don't say whose they are by who is in them. `Unavailable`."""
        me = self._client.user_id
        seen = bindings(self._surface, me, joined, aside=aside)
        owners = {}
        for room in seen.unowned:
            owner = await self._only_other(room)
            if owner is not None:
                owners[room] = owner
        return bindings(self._surface, me, joined, aside=aside, owners=owners) if owners else seen

    async def again(self, room: str, space: Space, siblings: Iterable[str]) -> Binding | None:
        """One room that a Space lists, as it shows itself now; None where it still says too little. `Unavailable`.

        `siblings` are the rooms whose numbers are taken.
        """
        states = {space.room: await self._events(space.room, ("m.room.create", ""), (SPACE, ""), (CHILD, room))}
        for one in (room, *siblings):
            states[one] = await self._events(one, ("m.room.create", ""), ("m.room.name", ""), (BINDING, ""))
        aside = {one: await self._keeping.aside(one) for one in states if one != space.room}
        owners = {space.room: space.owner}
        found = bindings(self._surface, self._client.user_id, states, aside=aside, owners=owners).found
        return next((one for one in found if one.address.conversation == room), None)

    async def _events(self, room: str, *names: tuple[str, str]) -> list[Mapping[str, Any]]:
        return [await self._state.event(room, type_, key) for type_, key in names]

    async def write(self, completed: Iterable[Binding], spaces: Iterable[Space]) -> None:
        """Write what was completed; what can't be written now is completed alike at the next start."""
        try:
            for binding in completed:
                await self._keeping.write(binding)
                self._log.info("binding.recovered", room=binding.address.conversation, number=binding.number)
            for space in spaces:
                await self._mark(space)
        except Unavailable as error:
            self._log.warning("recovery.unfinished", error=str(error))

    async def _mark(self, space: Space) -> None:
        if space.marked:
            return
        try:
            await self._state.set(space.room, SPACE, "", SpaceContent(version=VERSION, owner=space.owner).model_dump())
        except Refused as error:
            self._log.warning("space.refused", room=space.room, errcode=error.errcode)

    async def _only_other(self, room: str) -> str | None:
        """The one person who is in a room, or invited, beside the bot."""
        try:
            answer = await self._client.call("GET", quote("v3", "rooms", room, "members"))
        except Refused:
            return None
        people = {
            event.get("state_key")
            for event in map(mapping, sequence(answer.get("chunk")))
            if mapping(event.get("content")).get("membership") in ("join", "invite")
        }
        others = people - {self._client.user_id}
        return user_id(others.pop()) if len(others) == 1 else None
