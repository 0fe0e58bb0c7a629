"""Makes each room once, although `createRoom` makes another one every time it is called.

A random alias is stored before the call and given to the room by it. Who was interrupted and asks
again is told that the alias is taken, and finds the room by it. Where a homeserver gives no
aliases, the bot's rooms are searched instead. That a room was asked to be encrypted is stored before the
call, too, and counts whatever its homeserver makes of that.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from structlog.typing import FilteringBoundLogger

from surfaces_core import Store, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.encryption import ENCRYPTION, MEGOLM
from surfaces_matrix.errors import Refused
from surfaces_matrix.roomstate import state_path
from surfaces_matrix.shapes import mapping, sequence, text

CREATING_TAKES = 3
"""Times as long as other requests."""
UNFINISHED_AFTER_S = 180.0
"""A room that has no mark by then will never get it: its homeserver stopped while it made it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A state event that is in a room from its beginning and says what it is for.

    `same` are the keys of its content that tell it from the bot's other rooms.
    """

    type: str
    content: Mapping[str, object]
    same: tuple[str, ...]

    def is_in(self, content: Mapping[str, object]) -> bool:
        """Whether a room's content of that type says the same."""
        return all(content.get(key) == self.content[key] for key in self.same)


class Made(BaseModel):
    """The record of one room that is being made or was made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    nonce: str
    begun: float
    """Unix seconds."""
    aliased: bool = True
    encrypted: bool = False
    """Encryption was asked for."""
    room: str | None = None
    done: bool = False
    """Everything around the room is made, too."""


class Maker:
    """Makes rooms and remembers them by keys of the caller's, in the surface's own store."""

    def __init__(
        self,
        client: Client,
        store: Store,
        log: FilteringBoundLogger,
        *,
        expect: Callable[[str], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`expect` notes for ever that a room is encrypted."""
        self._client = client
        self._store = store
        self._log = log
        self._expect = expect
        self._clock = clock
        self._server = client.user_id.partition(":")[2]
        self._aliases = True
        """Until the homeserver refuses one."""

    async def known(self, key: str) -> Made | None:
        """What is known about a room."""
        raw = await self._store.get(key)
        return None if raw is None else Made.model_validate_json(raw)

    async def learn(self, key: str, room: str) -> None:
        """Note a room that was found."""
        await self._keep(key, Made(nonce="", begun=self._clock(), room=room))

    async def finish(self, key: str, made: Made) -> None:
        """Note that everything around a room is made."""
        await self._keep(key, made.model_copy(update={"done": True}))

    async def forget(self, key: str) -> None:
        """The room is gone; the next `room` makes another one."""
        await self._store.delete(key)

    async def room(self, key: str, mark: Mark, body: Mapping[str, Any], *, encrypted: bool = False) -> Made:
        """The room for a key, made with `body` and `mark` if there is none yet; `Unavailable` or `Rejected`.

        Whether it is `encrypted` the first try decides.
        """
        made = await self.known(key)
        if made is not None and made.room is not None:
            return made
        resumed = made is not None
        if made is None:
            made = Made(nonce=secrets.token_hex(16), begun=self._clock(), aliased=self._aliases, encrypted=encrypted)
            await self._keep(key, made)
        state = [{"type": mark.type, "state_key": "", "content": mark.content}, *body.get("initial_state", ())]
        if made.encrypted:
            state.append({"type": ENCRYPTION, "state_key": "", "content": {"algorithm": MEGOLM}})
        return await self._make(key, made, mark, {**body, "initial_state": state}, resumed=resumed)

    async def _make(self, key: str, made: Made, mark: Mark, body: Mapping[str, Any], *, resumed: bool) -> Made:
        room = None
        if made.aliased:
            try:
                room = await self._with_alias(key, made, mark, body)
            except _NoAliases:
                made = await self._keep(key, made.model_copy(update={"aliased": False}))
        elif resumed:
            room = await self._search(mark)
        if room is None:
            room = await self._create(body)
            self._aliases = False
        if made.encrypted and self._expect is not None:
            await self._expect(room)
        self._log.info("room.made", room=room, key=key)
        return await self._keep(key, made.model_copy(update={"room": room}))

    async def _with_alias(self, key: str, made: Made, mark: Mark, body: Mapping[str, Any]) -> str:
        name = f"surfaces_{made.nonce}"
        try:
            return await self._create({**body, "room_alias_name": name})
        except Refused as error:
            if error.errcode != "M_ROOM_IN_USE" and error.status != 409:
                # Whatever was refused, the alias or the room: without one it will show.
                raise _NoAliases from error
        answer = await self._client.call("GET", quote("v3", "directory", "room", f"#{name}:{self._server}"))
        room = _room_id(answer)
        if await self._has(room, mark.type):
            return room
        if self._clock() - made.begun > UNFINISHED_AFTER_S:
            await self._store.delete(key)
        raise Unavailable(f"{room} is not finished yet", retry_after=5.0)

    async def _create(self, body: Mapping[str, Any]) -> str:
        timeout_s = CREATING_TAKES * self._client.timeout_s
        answer = await self._client.call("POST", "/v3/createRoom", dict(body), timeout_s=timeout_s, needs="room_id")
        return str(answer["room_id"])

    async def _search(self, mark: Mark) -> str | None:
        answer = await self._client.call("GET", "/v3/joined_rooms")
        for room in filter(None, map(text, sequence(answer.get("joined_rooms")))):
            event = await self.state(room, mark.type)
            if event is not None and mark.is_in(mapping(event.get("content"))):
                return room
        return None

    async def _has(self, room: str, type_: str) -> bool:
        try:
            await self._client.call("GET", state_path(room, type_))
        except Refused:
            return False
        return True

    async def state(self, room: str, type_: str, key: str = "") -> Mapping[str, Any] | None:
        """A whole state event of the bot's own, or None where it can't be had or somebody else wrote it."""
        try:
            event = await self._client.call("GET", state_path(room, type_, key), query={"format": "event"})
        except Refused:
            return None
        return event if event.get("sender") == self._client.user_id else None

    async def _keep(self, key: str, made: Made) -> Made:
        await self._store.put(key, made.model_dump_json().encode())
        return made


class _NoAliases(Exception):
    """The homeserver would not make the room with its alias."""


def _room_id(answer: Mapping[str, Any]) -> str:
    room = text(answer.get("room_id"))
    if room is None:
        raise Unavailable("the homeserver's answer names no room")
    return room
