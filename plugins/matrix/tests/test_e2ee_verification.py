"""Verifications as they come from outside: who is answered, in which order, and what ends one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from surfaces_core import CommandError
from surfaces_core.i18n import language
from surfaces_matrix import words
from surfaces_matrix.e2ee.crosskeys import CrossSigning
from surfaces_matrix.e2ee.device import Device, Identity
from surfaces_matrix.e2ee.sas import PREFIX, Party, Phase, Sas
from surfaces_matrix.e2ee.verification import LONGEST_S, MOST, Verification

from .conftest import ANN, ME, ROOM

NOW = 1_800_000_000.0
EVE = "@eve:elsewhere"
KEYS = CrossSigning.new(ANN)
MASTER = KEYS.master.public
DEVICE = Device(user_id=ANN, device_id="ANNDEV", ed25519="annkey", curve25519="c", name="", keys={}, cross_signed=True)


@dataclass
class World:
    """What verifications stand on, in memory: keys, rooms, and Ann's client on the other side of it."""

    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """From device to device or in the room: kinds and contents."""
    told: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    signed: list[Mapping[str, Any]] = field(default_factory=list)
    handlers: dict[str, Any] = field(default_factory=dict)
    room_handlers: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Device] = field(default_factory=lambda: {"ANNDEV": DEVICE})
    home_room: str | None = ROOM
    language: str = "en"
    now: float = NOW
    keys: CrossSigning | None = field(default_factory=lambda: CrossSigning.new(ME))
    user_id: str = ME
    device_id: str = "BOTDEV"
    ed25519: str = "botkey"

    def __post_init__(self) -> None:
        machine: Any = self
        self.verification = Verification(
            machine,
            machine,
            self,
            structlog.get_logger(),
            allowed=lambda person: person != EVE,
            prefix="!",
            speaking=self.speaking,
            clock=lambda: self.now,
        )

    @contextmanager
    def speaking(self, person: str) -> Iterator[None]:
        """Ann speaks Russian in some worlds."""
        before = language.set(self.language if person == ANN else "en")
        yield
        language.reset(before)

    # As the machine

    def on_to_device(self, type_: str, handler: Any) -> None:
        self.handlers[type_] = handler

    def on_room_event(self, type_: str, handler: Any) -> None:
        self.room_handlers[type_] = handler

    async def devices(self, user_id: str) -> Mapping[str, Device]:
        return self.known

    async def identity_of(self, user_id: str) -> Identity:
        return Identity(master=KEYS.public("master"))

    async def set_trust(self, user_id: str, device_id: str, ed25519: str, verified: bool) -> None:
        self.trusted.append(device_id)

    async def upload_signatures(self, body: Mapping[str, Any]) -> None:
        self.signed.append(body)

    async def send_to_device(self, type_: str, messages: Mapping[str, Any], *, encrypted: bool) -> None:
        for contents in messages.values():
            self.sent += [(type_.removeprefix(PREFIX), dict(content)) for content in contents.values()]

    # As the rooms

    async def tell(self, room_id: str, txn: str, text: str) -> None:
        self.told.append(text)

    async def put(self, room_id: str, kind: str, txn: str, content: Mapping[str, Any]) -> str:
        self.sent.append((kind.removeprefix(PREFIX), dict(content)))
        return f"$of-{txn}"

    async def home(self, person: str) -> str | None:
        return self.home_room

    # What comes

    async def work(self) -> None:
        """All that is in line."""
        while not self.verification._line.empty():
            await (self.verification._line.get_nowait())()

    async def to_device(self, kind: str, *, sender: str = ANN, **content: Any) -> None:
        """A message from a device."""
        await self.handlers[PREFIX + kind](sender, {"transaction_id": "t", "from_device": "ANNDEV", **content}, None)
        await self.work()

    async def ask(self, *, sender: str = ANN, age_s: float = 1.0, **content: Any) -> None:
        """A request from a device."""
        timestamp = int((self.now - age_s) * 1000)
        await self.to_device("request", sender=sender, **{"methods": ["m.sas.v1"], "timestamp": timestamp, **content})

    def kinds(self) -> list[str]:
        """What was sent so far."""
        return [kind for kind, _ in self.sent]


@pytest.fixture
async def world() -> World:
    """A bot with an identity."""
    return World()


def anns() -> Sas:
    """Ann's side, from device to device."""
    bot = Party(user_id=ME, device_id="BOTDEV", keys={"ed25519:BOTDEV": "botkey"})
    ann = Party(user_id=ANN, device_id="ANNDEV", keys={"ed25519:ANNDEV": "annkey", f"ed25519:{MASTER}": MASTER})
    return Sas(ours=ann, theirs=bot, transaction="t", dress=lambda content: {**content, "transaction_id": "t"})


async def until_compared(world: World, ann: Sas) -> None:
    """Ann asks and begins; both sides come to the pictures."""
    await world.ask()
    steps = ann.begin()
    while steps:
        before = len(world.sent)
        for kind, content in steps:
            await world.to_device(kind, **content)
        steps = [step for kind, content in world.sent[before:] for step in ann.receive(kind, content)]


async def test_a_person_and_the_bot_end_verified(world: World):
    """The device and the identity are trusted, and the identity is signed, before the other side is told."""
    ann = anns()
    await until_compared(world, ann)
    assert ann.phase is Phase.COMPARE
    assert world.verification.waits_for(ANN)
    for kind, content in ann.confirm():
        await world.to_device(kind, **content)
    assert world.trusted == []
    assert await world.verification.answer(ANN, True) == ""
    assert sorted(world.trusted) == sorted(["ANNDEV", MASTER])
    assert list(world.signed[0][ANN]) == [MASTER]
    assert world.kinds() == ["ready", "accept", "key", "mac", "done"]
    assert world.told[-1] == words.VERIFY_DONE()


async def test_a_person_reads_the_names_in_their_language(world: World):
    """As their client shows them, for these are compared."""
    world.language = "ru"
    await until_compared(world, anns())
    with world.speaking(ANN):
        dialogue = world.verification._comparing(ANN)
        assert dialogue is not None
        assert dialogue.sas is not None
        assert dialogue.sas.shown() in world.told[-1]
        assert words.VERIFY_PICTURES() in world.told[-1]
        assert re.search("[А-Я]", dialogue.sas.shown())


async def test_pictures_that_differ_trust_nobody(world: World):
    """A later yes changes nothing."""
    await until_compared(world, anns())
    assert await world.verification.answer(ANN, False) == words.VERIFY_MISMATCH()
    with pytest.raises(CommandError):
        await world.verification.answer(ANN, True)
    assert (world.kinds()[-1], world.sent[-1][1]["code"], world.trusted) == ("cancel", "m.mismatched_sas", [])


async def test_nobody_else_says_whether_pictures_match(world: World):
    """Not the one who asked for another verification, and no stranger."""
    await until_compared(world, anns())
    with pytest.raises(CommandError):
        await world.verification.answer(EVE, True)
    assert world.verification.waits_for(ANN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": EVE},
        {"sender": ME},
        {"age_s": LONGEST_S + 1},
        {"age_s": -LONGEST_S},
        {"timestamp": None},
        {"from_device": None},
        {"from_device": 7},
        {"transaction_id": None},
    ],
)
async def test_some_requests_are_not_answered(world: World, wrong: dict[str, Any]):
    """From strangers, too old, from the future, or without what they need."""
    await world.ask(**wrong)
    assert world.sent == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"methods": ["m.qr_code.show.v1"]}, "m.unknown_method"), ({"from_device": "OTHER"}, "m.key_mismatch")],
)
async def test_other_requests_are_declined(world: World, wrong: dict[str, Any], code: str):
    """With a reason that their client can show."""
    await world.ask(**wrong)
    assert [(kind, content["code"]) for kind, content in world.sent] == [("cancel", code)]


async def test_where_nobody_could_be_told_nothing_is_compared(world: World):
    """A person without a conversation cannot say whether the pictures match."""
    world.home_room = None
    await world.ask()
    assert world.kinds() == ["cancel"]


async def test_a_verification_that_nobody_knows_is_ended(world: World):
    """As after a restart; what ends one itself is not answered."""
    await world.to_device("key", key="x")
    await world.to_device("cancel", code="m.user")
    await world.to_device("done")
    assert [(kind, content["code"]) for kind, content in world.sent] == [("cancel", "m.unknown_transaction")]


async def test_somebody_else_cannot_speak_in_a_verification(world: World):
    """Neither from another account nor in the room of another verification."""
    await until_compared(world, anns())
    before = len(world.sent)
    await world.to_device("cancel", sender=EVE, code="m.user")
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": "t"}}
    event = {"sender": ANN, "event_id": "$x", "content": {"code": "m.user", **relation}}
    await world.room_handlers[PREFIX + "cancel"](ROOM, event)
    await world.work()
    assert world.verification.waits_for(ANN)
    assert len(world.sent) == before


async def test_what_takes_too_long_is_given_up(world: World):
    """And said where pictures were shown."""
    await until_compared(world, anns())
    world.now += LONGEST_S
    await world.verification.look()
    assert world.sent[-1][1]["code"] == "m.timeout"
    assert world.told[-1] == words.VERIFY_CANCELLED()


async def test_a_new_request_of_the_same_person_ends_the_old_one(world: World):
    """People press the button twice."""
    await world.ask()
    await world.ask(transaction_id="t2")
    assert [(kind, content["transaction_id"]) for kind, content in world.sent] == [
        ("ready", "t"),
        ("cancel", "t"),
        ("ready", "t2"),
    ]


async def test_only_so_many_run_at_once(world: World):
    """Whoever has many accounts gets no further."""
    for number in range(MOST + 5):
        await world.ask(sender=f"@u{number}:hs", transaction_id=f"t{number}")
    assert world.kinds() == ["ready"] * MOST


async def test_the_bot_asks_in_the_room(world: World):
    """Once for one command, though it is repeated after a crash; it needs an identity of its own."""
    for _ in range(2):
        assert await world.verification.begin(ROOM, ANN, "$cause") == words.VERIFY_ASKED()
    requests = [content for kind, content in world.sent if kind == "m.room.message"]
    assert [content["to"] for content in requests] == [ANN]
    event_id = next(iter(world.verification._dialogues))
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": event_id}}
    ready = {"from_device": "ANNDEV", "methods": ["m.sas.v1"], **relation}
    await world.room_handlers[PREFIX + "ready"](ROOM, {"sender": ANN, "event_id": "$1", "content": ready})
    await world.work()
    assert world.kinds()[-1] == "start"
    world.keys = None
    with pytest.raises(CommandError):
        await world.verification.begin(ROOM, ANN, "$another")
