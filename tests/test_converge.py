"""Whatever happened to rooms and to the host's record of them, each start ends in the same state, and makes nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
import structlog
import yarl

from surfaces_core import Address, Agent, Binding, Command, Opening, Reconciled
from surfaces_core._config.settings import Registry
from surfaces_core._config.sources import Source
from surfaces_core._engine.bindings import BINDINGS
from surfaces_core._engine.conversations import Book
from surfaces_core._engine.journal import Journal, key
from surfaces_core._engine.people import People
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage
from surfaces_matrix.client import Client
from surfaces_matrix.errors import Refused
from surfaces_matrix.filters import snapshot_filter
from surfaces_matrix.memberships import aside, joined_state
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.state import BINDING, SPACE
from surfaces_testing.homeserver.call import Call
from surfaces_testing.homeserver.endpoints import ROUTES
from surfaces_testing.homeserver.errors import MatrixError
from surfaces_testing.homeserver.person import Person
from surfaces_testing.homeserver.world import World

LOG = structlog.get_logger()
ME, ANN, BOB, EVE = "@bot:hs.test", "@ann:hs.test", "@bob:hs.test", "@eve:hs.test"
HARMLESS = {BINDING, SPACE}
"""All that a start may write."""
AGENT = Agent(id="agent-0", label="Agent", transport="none", workspace="w")


class Direct(Client):
    """The bot's client on a homeserver in this process, without HTTP between; remembers what it changed."""

    def __init__(self, world: World) -> None:
        super().__init__("http://hs.test", ME)
        self.world = world
        self.device = world.log_in(world.user(ME), "DEVICE")
        self.wrote: list[str] = []

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> dict[str, Any]:
        query = more.get("query") or {}
        found = ROUTES.find(method, "/_matrix/client" + path)
        if found is None:
            raise Refused("no such endpoint", status=404, errcode="M_UNRECOGNIZED")
        route, args = found
        call = Call(args=args, query=query, body=orjson.dumps(body or {}), headers={}, device=self.device)
        try:
            answer = await route.handler(self.world, call)
        except MatrixError as error:
            raise Refused("refused", status=error.status, errcode=str(error.body["errcode"])) from error
        if method != "GET":
            self.wrote.append(f"{method} {path}")
        return orjson.loads(orjson.dumps(answer))  # type: ignore[no-any-return]


@dataclass
class MemoryStore:
    """The surface's own rows."""

    rows: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.rows[key] = value

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        return {key: value for key, value in sorted(self.rows.items()) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        for name, value in changes.items():
            self.rows.pop(name, None) if value is None else self.rows.__setitem__(name, value)


@dataclass
class Life:
    """One start of the host: what it knows then, and what it did for that."""

    found: Mapping[str, Binding]
    result: Reconciled
    rooms_seen: int
    skipped: Mapping[str, str]
    wrote: Sequence[str]


@dataclass
class Home:
    """A homeserver, and a host's record on a disk; both outlive any start."""

    version: str
    world: World = field(init=False)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.world = World("hs.test", self.version)
        for who in (ME, ANN, BOB, EVE):
            self.world.register(who, "pw")
        self.bot, self.ann, self.bob, self.eve = (
            Person(self.world, self.world.user(who)) for who in (ME, ANN, BOB, EVE)
        )

    def rooms(self, client: Client) -> Rooms:
        return Rooms(surface="work", client=client, store=self.store, space_name="S", log=LOG)

    async def start(self) -> Life:
        """Begin a life, and reconcile."""
        client = Direct(self.world)
        journal = Journal(MemoryStorage(disk=self.disk), lambda: 1e9)
        registry = Registry(
            agents={AGENT.id: AGENT}, people={}, default=AGENT.id, source=Source(file="test"), places={}
        )
        async with journal.storage:
            await journal.open()
            async with journal.lease.kept(lambda _: None):
                book = Book(journal, {}, {}, People(journal, registry, "fixed"), "")
                await book.open(set())
                intake = Intake(book)
                query = {"filter": snapshot_filter(), "timeout": "0"}
                response = await client.call("GET", "/v3/sync", query=query)
                await self.rooms(client).reconcile(intake, joined_state(response), aside(response))
                found = {address.conversation: b for address, b in book._bindings.items() if not b.left}
        assert intake.life is not None
        return replace(intake.life, found=found, wrote=client.wrote)

    def is_the_bots(self, room: str) -> bool:
        """Whether the bot itself says that a room is a conversation: in it, aside, or in a Space."""
        binding = self.world.rooms[room].state.get((BINDING, ""))
        listed = (space.state.get(("m.space.child", room)) for space in self.world.rooms.values())
        said = [binding, *listed]
        return (room, BINDING) in self.bot.user.account_data or any(one and one.sender == ME for one in said)

    async def settle(self, person: str, count: int) -> list[str]:
        """Make conversations, the way the host does."""
        client = Direct(self.world)
        rooms = self.rooms(client)
        rooms.settled()
        made = []
        for number in range(1, count + 1):
            of = Opening(
                key=f"{person}.{number}",
                surface="work",
                owner=person,
                owner_name="",
                number=number,
                name=f"C{number}",
                agent=AGENT.id,
                context=str(abs(hash((person, number)))),
                created_at=1e9,
            )
            made.append((await rooms.open(of)).conversation)
        return made


class Intake:
    """The host's side of a start."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.life: Life | None = None

    async def restore(
        self, found: Sequence[Binding], *, rooms_seen: int | None = None, skipped: Mapping[str, str] | None = None
    ) -> Reconciled:
        result = await self.book.reconciling.restore("work", found)
        self.life = Life({}, result, rooms_seen or 0, dict(skipped or {}), ())
        return result

    async def cursor(self) -> str | None:
        return None

    def commands(self, address: Address, person: str) -> Sequence[Command]:
        return ()

    def language(self, person: str) -> str:
        return "en"

    async def accept(self, batch: Any, cursor: str) -> None:
        raise AssertionError("nothing comes in")

    def ready(self) -> None:
        raise AssertionError("nobody is ready")


# What may have happened ---------------------------------------------------------------------------


class Mischief:
    """Changes to a home, as a seed chooses them; nobody asks whether they would be allowed."""

    def __init__(self, home: Home, dice: random.Random, conversations: Sequence[str]) -> None:
        self.home = home
        self.dice = dice
        self.conversations = list(conversations)
        self.acts = [getattr(self, name) for name in sorted(dir(type(self))) if name.startswith("do_")]

    def act(self) -> None:
        self.dice.choice(self.acts)()

    def room(self) -> str:
        return self.dice.choice(list(self.home.world.rooms))

    def talk(self) -> str:
        return self.dice.choice(self.conversations)

    def person(self) -> str:
        return self.dice.choice([ANN, BOB, EVE])

    def spaces(self) -> list[str]:
        return [r.room_id for r in self.home.world.rooms.values() if r.create.content.get("type") == "m.space"]

    def put(self, room: str, kind: str, content: Any, *, state_key: str = "", sender: str = ME) -> None:
        self.home.world.add(self.home.world.rooms[room], sender, kind, content, state_key=state_key)

    def content(self) -> dict[str, Any]:
        bound = {
            "version": 1,
            "conversation": f"C{self.dice.randint(1, 6)}",
            "owner": self.person(),
            "agent_id": AGENT.id,
            "context_id": str(self.dice.randint(1, 9)),
            "created_ts": 1,
            "archived": self.dice.random() < 0.3,
        }
        return self.dice.choice(
            [bound, bound, bound | {"shared": True}, bound | {"owner": self.talk(), "shared": True}]
        )

    def broken(self) -> Any:
        good = self.content()
        name = self.dice.choice(list(good))
        spoilt = {**good, name: self.dice.choice([None, 7, "", [], {"a": 1}, "C0", -1])}
        return self.dice.choice([{}, spoilt, spoilt, {**good, "version": 2}])

    def do_bind_by_another(self) -> None:
        self.put(self.room(), BINDING, self.content(), sender=self.person())

    def do_bind_twice(self) -> None:
        self.put(self.talk(), BINDING, self.content())

    def do_break_a_binding(self) -> None:
        self.put(self.talk(), BINDING, self.broken())

    def do_archive(self) -> None:
        room = self.talk()
        self.put(room, BINDING, {**self.home.world.rooms[room].content(BINDING), "archived": True})

    def do_keep_aside(self) -> None:
        content = self.dice.choice([self.content(), self.broken()])
        self.home.world.set_account_data(self.home.bot.user, self.talk(), BINDING, content)

    def do_rename(self) -> None:
        name = self.dice.choice([{}, {"name": ""}, {"name": 7}, {"name": "Trip"}, {"name": "C2 old"}, {"name": "C77"}])
        self.put(self.room(), "m.room.name", name, sender=self.person())

    def do_unlist(self) -> None:
        self.put(self.dice.choice(self.spaces()), "m.space.child", {}, state_key=self.talk())

    def do_list(self) -> None:
        order: dict[str, Any] = self.dice.choice([{}, {"order": "000000002"}, {"order": "zz"}, {"order": 5}])
        sender = self.dice.choice([ME, ME, EVE])
        child = {"via": ["hs.test"], **order}
        self.put(self.dice.choice(self.spaces()), "m.space.child", child, state_key=self.room(), sender=sender)

    def do_break_a_space(self) -> None:
        space = self.dice.choice(self.spaces())
        content = self.dice.choice([{}, {"version": 1, "owner": self.person()}, {"version": 1, "owner": 5}])
        self.put(space, SPACE, content, sender=self.dice.choice([ME, EVE]))

    def do_leave(self) -> None:
        room = self.room()
        if self.home.world.rooms[room].membership(ME) == "join":
            self.put(room, "m.room.member", {"membership": "leave"}, state_key=ME)

    def do_let_somebody_leave(self) -> None:
        room, person = self.room(), self.person()
        self.put(room, "m.room.member", {"membership": "leave"}, state_key=person, sender=person)

    def do_take_power(self) -> None:
        room = self.room()
        levels = self.home.world.rooms[room].content("m.room.power_levels")
        self.put(room, "m.room.power_levels", {**levels, "users": {EVE: 100}, "state_default": 100}, sender=EVE)

    def do_make_an_old_room(self) -> None:
        """As a bot made them before there were bindings."""
        name = self.dice.choice([f"C{self.dice.randint(1, 9)}", f"C{self.dice.randint(1, 9)} Trip", "Trip"])
        room = self.home.bot.create_room(name=name, invite=[self.person()])
        self.conversations.append(room)
        self.put(self.dice.choice(self.spaces()), "m.space.child", {"via": ["hs.test"]}, state_key=room)

    def do_make_an_old_space(self) -> None:
        self.home.bot.create_room(creation_content={"type": "m.space"}, invite=[self.person()])

    def do_make_a_foreign_room(self) -> None:
        eve = self.home.eve
        kind = self.dice.choice([{}, {"type": "m.space"}])
        room = eve.create_room(creation_content=kind, invite=[ME])
        self.home.bot.join(room)
        fake = self.dice.choice([(BINDING, self.content()), (SPACE, {"version": 1, "owner": ANN})])
        eve.set_state(room, *fake)
        self.conversations.append(room)

    def do_move(self) -> None:
        room, there = self.talk(), self.talk()
        self.put(room, "m.room.tombstone", {"body": "", "replacement_room": self.dice.choice([there, "nowhere", 7])})
        self.put(there, BINDING, self.home.world.rooms[room].content(BINDING))

    def do_half_open(self) -> None:
        self.home.store.rows["opening/half"] = b'{"nonce":"n","begun":1.0}'
        self.home.store.rows[f"space/{EVE}"] = b'{"nonce":"n","begun":1.0}'

    def do_lose_rows(self) -> None:
        rows = self.home.store.rows
        for row in self.dice.sample(sorted(rows), self.dice.randint(0, len(rows))):
            del rows[row]
        disk = self.home.disk.rows
        mine = [row for row in sorted(disk) if row.split(b"\0")[0] in (b"conv", b"number")]
        for name in self.dice.sample(mine, self.dice.randint(0, len(mine))):
            del disk[name]

    def do_spoil_rows(self) -> None:
        disk = self.home.disk.rows
        for row in [row for row in sorted(disk) if row.startswith(b"conv\0") and self.dice.random() < 0.5]:
            known = BINDINGS.load(disk[row])
            wrong = {"name": "x", "agent": "gone", "context": "5", "owner": EVE, "number": 9, "left": True}
            name = self.dice.choice(sorted(wrong))
            disk[row] = BINDINGS.dump(replace(known, **{name: wrong[name]}))  # type: ignore[arg-type]

    def do_invent_rows(self) -> None:
        address = Address(surface="work", conversation="!never:hs.test")
        lie = Binding(address=address, owner=ANN, number=3, name="C3", agent=AGENT.id, context="4", created_at=1.0)
        self.home.disk.rows[key("conv", "work", address.conversation)] = BINDINGS.dump(lie)


SEEDS = 250
PER_TEST = 50


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
async def test_each_start_ends_in_the_same_state(first: int) -> None:
    """With any record and any rooms: one start mends all, further ones nothing, and an empty record finds the same."""
    with structlog.testing.capture_logs():
        for seed in range(first, first + PER_TEST):
            await converges(seed)


async def converges(seed: int) -> None:
    """One case."""
    dice = random.Random(seed)
    home = Home(dice.choice(["11", "12"]))
    talks = [*await home.settle(ANN, dice.randint(1, 3)), *await home.settle(BOB, dice.randint(1, 2))]
    await home.start()
    mischief = Mischief(home, dice, talks)
    for _ in range(dice.randint(1, 12)):
        mischief.act()
    rooms = len(home.world.rooms)
    first = await home.start()
    row_of_first = dict(home.store.rows)
    second = await home.start()
    third = await home.start()

    assert made_nothing(first.wrote), f"seed {seed}: {first.wrote}"
    assert len(home.world.rooms) == rooms, f"seed {seed}"
    assert second.found == first.found, f"seed {seed}"
    assert (second.wrote, third.wrote) == ([], []), f"seed {seed}: {second.wrote}"
    assert (second.result.restored, second.result.repaired) == (0, 0), f"seed {seed}: {second.result}"
    assert second == third, f"seed {seed}"
    assert home.store.rows == row_of_first, f"seed {seed}"
    assert all(home.is_the_bots(room) for room in first.found), f"seed {seed}: somebody else was believed"
    home.disk, home.store = MemoryDisk(), MemoryStore()
    anew = await home.start()
    assert anew.found == first.found, f"seed {seed}"
    assert anew.wrote == [], f"seed {seed}: {anew.wrote}"
    for owner in (ANN, BOB, EVE):
        highest = max([one.number for one in first.found.values() if one.owner == owner], default=0)
        assert int(home.disk.rows.get(key("number", "work", owner), b"0")) == highest, f"seed {seed}"


def made_nothing(wrote: Sequence[str]) -> bool:
    """Whether nothing was written but bindings and whose a Space is."""
    return all(any(kind in yarl.URL(path).path for kind in HARMLESS) for path in (one.split(" ")[1] for one in wrote))
