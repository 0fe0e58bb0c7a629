"""Conversations are rooms in a Space: made once, whatever is cut, and the same on homeservers of both room versions."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any

import pytest
import pytest_asyncio
import structlog

from surfaces_core import Address, Binding, Opening, Rejected, SurfaceContext, Unavailable
from surfaces_core.i18n import language
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.recording_intake import RecordingIntake, receiving
from surfaces_demo.synapse import Synapse
from surfaces_matrix import MatrixSurface
from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.making import UNFINISHED_AFTER_S, Made, Maker, Mark
from surfaces_matrix.memberships import joined_state
from surfaces_matrix.reconcile import Snapshot, bindings
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.roomstate import state_path
from surfaces_matrix.state import BINDING
from surfaces_testing.homeserver import PASSWORD, FakeHomeserver

LOG = structlog.get_logger()
TIMEOUTS = itertools.count(1)
NAMES = (f"u{number}" for number in itertools.count())
State = dict[tuple[str, str], dict[str, Any]]


class Cut(BaseException):
    """The process dies here."""


@dataclass
class Steps:
    """Counts what goes out to the homeserver and the store, and cuts before or after the n-th."""

    cut_at: int | None = None
    after: bool = False
    count: int = 0

    def begin(self) -> None:
        self.count += 1
        if self.count == self.cut_at and not self.after:
            raise Cut

    def end(self) -> None:
        if self.count == self.cut_at and self.after:
            raise Cut


@dataclass
class MemoryStore:
    """A store in memory; its rows outlive whoever uses it."""

    rows: dict[str, bytes] = field(default_factory=dict)
    steps: Steps = field(default_factory=Steps)

    async def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.steps.begin()
        self.rows[key] = value
        self.steps.end()

    async def delete(self, key: str) -> None:
        self.steps.begin()
        self.rows.pop(key, None)
        self.steps.end()

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        return {key: value for key, value in self.rows.items() if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        self.steps.begin()
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self.steps.end()


class SlowStore(MemoryStore):
    """Others get many turns before anything is written."""

    async def put(self, key: str, value: bytes) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
        await super().put(key, value)


class Bot(Client):
    """A client that counts its steps, and can be refused aliases and told to wait with invites."""

    steps = Steps()
    aliases = True
    crowded = False
    """Invites have to wait for minutes."""

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        self.steps.begin()
        try:
            if self.crowded and path.endswith("/invite"):
                raise Unavailable("too many invites", retry_after=300.0)
            if not self.aliases and body and "room_alias_name" in body:
                raise Refused("no aliases here", status=400, errcode="M_EXCLUSIVE")
            return await super().call(method, path, body, **more)
        finally:
            self.steps.end()


class Forgetful(Bot):
    """A client on whose homeserver no new room becomes encrypted."""

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        if path == "/v3/createRoom":
            state = [event for event in body["initial_state"] if event["type"] != "m.room.encryption"]
            body = {**body, "initial_state": state}
        return await super().call(method, path, body, **more)


@dataclass
class Home:
    """A homeserver, the bot on it, and people who come to it."""

    url: str
    server: Synapse | FakeHomeserver
    stack: AsyncExitStack
    bot: Bot = field(init=False)

    async def client(self, kind: type[Client], name: str) -> Any:
        if isinstance(self.server, Synapse):
            account = await self.server.register(name, PASSWORD)
            user_id = account.user_id
        else:
            user_id = f"@{name}:hs.test"
            self.server.register(user_id)
        client = await self.stack.enter_async_context(kind(self.url, user_id))
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": PASSWORD,
        }
        answer = await client.call_as(None, "POST", "/v3/login", login)
        client.authorize(answer["device_id"], answer["access_token"])
        return client

    async def person(self) -> Client:
        client = await self.client(Client, next(NAMES))
        assert isinstance(client, Client)
        return client

    def rooms(self, store: MemoryStore, *, space_name: str = "{bot} / {display_name}", **more: Any) -> Rooms:
        rooms = Rooms(surface="work", client=self.bot, store=store, space_name=space_name, log=LOG, **more)
        rooms.settled()
        return rooms

    async def states(self) -> dict[str, list[Any]]:
        """The state of all rooms that the bot is in."""
        # Synapse answers a first sync from a cache of two minutes, but for another `timeout`.
        return joined_state(await self.bot.call("GET", "/v3/sync", query={"timeout": str(next(TIMEOUTS))}))

    async def snapshot(self, owner: str) -> Snapshot:
        """What a new life of the bot would learn about one person."""
        states = await self.states()
        mine = {room: events for room, events in states.items() if any(_owner(event) == owner for event in events)}
        return bindings("work", self.bot.user_id, mine)

    async def state(self, room: str) -> State:
        return {(event["type"], event["state_key"]): event["content"] for event in (await self.states())[room]}


def _owner(event: dict[str, Any]) -> object:
    return event["content"].get("owner") if event["type"].startswith("io.surfaces.") else None


def opening(owner: str, number: int = 1, **more: Any) -> Opening:
    fields: dict[str, Any] = {
        "key": f"{owner}.{number}",
        "surface": "work",
        "owner": owner,
        "owner_name": "Ann",
        "number": number,
        "name": f"C{number}",
        "agent": "17",
        "context": "42",
        "created_at": 1_750_000_000.5,
    }
    return Opening(**{**fields, **more})


def binding(of: Opening, address: Address, **more: Any) -> Binding:
    names = ("owner", "number", "name", "agent", "context", "created_at")
    return changed(Binding(address=address, **{name: getattr(of, name) for name in names}), **more)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def synapse_11(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Synapse]:
    """A real homeserver that makes rooms of the version before last."""
    async with Synapse(tmp_path_factory.mktemp("synapse11"), room_version="11") as server:
        yield server


REAL = [
    pytest.param("synapse_11", marks=[pytest.mark.slow, pytest.mark.xdist_group("synapse_11")]),  # one for all workers
    pytest.param("synapse", marks=pytest.mark.slow),
]


@pytest.fixture(params=["11", "12", *REAL])
def server(request: pytest.FixtureRequest) -> Synapse | FakeHomeserver:
    """A homeserver in memory and a real one, both in the two room versions that are in use."""
    if request.param.startswith("synapse"):
        return request.getfixturevalue(request.param)  # type: ignore[no-any-return]
    return FakeHomeserver(room_version=request.param)


@pytest.fixture
async def home(server: Synapse | FakeHomeserver) -> AsyncIterator[Home]:
    """The bot on a homeserver."""
    async with AsyncExitStack() as stack:
        if isinstance(server, FakeHomeserver):
            await stack.enter_async_context(server)
        home = Home(server.url, server, stack)
        home.bot = await home.client(Bot, next(NAMES) + "bot")
        home.bot.steps = Steps()
        yield home


async def check_complete(home: Home, of: Opening, address: Address) -> None:
    """One Space and one room, linked both ways, the person invited to both, and no other room."""
    seen = await home.snapshot(of.owner)
    assert seen.found == (binding(of, address),)
    assert not seen.skipped
    space, room = seen.spaces[of.owner].room, address.conversation
    in_space, in_room = await home.state(space), await home.state(room)
    via = [home.bot.user_id.partition(":")[2]]
    assert in_space["m.space.child", room] == {"via": via, "order": f"{of.number:09d}"}
    assert in_room["m.space.parent", space] == {"via": via, "canonical": True}
    assert in_space["m.room.create", ""]["type"] == "m.space"
    assert in_space["m.room.join_rules", ""]["join_rule"] == "invite"
    by_space = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    in_memory = isinstance(home.server, FakeHomeserver)  # which does not say what it is capable of
    assert in_room["m.room.join_rules", ""] == ({"join_rule": "invite"} if in_memory else by_space)
    for state in (in_space, in_room):
        assert state["m.room.member", of.owner]["membership"] == "invite"


# Opening -----------------------------------------------------------------------------------------


async def test_a_first_conversation_comes_with_its_space(home: Home) -> None:
    """Space and room are made, named, linked and told whose they are; the person is invited to both."""
    ann = await home.person()
    of = opening(ann.user_id)
    address = await home.rooms(MemoryStore()).open(of)
    await check_complete(home, of, address)
    seen = await home.snapshot(ann.user_id)
    bot_name = home.bot.user_id[1:].partition(":")[0]
    space = await home.state(seen.spaces[ann.user_id].room)
    assert space["m.room.name", ""] == {"name": f"{bot_name} / Ann"}


async def test_opening_again_makes_nothing(home: Home) -> None:
    """The same key leads to the same room, without asking the homeserver."""
    ann, store = await home.person(), MemoryStore()
    address = await home.rooms(store).open(opening(ann.user_id))
    home.bot.steps = Steps()
    assert await home.rooms(store).open(opening(ann.user_id)) == address
    assert home.bot.steps.count == 0


async def test_a_conversation_begins_with_a_topic(home: Home) -> None:
    """In its owner's language; theirs to change, and never written again."""
    ann, rooms, topic = await home.person(), home.rooms(MemoryStore()), ("m.room.topic", "")
    token = language.set("ru")
    address = await rooms.open(opening(ann.user_id))
    language.reset(token)
    assert (await home.state(address.conversation))[topic]["topic"].startswith("Пишите сюда")
    await ann.call("POST", quote("v3", "rooms", address.conversation, "join"), {})
    path = quote("v3", "rooms", address.conversation, "state", "m.room.topic", "")
    await ann.call("PUT", path, {"topic": "Cats"})
    await rooms.record(binding(opening(ann.user_id), address, name="Other", agent="18"))
    state = await home.state(address.conversation)
    assert (state[topic]["topic"], state["m.room.name", ""]["name"]) == ("Cats", "Other")


async def test_two_at_once_share_a_space(home: Home) -> None:
    """Conversations of one person that are opened at the same instant are in one Space."""
    ann = await home.person()
    rooms = home.rooms(SlowStore())
    async with asyncio.TaskGroup() as group:
        for number in (1, 2, 3):
            group.create_task(rooms.open(opening(ann.user_id, number)))
    seen = await home.snapshot(ann.user_id)
    assert [one.number for one in seen.found] == [1, 2, 3]
    assert seen.spaces[ann.user_id].children == {one.address.conversation for one in seen.found}
    assert not seen.skipped


async def test_people_may_name_their_rooms_and_no_more(home: Home) -> None:
    """A person changes name, topic and picture; not the binding, the levels, the Space, nor who is in."""
    ann, eve = await home.person(), await home.person()
    address = await home.rooms(MemoryStore()).open(opening(ann.user_id))
    room, space = address.conversation, (await home.snapshot(ann.user_id)).spaces[ann.user_id].room
    for place in (room, space):
        await ann.call("POST", quote("v3", "rooms", place, "join"), {})
        for kind, content in (("name", {"name": "Mine"}), ("topic", {"topic": "x"}), ("avatar", {"url": "mxc://a/b"})):
            await ann.call("PUT", quote("v3", "rooms", place, "state", f"m.room.{kind}", ""), content)
        for kind in ("io.surfaces.binding", "io.surfaces.space", "m.room.power_levels", "m.space.child"):
            with pytest.raises(Refused):
                await ann.call("PUT", quote("v3", "rooms", place, "state", kind, ""), {"x": 1})
        with pytest.raises(Refused):
            await ann.call("POST", quote("v3", "rooms", place, "invite"), {"user_id": eve.user_id})
    await ann.call("PUT", quote("v3", "rooms", room, "send", "m.room.message", "1"), {"msgtype": "m.text", "body": "x"})
    with pytest.raises(Refused):
        await ann.call("PUT", quote("v3", "rooms", space, "send", "m.room.message", "1"), {"body": "x"})


@pytest.mark.parametrize("aliases", [True, False])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.timeout(120)
async def test_a_cut_anywhere_leaves_nothing_doubled(home: Home, aliases: bool, after: bool) -> None:
    """Killed before or after any request or write and begun again, there is one Space and one room, complete.

    The homeserver in memory shows every cut; the real one, which takes a hundred times as long, one in three.
    """
    home.bot.aliases = aliases
    every = isinstance(home.server, FakeHomeserver) or os.environ.get("SURFACES_SWEEP") == "full"
    for cut_at in itertools.count(1) if every else itertools.count(1 + aliases + after, 3):
        ann, steps = await home.person(), Steps(cut_at, after)
        home.bot.steps, store = steps, MemoryStore(steps=steps)
        of = opening(ann.user_id)
        try:
            await home.rooms(store).open(of)
        except Cut:
            home.bot.steps = store.steps = Steps()
            address = await home.rooms(store).open(of)
            await check_complete(home, of, address)
        else:
            break
    assert cut_at > 12


@pytest.mark.parametrize("aliases", [True, False])
@pytest.mark.parametrize("after", [False, True])
async def test_a_cut_anywhere_forgets_no_encryption(aliases: bool, after: bool) -> None:
    """A room that was asked to be encrypted is known as that, though the settings and the room say otherwise later."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeHomeserver())
        home = Home(server.url, server, stack)
        home.bot = await home.client(Forgetful, "bot")
        home.bot.aliases = aliases
        for cut_at in itertools.count(1):
            ann, steps = await home.person(), Steps(cut_at, after)
            home.bot.steps, store, of = steps, MemoryStore(steps=steps), opening(ann.user_id)
            expected: set[str] = set()

            async def expect(room: str, expected: set[str] = expected) -> None:
                expected.add(room)

            try:
                await home.rooms(store, encrypt=True, expect=expect).open(of)
                break
            except Cut:
                home.bot.steps = store.steps = Steps()
            begun = f"opening/{of.key}" in store.rows
            address = await home.rooms(store, encrypt=False, expect=expect).open(of)
            assert expected == ({address.conversation} if begun else set())
        assert cut_at > 12


@pytest.mark.parametrize("after", [False, True])
async def test_cut_every_time_it_still_ends(home: Home, after: bool) -> None:
    """Killed in each life one step later than in the one before, it gets there with one Space and one room."""
    ann, store = await home.person(), MemoryStore()
    of = opening(ann.user_id)
    for cut_at in itertools.count(2):
        home.bot.steps = store.steps = Steps(cut_at, after)
        try:
            address = await home.rooms(store).open(of)
        except Cut:
            continue
        break
    home.bot.steps = Steps()
    await check_complete(home, of, address)


async def test_a_space_that_the_bot_lost_is_made_anew(home: Home) -> None:
    """Where the bot is no longer in the Space it makes another, and recalling lists the old rooms there."""
    ann, store = await home.person(), MemoryStore()
    rooms = home.rooms(store)
    first = opening(ann.user_id)
    address = await rooms.open(first)
    old = (await home.snapshot(ann.user_id)).spaces[ann.user_id].room
    await home.bot.call("POST", quote("v3", "rooms", old, "leave"), {})
    await rooms.open(opening(ann.user_id, 2))
    await rooms.recall(ann.user_id, [binding(first, address)])
    seen = await home.snapshot(ann.user_id)
    new = seen.spaces[ann.user_id]
    assert new.room != old
    assert new.children == {one.address.conversation for one in seen.found}
    state = await home.state(address.conversation)
    assert state["m.space.parent", new.room]["canonical"] is True


async def test_a_room_without_a_number_is_looked_at_again_when_it_is_talked_in(home: Home) -> None:
    """Its person gives it one by its name, and one that is free; nobody has to start the bot anew."""
    ann = await home.person()
    lost, other = [(await home.rooms(MemoryStore()).open(opening(ann.user_id, n))).conversation for n in (1, 2)]
    [space] = [room for kind, room in await home.state(lost) if kind == "m.space.parent"]
    await home.bot.call("PUT", state_path(lost, BINDING), {})
    await home.bot.call("PUT", state_path(space, "m.space.child", lost), {"via": ["hs.test"]})
    await ann.call("POST", quote("v3", "rooms", lost, "join"), {})
    await ann.call("PUT", state_path(lost, "m.room.name"), {"name": "Trip"})
    rooms, seen = home.rooms(MemoryStore()), await home.snapshot(ann.user_id)
    assert seen.skipped[lost] == "no_number"
    await rooms.learn(seen)
    rooms.settled()
    for name in ("Trip", "C2 Trip"):
        await ann.call("PUT", state_path(lost, "m.room.name"), {"name": name})
        with pytest.raises(Rejected, match="does not say whose it is"):
            await rooms.find(Address(surface="work", conversation=lost))
    later = (await rooms.open(opening(ann.user_id, 3))).conversation
    await ann.call("PUT", state_path(lost, "m.room.name"), {"name": "C3 Trip"})
    with pytest.raises(Rejected):
        await rooms.find(Address(surface="work", conversation=lost))
    await ann.call("PUT", state_path(lost, "m.room.name"), {"name": "C4 Trip"})
    found = await rooms.find(Address(surface="work", conversation=lost))
    assert found is not None
    assert (found.owner, found.number, found.name, found.agent) == (ann.user_id, 4, "C4 Trip", "")
    whole = changed(found, agent="17", context="42")
    await rooms.record(whole)
    assert await rooms.find(whole.address) == whole
    assert (await home.snapshot(ann.user_id)).of(ann.user_id) == {lost, other, later}


async def test_an_empty_store_learns_what_is_there(home: Home) -> None:
    """A bot that lost its database uses the Space that it finds and leaves names as they are."""
    ann = await home.person()
    first = opening(ann.user_id)
    address = await home.rooms(MemoryStore()).open(first)
    rooms = home.rooms(MemoryStore())
    await rooms.learn(await home.snapshot(ann.user_id))
    await rooms.open(opening(ann.user_id, 2))
    seen = await home.snapshot(ann.user_id)
    assert not seen.skipped
    assert len(seen.spaces[ann.user_id].children) == len(seen.found) == 2
    home.bot.steps = Steps()
    await rooms.record(binding(first, address))
    assert home.bot.steps.count == 1


async def test_a_restart_knows_what_was_made_just_before(home: Home) -> None:
    """A conversation that was made after the start is told to the host at the next start, however soon that is."""
    ann, store, intake = await home.person(), MemoryStore(), RecordingIntake()
    settings = {"homeserver": home.url, "user_id": home.bot.user_id, "password": PASSWORD}
    found: list[Binding] = []
    for number in (1, 2, 3):
        context = SurfaceContext(name="work", log=LOG, store=store, files=MemoryFiles())
        surface = MatrixSurface(MatrixSurface.Settings.model_validate(settings), context)
        async with surface, receiving(surface, intake):
            assert intake.bindings == found
            assert surface.conversations is not None
            of = opening(ann.user_id, number)
            found.append(binding(of, await surface.conversations.open(of)))


# Making, when the homeserver itself failed --------------------------------------------------------


async def test_a_half_made_room_is_waited_for_and_then_given_up() -> None:
    """An alias that leads to a room without its mark: later, please; and after some minutes another room."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeHomeserver())
        home = Home(server.url, server, stack)
        home.bot = await home.client(Bot, "bot")
        broken = server.person("@eve:hs.test").create_room()
        store, now = MemoryStore(), 1000.0
        maker = Maker(home.bot, store, LOG, clock=lambda: now)
        mark = Mark(type="x.mark", content={"owner": "a"}, same=("owner",))
        await store.put("k", Made(nonce="n", begun=now).model_dump_json().encode())
        server.world.aliases["#surfaces_n:hs.test"] = broken
        with pytest.raises(Unavailable):
            await maker.room("k", mark, {"preset": "private_chat"})
        now += UNFINISHED_AFTER_S + 1
        with pytest.raises(Unavailable):
            await maker.room("k", mark, {"preset": "private_chat"})
        made = await maker.room("k", mark, {"preset": "private_chat"})
        assert made.room not in (None, broken)


async def test_a_stranger_s_room_is_not_taken_for_ours() -> None:
    """Where rooms must be searched, one that somebody else marked as the Space is not believed."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FakeHomeserver())
        home = Home(server.url, server, stack)
        home.bot = await home.client(Bot, "bot")
        home.bot.aliases = False
        ann, eve = await home.person(), server.person("@eve:hs.test")
        trap = eve.create_room(invite=[home.bot.user_id])
        eve.set_state(trap, "io.surfaces.space", {"version": 1, "owner": ann.user_id})
        await home.bot.call("POST", quote("v3", "rooms", trap, "join"), {})
        store = MemoryStore()
        await store.put(f"space/{ann.user_id}", Made(nonce="n", begun=0.0, aliased=False).model_dump_json().encode())
        await home.rooms(store).open(opening(ann.user_id))
        assert server.members(trap) == {eve.user_id: "join", home.bot.user_id: "join"}


async def test_a_refused_room_is_refused(home: Home) -> None:
    """A homeserver that makes no rooms at all ends it, and a later try goes well."""
    ann, store = await home.person(), MemoryStore()

    class Refusing(Bot):
        async def call(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
            if path == "/v3/createRoom":
                raise Refused("no rooms", status=403, errcode="M_FORBIDDEN")
            return await super().call(method, path, body, **more)

    good = home.bot
    home.bot = await home.client(Refusing, next(NAMES) + "bot")
    with pytest.raises(Rejected):
        await home.rooms(store).open(opening(ann.user_id))
    home.bot = good
    of = opening(ann.user_id)
    await check_complete(home, of, await home.rooms(store).open(of))


# Coming in ----------------------------------------------------------------------------------------


async def called(person: Client, *others: str) -> Address:
    answer = await person.call("POST", "/v3/createRoom", {"preset": "private_chat", "invite": list(others)})
    return Address(surface="work", conversation=answer["room_id"])


async def test_a_direct_room_is_entered(home: Home) -> None:
    """Where one person called, the bot joins; again is no error."""
    ann = await home.person()
    entry = await called(ann, home.bot.user_id)
    rooms = home.rooms(MemoryStore())
    assert await rooms.enter(entry, ann.user_id)
    assert await rooms.enter(entry, ann.user_id)
    assert ("m.room.member", home.bot.user_id) in await home.state(entry.conversation)


async def test_a_group_is_left(home: Home) -> None:
    """Where others are, too, the bot goes again; asked again it stays away."""
    ann, bob = await home.person(), await home.person()
    entry = await called(ann, home.bot.user_id, bob.user_id)
    await bob.call("POST", quote("v3", "rooms", entry.conversation, "join"), {})
    rooms = home.rooms(MemoryStore())
    assert not await rooms.enter(entry, ann.user_id)
    assert not await rooms.enter(entry, ann.user_id)
    assert entry.conversation not in await home.states()


async def test_a_room_that_fills_up_later_is_not_entered(home: Home) -> None:
    """Who is invited beside the bot counts, though it came first."""
    ann, bob = await home.person(), await home.person()
    made = await ann.call("POST", "/v3/createRoom", {"invite": [home.bot.user_id, bob.user_id]})
    entry = Address(surface="work", conversation=made["room_id"])
    assert not await home.rooms(MemoryStore()).enter(entry, ann.user_id)


async def test_who_has_gone_is_nobody(home: Home) -> None:
    """A direct room stays one when others once were in it."""
    ann, bob = await home.person(), await home.person()
    made = await ann.call("POST", "/v3/createRoom", {"invite": [home.bot.user_id, bob.user_id]})
    await bob.call("POST", quote("v3", "rooms", made["room_id"], "leave"), {})
    entry = Address(surface="work", conversation=made["room_id"])
    assert await home.rooms(MemoryStore()).enter(entry, ann.user_id)


async def test_a_withdrawn_invite_is_not_entered(home: Home) -> None:
    """An invite that is gone, or a room that never was, is not a call to answer."""
    ann = await home.person()
    entry = await called(ann, home.bot.user_id)
    await ann.call("POST", quote("v3", "rooms", entry.conversation, "kick"), {"user_id": home.bot.user_id})
    rooms = home.rooms(MemoryStore())
    assert not await rooms.enter(entry, ann.user_id)
    assert not await rooms.enter(Address(surface="work", conversation="!nowhere:hs.test"), ann.user_id)


async def test_who_left_is_invited_again(home: Home) -> None:
    """Recalling invites where a person is neither in nor invited, and nowhere else."""
    ann, store = await home.person(), MemoryStore()
    rooms = home.rooms(store)
    openings = [opening(ann.user_id, number) for number in (1, 2, 3)]
    live = [binding(of, await rooms.open(of)) for of in openings]
    space = (await home.snapshot(ann.user_id)).spaces[ann.user_id].room
    left, joined = live[0].address.conversation, live[1].address.conversation
    for room in (space, left, joined):
        await ann.call("POST", quote("v3", "rooms", room, "join"), {})
    for room in (space, left):
        await ann.call("POST", quote("v3", "rooms", room, "leave"), {})
    await home.rooms(store).recall(ann.user_id, live)
    states = [await home.state(room) for room in (space, left, joined, live[2].address.conversation)]
    assert [s["m.room.member", ann.user_id]["membership"] for s in states] == ["invite", "invite", "join", "invite"]


async def test_a_room_that_is_gone_does_not_stop_the_others(home: Home) -> None:
    """Recalling goes on behind a room that the bot is not in."""
    ann, store = await home.person(), MemoryStore()
    rooms = home.rooms(store)
    gone, stays = opening(ann.user_id, 1), opening(ann.user_id, 2)
    live = [binding(of, await rooms.open(of)) for of in (gone, stays)]
    for one, who in ((live[0], home.bot), (live[1], ann)):
        path = quote("v3", "rooms", one.address.conversation)
        if who is ann:
            await ann.call("POST", f"{path}/join", {})
        await who.call("POST", f"{path}/leave", {})
    assert await rooms.recall(ann.user_id, live) == [live[0].address]
    state = await home.state(live[1].address.conversation)
    assert state["m.room.member", ann.user_id]["membership"] == "invite"


# Reading and writing bindings ----------------------------------------------------------------------


async def test_what_is_recorded_is_found(home: Home) -> None:
    """A changed binding is found as it was written, its name shown as the room's."""
    ann = await home.person()
    rooms = home.rooms(MemoryStore())
    of = opening(ann.user_id)
    address = await rooms.open(of)
    assert await rooms.find(address) == binding(of, address)
    new = binding(of, address, name="Trip", context="43", agent="18", archived=True)
    await rooms.record(new)
    await rooms.record(new)
    assert await rooms.find(address) == new
    assert (await home.state(address.conversation))["m.room.name", ""] == {"name": "Trip"}


async def test_nobody_else_s_binding_is_found(home: Home) -> None:
    """A binding that a person wrote, and a room that is none, are no conversation."""
    ann = await home.person()
    entry = await called(ann, home.bot.user_id)
    rooms = home.rooms(MemoryStore())
    await rooms.enter(entry, ann.user_id)
    assert await rooms.find(entry) is None
    content = {"version": 1, "conversation": "C1", "owner": ann.user_id, "agent_id": "1", "context_id": "1"}
    path = quote("v3", "rooms", entry.conversation, "state", "io.surfaces.binding", "")
    await ann.call("PUT", path, {**content, "created_ts": 1, "archived": False})
    assert await rooms.find(entry) is None
    assert await rooms.find(Address(surface="work", conversation="!nowhere:hs.test")) is None


async def test_archived_conversations_leave_the_space_and_come_back(home: Home) -> None:
    """Archiving takes the room out of the Space's list, undoing puts it back at its place."""
    ann = await home.person()
    rooms = home.rooms(MemoryStore())
    of = opening(ann.user_id)
    address = await rooms.open(of)
    await rooms.record(binding(of, address, archived=True))
    seen = await home.snapshot(ann.user_id)
    assert seen.spaces[ann.user_id].children == frozenset()
    assert seen.found[0].archived
    await rooms.record(binding(of, address))
    assert (await home.snapshot(ann.user_id)).spaces[ann.user_id].children == {address.conversation}


async def test_a_name_that_the_person_gave_stays(home: Home) -> None:
    """Writing a binding for another reason does not undo a renaming in the client."""
    ann = await home.person()
    rooms = home.rooms(MemoryStore())
    of = opening(ann.user_id)
    address = await rooms.open(of)
    await ann.call("POST", quote("v3", "rooms", address.conversation, "join"), {})
    await ann.call("PUT", quote("v3", "rooms", address.conversation, "state", "m.room.name", ""), {"name": "Mine"})
    await rooms.record(binding(of, address, context="43"))
    assert (await home.state(address.conversation))["m.room.name", ""] == {"name": "Mine"}


async def test_a_conversation_that_is_left_is_not_written(home: Home) -> None:
    """Where the bot is no longer in there is nothing to write."""
    ann = await home.person()
    gone = Address(surface="work", conversation="!gone:hs.test")
    await home.rooms(MemoryStore()).record(binding(opening(ann.user_id), gone, left=True))


@pytest.mark.parametrize("room", ["!abc:hs.test", "!AbC-_9", "!a/b?c#d)e:hs.test:8448"])
def test_links_lead_through_the_bot_s_homeserver(room: str) -> None:
    """A link names the room and the way to it, and nothing in the room's id breaks out of it."""
    bot = Client("http://127.0.0.1:1", "@bot:hs.test:8448")
    rooms = Rooms(surface="work", client=bot, store=MemoryStore(), space_name="x", log=LOG)
    link = rooms.link(Address(surface="work", conversation=room))
    start, end = "https://matrix.to/#/!", "?via=hs.test:8448"
    assert link.startswith(start)
    assert link.endswith(end)
    assert not set("/?#() ") & set(link[len(start) : -len(end)])


@pytest.mark.parametrize("server", REAL, indirect=True)
async def test_a_person_comes_in_by_the_space_where_invites_wait(home: Home) -> None:
    """The next conversation is there at once: its room lets in who is in the Space, and nobody else."""
    ann, bob = await home.person(), await home.person()
    rooms = home.rooms(MemoryStore())
    first = await rooms.open(opening(ann.user_id))
    space = next(key for type_, key in await home.state(first.conversation) if type_ == "m.space.parent")
    home.bot.crowded = True
    with pytest.raises(Unavailable):
        await rooms.open(opening(ann.user_id, 2))
    await ann.call("POST", quote("v3", "join", space), {})
    second = await rooms.open(opening(ann.user_id, 2))
    await ann.call("POST", quote("v3", "join", second.conversation), {})
    with pytest.raises(Refused):
        await bob.call("POST", quote("v3", "join", second.conversation), {})


async def test_where_no_space_lets_in_an_invite_is_waited_for(home: Home) -> None:
    """A person who is not in their Space has no other way in."""
    ann = await home.person()
    home.bot.crowded = True
    with pytest.raises(Unavailable):
        await home.rooms(MemoryStore()).open(opening(ann.user_id))
