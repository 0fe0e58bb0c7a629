"""Manages conversations as Matrix rooms: one per conversation, in a private Space per person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote as percent
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from surfaces_core import Address, Binding, Conversations, Inbound, Intake, Opening, Rejected, Store, Unavailable
from surfaces_matrix import words
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.groups import Groups
from surfaces_matrix.keeping import Keeping
from surfaces_matrix.making import Maker, Mark
from surfaces_matrix.memberships import LONGEST_NAME
from surfaces_matrix.moving import Moves
from surfaces_matrix.reconcile import Snapshot, Space, bindings
from surfaces_matrix.recovery import Recovery
from surfaces_matrix.roomstate import RoomState
from surfaces_matrix.shapes import mapping, one_line, sequence, text
from surfaces_matrix.showing import Showing
from surfaces_matrix.state import BINDING, SPACE, VERSION, BindingContent, SpaceContent

JOINS_TAKE = 3
"""Times as long as other requests."""
SETTLE_TIMEOUT_S = 30.0
"""How long a change waits for the first look at what is there."""
FIRST_RESTRICTED = 8
"""The first room version in which a room can let in the members of another."""
LONG_WAIT_S = 10.0
"""Homeservers limit how often one person is invited: by default Synapse lets a sixth invite wait for minutes."""
_LONGEST_ROOM_NAME = 255

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


class Rooms(Conversations):
    """The conversations of one account.

    What is stored: under `space/` and `opening/` what was made, under `shown/` what rooms show. All of
    it can be lost: `learn` finds it again in the rooms themselves.
    """

    def __init__(
        self,
        *,
        surface: str,
        client: Client,
        store: Store,
        space_name: str,
        log: FilteringBoundLogger,
        group_rooms: str = "decline",
        prefix: str = "!",
        encrypt: bool = False,
        expect: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """With `encrypt` conversations are made encrypted; `expect` notes for ever that a room is."""
        self._surface = surface
        self._client = client
        self._space_name = space_name
        self._prefix = prefix
        self._encrypt = encrypt
        self._log = log
        self._me = client.user_id
        self._server = client.user_id.partition(":")[2]
        self._maker = Maker(client, store, log, expect=expect)
        self._state = RoomState(client)
        self._showing = Showing(self._state, store, log, via=self._server)
        self._keeping = Keeping(client, self._state, log)
        self._moves = Moves(client, store, self._state, log)
        self.groups = Groups(client, self._state, log, enabled=group_rooms == "mention")
        self.recovery = Recovery(surface=surface, client=client, state=self._state, keeping=self._keeping, log=log)
        self._listed: dict[str, tuple[Space, frozenset[str]]] = {}
        """Conversations of which nothing more could be told: the Space that lists each, and what else its owner has."""
        self._bot_name: str | None = None
        self._restricted: bool | None = None
        self._settled = asyncio.Event()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.made: set[str] = set()
        """The rooms of conversations that this process made."""

    # The contract

    async def enter(self, entry: Address, person: str) -> bool:
        """Join where a person called from; False where the invite is gone, or others are and that is not wanted."""
        room = entry.conversation
        try:
            await self._join(room)
        except Refused as error:
            self._log.info("entry.gone", room=room, person=person, errcode=error.errcode)
            return False
        old = await self._moves.predecessor(room)
        if old is not None and await self._moves.target(old) == room:
            return await self.find(entry) is not None  # the bot came after it already, and knows its way
        if old is not None:
            await self.follow(replace(entry, conversation=old), entry)
        if await self._others(room) <= 1:
            return True
        if self.groups.enabled:
            await self.groups.add(room)
            return True
        self._log.info("entry.group_declined", room=room, person=person)
        await self._client.call("POST", quote("v3", "rooms", room, "leave"), {})
        return False

    async def _join(self, room: str) -> None:
        """Join by either of the two paths; not every homeserver has both. `Refused`: the invite is gone."""
        try:
            await self._client.call(
                "POST", quote("v3", "rooms", room, "join"), {}, timeout_s=JOINS_TAKE * self._client.timeout_s
            )
        except Refused as error:
            if error.errcode == "M_NOT_FOUND" or error.status not in (404, 405):
                raise
            await self._client.call(
                "POST", quote("v3", "join", room), {}, timeout_s=JOINS_TAKE * self._client.timeout_s
            )

    async def _others(self, room: str) -> int:
        """How many people are in a room or will be, the bot not counted; one, who called, where it can't be told."""
        try:
            return await self._members(room)
        except Refused:
            pass
        try:
            answer = await self._client.call("GET", quote("v3", "rooms", room, "joined_members"))
        except Refused as error:
            self._log.info("entry.members_unknown", room=room, errcode=error.errcode)
            return 1
        return len(mapping(answer.get("joined")).keys() - {self._me})

    async def _members(self, room: str) -> int:
        answer = await self._client.call("GET", quote("v3", "rooms", room, "members"))
        others = [event for event in map(mapping, sequence(answer.get("chunk"))) if event.get("state_key") != self._me]
        return sum(mapping(event.get("content")).get("membership") in ("join", "invite") for event in others)

    async def open(self, opening: Opening) -> Address:
        """Make a conversation's room in its owner's Space and invite the owner to both."""
        await self._wait_until_settled()
        key = f"opening/{opening.key}"
        async with self._lock(opening.owner):
            made = await self._maker.known(key)
            if made is None or not made.done:
                space = await self._space(opening.owner, opening.owner_name)
                body = await self._conversation(opening, space)
                made = await self._maker.room(key, _conversation_mark(opening), body, encrypted=self._encrypt)
                self.made.add(str(made.room))
                address = Address(surface=self._surface, conversation=str(made.room))
                binding = BindingContent.of_opening(opening).binding(address, opening.name)
                await self._showing.show(binding, space, new=True)
                await self._let_in(space, opening.owner)
                await self._let_in_by(space, address.conversation, opening.owner)
                await self._maker.finish(key, made)
        return Address(surface=self._surface, conversation=str(made.room))

    async def find(self, address: Address) -> Binding | None:
        """The binding that a room shows, if the bot wrote it; what its Space says where it shows none."""
        room = address.conversation
        events = [event for event in [await self._maker.state(room, BINDING)] if event is not None]
        aside = await self._keeping.aside(room)
        listed = room in self._listed
        if not events and not aside and not listed:
            return None
        name = {"type": "m.room.name", "state_key": "", "content": await self._state.content(room, "m.room.name")}
        found = bindings(self._surface, self._me, {room: [*events, name]}, aside={room: aside}).found
        again = await self._recovered(room) if listed and not found else None
        if found or again is not None:
            return again or found[0]
        raise Rejected(
            f"{room} does not say whose it is", code="LOST_CONVERSATION", public=words.LOST(prefix=self._prefix)
        )

    async def _recovered(self, room: str) -> Binding | None:
        """What a room that could not be recovered says now: people may have renamed it, or given another one up."""
        space, siblings = self._listed[room]
        return await self.recovery.again(room, space, siblings | await self._showing.listed_in(space.room) - {room})

    async def record(self, binding: Binding) -> None:
        """Write a binding into its room; name it and list it in the Space accordingly."""
        if binding.left:
            return
        await self._wait_until_settled()
        async with self._lock(binding.owner):
            await self._keeping.write(binding)
            self._listed.pop(binding.address.conversation, None)
            if binding.shared:
                await self.groups.add(binding.address.conversation)
                return
            space = await self._maker.known(_space_key(binding.owner))
            await self._showing.show(binding, None if space is None else space.room)

    async def is_shared(self, address: Address) -> bool:
        """Whether others are in a room, too, and that is wanted."""
        return self.groups.enabled and await self._others(address.conversation) > 1

    def manages(self, address: Address, person: str) -> bool:
        """By the power level that the room's state gives to a person's id."""
        return self.groups.manages(address.conversation, person)

    async def follow(self, address: Address, target: Address) -> Binding | None:
        """Go on in the room that replaces another: its binding is written there before the old room is left."""
        await self._wait_until_settled()
        old, new = address.conversation, target.conversation
        if not await self._moves.arrive(old, new):
            return None
        binding = await self.find(target)
        if binding is None and (before := await self.find(address)) is not None:
            binding = replace(before, address=target, owner=new if before.shared else before.owner)
            await self._keeping.write(binding)
        if binding is not None and binding.shared:
            await self.groups.add(new)
        elif binding is not None:
            await self._resettle(binding, old)
        await self._moves.went(old, new)
        return binding

    async def _resettle(self, binding: Binding, old: str) -> None:
        """List a conversation's new room in its owner's Space instead of the old one, and let the owner in."""
        async with self._lock(binding.owner):
            space = await self._space(binding.owner, None)
            if not binding.archived:
                await self._showing.unlist(space, old)
            await self._showing.show(binding, space, new=True)
            await self._showing.forget(old)
            await self._let_in_by(space, binding.address.conversation, binding.owner)

    async def now_at(self, room: str) -> str:
        """Where what is to be said in a room belongs now. `Unavailable` while the room moves."""
        target = await self._moves.target(room)
        if target is None and await self._moves.is_open(room):
            raise Unavailable(f"{room} is moving", retry_after=1.0)
        return target or room

    async def renamed(self, entries: Iterable[Inbound]) -> None:
        """People gave rooms other names."""
        for entry in entries:
            await self._showing.renamed(entry.address.conversation, entry.text)

    async def recall(self, person: str, live: Sequence[Binding]) -> list[Address]:
        """Invite a person to their Space and conversations again, wherever they are neither in nor invited.

        Those where the bot itself is no longer are the answer.
        """
        gone = []
        async with self._lock(person):
            space = await self._space(person, None)
            await self._let_in(space, person)
            for binding in live:
                room = binding.address.conversation
                # Who has left a room is shown it as it was then, so nothing else would tell.
                if await self._state.membership(room, self._me) != "join":
                    gone.append(binding.address)
                    continue
                try:
                    await self._showing.show(binding, space)
                    await self._let_in_by(space, room, person)
                except Refused as error:
                    self._log.warning("recall.refused", room=room, errcode=error.errcode)
        return gone

    async def home(self, person: str) -> str | None:
        """The last of the conversations in a person's Space, if it has any. `Unavailable`, `Refused`."""
        space = await self._maker.known(_space_key(person))
        if space is None or space.room is None:
            return None
        path = quote("v1", "rooms", space.room, "hierarchy")
        answer = await self._client.call("GET", path, query={"max_depth": "1", "limit": "50"})
        rooms = [text(mapping(room).get("room_id")) for room in sequence(answer.get("rooms"))]
        return next((room for room in reversed(rooms) if room not in (None, space.room)), None)

    def link(self, address: Address) -> str:
        """Where a link leads: a matrix.to address ("matrix.to navigation"), with the bot's homeserver as the way in."""
        room = percent(address.conversation, safe="!:")
        return f"https://matrix.to/#/{room}?via={percent(self._server, safe=':')}"

    # From the rooms themselves

    async def reconcile(self, intake: Intake, joined: Mapping[str, Sequence[Any]], aside: Mapping[str, object]) -> None:
        """Bring the host's record in step with the joined rooms' state; makes, invites, leaves and renames nothing."""
        seen = await self.recovery.look(joined, aside)
        await self.learn(seen, joined, aside)
        # What is newer than the snapshot must not be taken for gone: nothing is made or changed before this.
        found = [*seen.found, *await self.overlooked(joined)]
        result = await intake.restore(found, rooms_seen=len(joined), skipped=seen.skipped)
        self.settled()
        await self.recovery.write(result.completed, seen.spaces.values())

    async def learn(
        self,
        snapshot: Snapshot,
        states: Mapping[str, Sequence[Any]] | None = None,
        aside: Mapping[str, object] | None = None,
    ) -> None:
        """Note the Spaces and what rooms show, as a snapshot has them; an empty store is filled by it."""
        self._listed = {
            room: (snapshot.spaces[owner], snapshot.of(owner) - {room}) for room, owner in snapshot.listed.items()
        }
        shared = {binding.address.conversation for binding in snapshot.found if binding.shared}
        self._keeping.learn({room: content for room, content in (aside or {}).items() if room not in shared})
        for place in shared:
            self.groups.learn(place, *_powers((states or {}).get(place, ())))
        for owner, space in snapshot.spaces.items():
            known = await self._maker.known(_space_key(owner))
            room = None if known is None else known.room
            if room != space.room and snapshot.skipped.get(room or "") != "duplicate_space":
                await self._maker.learn(_space_key(owner), space.room)
        await self._showing.learn(snapshot)

    async def overlooked(self, joined: Container[str]) -> list[Binding]:
        """The conversations that the bot is in although a snapshot of its `joined` rooms does not show them.

        A snapshot may come from a cache or from a replica that lags. `Unavailable` when it can't be told.
        """
        found = []
        for room in await self._showing.rooms():
            if room in joined:
                continue
            if await self._state.membership(room, self._me) != "join":
                await self._showing.forget(room)
            elif (binding := await self.find(Address(surface=self._surface, conversation=room))) is not None:
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
            if await self._state.membership(known.room, self._me) == "join":
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

    async def _conversation(self, opening: Opening, space: str) -> Mapping[str, Any]:
        parent = {
            "type": "m.space.parent",
            "state_key": space,
            "content": {"via": [self._server], "canonical": True},
        }
        rules = [_members_of(space)] if await self._know_restricted() else []
        return {
            **_room(opening.name or f"C{opening.number}"),
            "topic": words.TOPIC(prefix=self._prefix),  # theirs to change: never written again
            "initial_state": [parent, *rules],
        }

    async def _know_restricted(self) -> bool:
        """Whether new rooms can let in the members of a Space ("Room versions": from 8 on); asked once."""
        if self._restricted is None:
            try:
                answer = mapping((await self._client.call("GET", "/v3/capabilities")).get("capabilities"))
            except Refused:
                answer = {}
            version = text(mapping(answer.get("m.room_versions")).get("default")) or ""
            self._restricted = version.isdecimal() and int(version) >= FIRST_RESTRICTED
        return self._restricted

    async def _name_space(self, owner: str, owner_name: str | None) -> str:
        if self._bot_name is None:
            self._bot_name = await self._display_name(self._me)
        if owner_name is None:
            owner_name = await self._display_name(owner)
        name = self._space_name.format(bot=self._bot_name, display_name=owner_name or _localpart(owner), user_id=owner)
        return one_line(name, _LONGEST_ROOM_NAME)

    async def _display_name(self, person: str) -> str:
        try:
            answer = await self._client.call("GET", quote("v3", "profile", person, "displayname"))
        except Refused:
            return _localpart(person)
        return one_line(answer.get("displayname"), LONGEST_NAME) or _localpart(person)

    async def _let_in_by(self, space: str, room: str, person: str) -> None:
        """Invite a person; where that would take long, it is enough that their Space lets them in."""
        try:
            await self._let_in(room, person)
        except Unavailable as error:
            if (error.retry_after or 0.0) <= LONG_WAIT_S or not await self._lets_in(space, room, person):
                raise
            self._log.info("invite.spared", room=room, retry_after_s=error.retry_after)

    async def _lets_in(self, space: str, room: str, person: str) -> bool:
        rule = (await self._state.content(room, "m.room.join_rules")).get("join_rule")
        return rule == "restricted" and await self._state.membership(space, person) == "join"

    async def _let_in(self, room: str, person: str) -> None:
        """Invite a person who is neither in nor invited."""
        if await self._state.membership(room, person) in ("join", "invite"):
            return
        try:
            await self._client.call("POST", quote("v3", "rooms", room, "invite"), {"user_id": person})
        except Refused:
            # They may have come in between.
            if await self._state.membership(room, person) not in ("join", "invite"):
                raise

    def _lock(self, person: str) -> asyncio.Lock:
        """One at a time for each person, else two conversations opened at once would make two Spaces."""
        return self._locks.setdefault(person, asyncio.Lock())


def _conversation_mark(opening: Opening) -> Mark:
    content = BindingContent.of_opening(opening).content()
    return Mark(type=BINDING, content=content, same=("owner", "conversation"))


def _room(name: str, *, creation: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What all rooms that the bot makes have in common."""
    return {
        "preset": "private_chat",
        "visibility": "private",
        "name": name[:_LONGEST_ROOM_NAME],
        "creation_content": dict(creation or {}),
        "power_level_content_override": _POWER,
    }


def _members_of(space: str) -> dict[str, Any]:
    """The rule that whoever is in a Space may join; only the bot lets people in there."""
    allow = [{"type": "m.room_membership", "room_id": space}]
    return {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}


def _powers(events: Sequence[Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A room's creation, and its power levels."""
    state = {event.get("type"): event for event in map(mapping, events) if event.get("state_key") == ""}
    return mapping(state.get("m.room.create")), mapping(mapping(state.get("m.room.power_levels")).get("content"))


def _space_key(owner: str) -> str:
    return f"space/{owner}"


def _localpart(person: str) -> str:
    return person[1:].partition(":")[0]
