"""Manages conversations as Matrix rooms: one per conversation, in a private Space per person."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from typing import Any
from urllib.parse import quote as percent
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict
from structlog.typing import FilteringBoundLogger

from surfaces_core import Address, Binding, Conversations, Opening, Store, Unavailable
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.making import Maker, Mark
from surfaces_matrix.reconcile import Snapshot, bindings
from surfaces_matrix.shapes import mapping, text
from surfaces_matrix.state import BINDING, SPACE, VERSION, BindingContent, SpaceContent

JOIN_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 30.0
"""How long a change waits for the first look at what is there."""
_LONGEST_NAME = 255

# `users` is left to the homeserver: from room version 12 on the creator stands above all levels and
# must not be listed, up to 11 it must be ("Room versions"). All other state is the bot's alone.
_POWER = {
    "users_default": 0,
    "events": {"m.room.name": 0, "m.room.avatar": 0, "m.room.topic": 0},
    "state_default": 100,
    "invite": 100,
    "kick": 100,
    "ban": 100,
    "redact": 100,
}


class _Shown(BaseModel):
    """What a conversation's room was last made to show."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    space: str | None
    """The Space that it is listed in."""


class Rooms(Conversations):
    """The conversations of one account.

    What is stored: under `space/` and `opening/` what was made, under `shown/` what rooms show. All of
    it can be lost: `learn` finds it again in the rooms themselves.
    """

    def __init__(
        self, *, surface: str, client: Client, store: Store, space_name: str, log: FilteringBoundLogger
    ) -> None:
        self._surface = surface
        self._client = client
        self._store = store
        self._space_name = space_name
        self._log = log
        self._me = client.user_id
        self._server = client.user_id.partition(":")[2]
        self._maker = Maker(client, store, log)
        self._bot_name: str | None = None
        self._settled = asyncio.Event()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # The contract

    async def enter(self, entry: Address, person: str) -> bool:
        """Join where a person called from; False where others are, too, or the invite is gone."""
        room = entry.conversation
        try:
            await self._client.call("POST", quote("v3", "rooms", room, "join"), {}, timeout_s=JOIN_TIMEOUT_S)
            answer = await self._client.call("GET", quote("v3", "rooms", room, "joined_members"))
        except Refused as error:
            self._log.info("entry.gone", room=room, person=person, errcode=error.errcode)
            return False
        if len(mapping(answer.get("joined"))) <= 2:
            return True
        self._log.info("entry.group_declined", room=room, person=person)
        await self._client.call("POST", quote("v3", "rooms", room, "leave"), {})
        return False

    async def open(self, opening: Opening) -> Address:
        """Make a conversation's room in its owner's Space and invite the owner to both."""
        await self._wait_until_settled()
        key = f"opening/{opening.key}"
        async with self._lock(opening.owner):
            made = await self._maker.known(key)
            if made is None or not made.done:
                space = await self._space(opening.owner, opening.owner_name)
                made = await self._maker.room(key, _conversation_mark(opening), self._conversation(opening, space))
                address = Address(surface=self._surface, conversation=str(made.room))
                await self._show(BindingContent.of_opening(opening).binding(address, opening.name), space, new=True)
                await self._let_in(space, opening.owner)
                await self._let_in(address.conversation, opening.owner)
                await self._maker.finish(key, made)
        return Address(surface=self._surface, conversation=str(made.room))

    async def find(self, address: Address) -> Binding | None:
        """The binding that a room's state shows, if the bot wrote it."""
        room = address.conversation
        event = await self._maker.state(room, BINDING)
        if event is None:
            return None
        name = {"type": "m.room.name", "state_key": "", "content": await self._content(room, "m.room.name")}
        found = bindings(self._surface, self._me, {room: [event, name]}).found
        return found[0] if found else None

    async def record(self, binding: Binding) -> None:
        """Write a binding into its room; name it and list it in the Space accordingly."""
        if binding.left:
            return
        await self._wait_until_settled()
        async with self._lock(binding.owner):
            content = BindingContent.of(binding).model_dump()
            await self._set(binding.address.conversation, BINDING, "", content)
            space = await self._maker.known(_space_key(binding.owner))
            await self._show(binding, None if space is None else space.room)

    async def recall(self, person: str, live: Sequence[Binding]) -> None:
        """Invite a person to their Space and conversations again, wherever they are neither in nor invited."""
        async with self._lock(person):
            space = await self._space(person, None)
            await self._let_in(space, person)
            for binding in live:
                try:
                    await self._show(binding, space)
                    await self._let_in(binding.address.conversation, person)
                except Refused as error:
                    self._log.warning("recall.refused", room=binding.address.conversation, errcode=error.errcode)

    def link(self, address: Address) -> str:
        """Where a link leads: a matrix.to address ("matrix.to navigation"), with the bot's homeserver as the way in."""
        room = percent(address.conversation, safe="!:")
        return f"https://matrix.to/#/{room}?via={percent(self._server, safe=':')}"

    # From the rooms themselves

    async def learn(self, snapshot: Snapshot) -> None:
        """Note the Spaces and what rooms show, as a snapshot has them; an empty store is filled by it."""
        for owner, space in snapshot.spaces.items():
            known = await self._maker.known(_space_key(owner))
            room = None if known is None else known.room
            if room != space.room and snapshot.skipped.get(room or "") != "duplicate_space":
                await self._maker.learn(_space_key(owner), space.room)
        listed = {child: space.room for space in snapshot.spaces.values() for child in space.children}
        stored = await self._store.scan("shown/")
        for binding in snapshot.found:
            room = binding.address.conversation
            shown = _Shown(name=binding.name, space=listed.get(room)).model_dump_json().encode()
            if stored.get(f"shown/{room}") != shown:
                await self._store.put(f"shown/{room}", shown)

    async def overlooked(self, joined: Container[str]) -> list[Binding]:
        """The conversations that the bot is in although a snapshot of its `joined` rooms does not show them.

        A snapshot may come from a cache or from a replica that lags. `Unavailable` when it can't be told.
        """
        found = []
        for row in await self._store.scan("shown/"):
            address = Address(surface=self._surface, conversation=row.removeprefix("shown/"))
            if address.conversation in joined:
                continue
            if await self._membership(address.conversation, self._me) != "join":
                await self._store.delete(row)
            elif (binding := await self.find(address)) is not None:
                found.append(binding)
        return found

    def settled(self) -> None:
        """The host's record is in step with the rooms: from now on they may be made and changed.

        Before, a snapshot that is a moment older would tell the host that a new room is gone.
        """
        self._settled.set()

    async def _wait_until_settled(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self._settled.wait()
        except TimeoutError:
            raise Unavailable("what the rooms show is not known yet") from None

    # Making

    async def _space(self, owner: str, owner_name: str | None) -> str:
        """The person's Space; a new one where there is none or the bot is no longer in it."""
        key = _space_key(owner)
        known = await self._maker.known(key)
        if known is not None and known.room is not None:
            if await self._membership(known.room, self._me) == "join":
                return known.room
            self._log.warning("space.gone", room=known.room)
            await self._maker.forget(key)
        content = SpaceContent(version=VERSION, owner=owner).model_dump()
        mark = Mark(type=SPACE, content=content, same=("owner",))
        body = {
            **_room(await self._name_space(owner, owner_name), creation={"type": "m.space"}),
            "power_level_content_override": {**_POWER, "events_default": 100},
        }
        return str((await self._maker.room(key, mark, body)).room)

    def _conversation(self, opening: Opening, space: str) -> Mapping[str, Any]:
        parent = {
            "type": "m.space.parent",
            "state_key": space,
            "content": {"via": [self._server], "canonical": True},
        }
        return {**_room(opening.name or f"C{opening.number}"), "initial_state": [parent]}

    async def _name_space(self, owner: str, owner_name: str | None) -> str:
        if self._bot_name is None:
            self._bot_name = await self._display_name(self._me)
        if owner_name is None:
            owner_name = await self._display_name(owner)
        name = self._space_name.format(bot=self._bot_name, display_name=owner_name or _localpart(owner), user_id=owner)
        return " ".join(name.split())[:_LONGEST_NAME]

    async def _display_name(self, person: str) -> str:
        try:
            answer = await self._client.call("GET", quote("v3", "profile", person, "displayname"))
        except Refused:
            return _localpart(person)
        return text(answer.get("displayname")) or _localpart(person)

    # Showing

    async def _show(self, binding: Binding, space: str | None, *, new: bool = False) -> None:
        """Name a room and list it in its owner's Space, or not where it is archived; only what changed.

        The name is compared with what was last written, so that one that the person gave the room
        in their client stays.
        """
        room = binding.address.conversation
        raw = await self._store.get(f"shown/{room}")
        shown = None if raw is None else _Shown.model_validate_json(raw)
        if not new and (shown is None or shown.name != binding.name):
            await self._set(room, "m.room.name", "", {"name": binding.name or binding.label})
        wanted = None if binding.archived else space
        if shown is None or shown.space != wanted:
            wanted = await self._list(binding, wanted, was=space if shown is None else shown.space, new=new)
        now = _Shown(name=binding.name, space=wanted)
        if now != shown:
            await self._store.put(f"shown/{room}", now.model_dump_json().encode())

    async def _list(self, binding: Binding, space: str | None, *, was: str | None, new: bool) -> str | None:
        """List a room in a Space and no longer in another; the Space that lists it now."""
        room, via = binding.address.conversation, [self._server]
        try:
            if was is not None and was != space:
                await self._set(was, "m.space.child", room, {})
        except Refused as error:
            self._log.info("space.gone", room=was, errcode=error.errcode)
        if space is None:
            return None
        try:
            await self._set(space, "m.space.child", room, {"via": via, "order": f"{binding.number:09d}"})
            if not new:
                await self._set(room, "m.space.parent", space, {"via": via, "canonical": True})
        except Refused as error:
            # A Space that is gone is made anew, and rooms are listed there, when the person is let in again.
            self._log.warning("space.refused", room=room, errcode=error.errcode)
            return None
        return space

    async def _let_in(self, room: str, person: str) -> None:
        """Invite a person who is neither in nor invited."""
        if await self._membership(room, person) in ("join", "invite"):
            return
        try:
            await self._client.call("POST", quote("v3", "rooms", room, "invite"), {"user_id": person})
        except Refused:
            # They may have come in between.
            if await self._membership(room, person) not in ("join", "invite"):
                raise

    async def _membership(self, room: str, person: str) -> str | None:
        return text((await self._content(room, "m.room.member", person)).get("membership"))

    async def _content(self, room: str, type_: str, key: str = "") -> Mapping[str, Any]:
        """A state event's content; empty where there is none or the bot may not see it."""
        try:
            return await self._client.call("GET", quote("v3", "rooms", room, "state", type_, key))
        except Refused:
            return {}

    async def _set(self, room: str, type_: str, key: str, content: Mapping[str, object]) -> None:
        await self._client.call("PUT", quote("v3", "rooms", room, "state", type_, key), dict(content))

    def _lock(self, person: str) -> asyncio.Lock:
        """One at a time for each person, else two conversations opened at once would make two Spaces."""
        return self._locks.setdefault(person, asyncio.Lock())


def _conversation_mark(opening: Opening) -> Mark:
    content = BindingContent.of_opening(opening).model_dump()
    return Mark(type=BINDING, content=content, same=("owner", "conversation"))


def _room(name: str, *, creation: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What all rooms that the bot makes have in common."""
    return {
        "preset": "private_chat",
        "visibility": "private",
        "name": name[:_LONGEST_NAME],
        "creation_content": dict(creation or {}),
        "power_level_content_override": _POWER,
    }


def _space_key(owner: str) -> str:
    return f"space/{owner}"


def _localpart(person: str) -> str:
    return person[1:].partition(":")[0]
