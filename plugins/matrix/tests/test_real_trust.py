"""Trust on a real homeserver, judged by a client of another family: identity, secrets, backup, pictures to compare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog

from surfaces_demo.synapse import Account, Synapse
from surfaces_matrix import MatrixSurface, words
from surfaces_matrix.client import Client, quote
from surfaces_matrix.e2ee.crosskeys import public_of
from surfaces_matrix.e2ee.machine import Machine
from surfaces_matrix.e2ee.trust import Trust
from surfaces_matrix.settings import MatrixSettings
from surfaces_matrix.shapes import mapping, sequence
from surfaces_testing.js_client import JsClient

from .conftest import Bot as Surfaces
from .conftest import MemoryStore

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("real_trust")]


@dataclass
class Bot:
    """The bot's keys with a sync of their own, without the rest of the surface: one life of it."""

    client: Client
    machine: Machine
    trust: Trust
    told: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    encrypted: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    home_room: str | None = None

    async def tell(self, room_id: str, txn: str, text: str) -> None:
        """Said to people."""
        self.told.append(text)

    async def put(self, room_id: str, kind: str, txn: str, content: Mapping[str, Any]) -> str:
        """As the surface does it: encrypted where the room is."""
        if room_id in self.encrypted:
            content = await self.machine.seal(room_id, self.encrypted[room_id], kind, content, timeout_s=10)
            kind = "m.room.encrypted"
        answer = await self.client.call("PUT", quote("v3", "rooms", room_id, "send", kind, txn), dict(content))
        return str(answer["event_id"])

    async def home(self, person: str) -> str | None:
        """The room where this bot talks."""
        return self.home_room

    async def sync(self) -> None:
        """Take what comes, until cancelled."""
        since: dict[str, str] = {}
        while True:
            answer = await self.client.call("GET", "/v3/sync", query={"timeout": "1000", **since})
            since = {"since": answer["next_batch"]}
            await self.machine.receive(answer)
            for room_id, room in mapping(mapping(answer.get("rooms")).get("join")).items():
                await self._room(room_id, room)
            for room_id, event in await self.machine.readable():
                await self._heard(room_id, event)
            await self.machine.settle()

    async def _room(self, room_id: str, room: Mapping[str, Any]) -> None:
        parts = (sequence(mapping(room.get(part)).get("events")) for part in ("state", "timeline"))
        for event in (event for part in parts for event in part):
            if event["type"] == "m.room.encryption":
                self.encrypted[room_id] = event["content"]
            plain = event
            if event["type"] == "m.room.encrypted":
                plain = await self.machine.read(room_id, event, hold=True)
            if plain is not None:
                await self._heard(room_id, plain)

    async def _heard(self, room_id: str, event: Mapping[str, Any]) -> None:
        self.read.append(str(mapping(event.get("content")).get("body")))
        await self.machine.heard(room_id, event)

    async def until(self, fits: Callable[[], object], what: str) -> None:
        """Wait for something that this bot knows."""
        try:
            async with asyncio.timeout(60):
                while not fits():  # noqa: ASYNC110 - what is waited for has no event of its own
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never came: {what}; told {self.told}") from None


@asynccontextmanager
async def life(synapse: Synapse, account: Account, store: MemoryStore, **settings: Any) -> AsyncIterator[Bot]:
    """One life of the bot on a state; a new state means a new device."""
    wanted = {"homeserver": synapse.url, "user_id": account.user_id, "password": account.password, **settings}
    config = MatrixSettings.model_validate(wanted)
    log = structlog.get_logger()
    async with Client(synapse.url, account.user_id) as client:
        await log_in(client, store, account)
        machine = Machine(client, store, log)
        await machine.open(client.device_id)
        bot = Bot(client, machine, None)  # type: ignore[arg-type]
        everybody: dict[str, Any] = {"allowed": lambda _: True, "speaking": lambda _: nullcontext()}
        bot.trust = Trust("work", config, machine, client, store, bot, log, prefix="!", **everybody)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for work in (machine.run, bot.trust.run, bot.sync)]
            await bot.until(lambda: bot.trust.settled, "all set up")
            yield bot
            for task in tasks:
                task.cancel()


async def log_in(client: Client, store: MemoryStore, account: Account) -> None:
    """With the device of this state."""
    device = await store.get("device")
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password,
    }
    if device is not None:
        body["device_id"] = device.decode()
    answer = await client.call_as(None, "POST", "/v3/login", body)
    await store.put("device", answer["device_id"].encode())
    client.authorize(answer["device_id"], answer["access_token"])


@dataclass(frozen=True)
class World:
    """Ann with her client, and the bot, in an encrypted room of both."""

    synapse: Synapse
    account: Account
    store: MemoryStore
    bot: Bot
    ann: JsClient
    room: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(synapse: Synapse) -> AsyncIterator[World]:
    """Made once: starting clients takes seconds."""
    name = uuid4().hex[:8]
    account, ann = await synapse.register(f"bot-{name}"), await synapse.register(f"ann-{name}")
    store = MemoryStore()
    async with life(synapse, account, store) as bot, JsClient(synapse.url, ann.user_id, ann.password) as client:
        await client.bootstrap_cross_signing()
        room = await client.create_room(invite=[account.user_id], encrypted=True, options={"preset": "private_chat"})
        await bot.client.call("POST", quote("v3", "join", room), {})
        await client.see_joined(room, account.user_id, 60)
        bot.home_room = room
        yield World(synapse, account, store, bot, client, room)


async def test_others_see_the_bots_device_as_cross_signed(world: World) -> None:
    """No warning stands beside what it says."""
    bot = world.bot
    device = await world.ann.see_device(bot.client.user_id, "a signed device", lambda device: device.signed_by_owner)
    assert (device.device_id, device.fingerprint) == (bot.client.device_id, bot.machine.ed25519)
    assert (await world.ann.user_trust(bot.client.user_id)).has_cross_signing_keys
    assert bot.trust.problems == ()


async def test_a_message_that_was_read_is_kept_in_the_backup(world: World) -> None:
    """With its key, soon after it came."""
    await world.ann.say(world.room, "remember me")
    await world.bot.until(lambda: "remember me" in world.bot.read, "the message")
    await world.bot.until(lambda: not world.bot.trust.backup.waiting, "the backup")
    kept = await world.bot.trust.backup.current()
    assert kept is not None
    assert kept["count"] >= 1


async def test_a_client_of_another_family_opens_what_the_bot_keeps(world: World) -> None:
    """Logged in as the bot with the recovery key it trusts itself and brings the keys back."""
    key = world.bot.trust.vault.recovery_key
    async with JsClient(world.synapse.url, world.account.user_id, world.account.password) as other:
        restored = await other.recover(key)
        assert restored.imported == restored.total >= 1
        trust = await other.own_trust()
        assert (trust.cross_signing_ready, trust.secret_storage_ready) == (True, True)
        await other.read_back(world.room)
        await other.see_text(world.room, world.ann.user_id, "remember me")
        await other.logout()


async def test_after_the_loss_of_its_state_the_recovery_key_brings_all_back(world: World) -> None:
    """The same identity signs the new device, and what was said before is read again."""
    before = world.bot.trust.identity.keys
    key = world.bot.trust.vault.recovery_key
    async with life(world.synapse, world.account, MemoryStore(), recovery_key=key) as bot:
        assert bot.trust.identity.keys == before
        assert bot.trust.problems == ()
        await bot.until(lambda: "remember me" in bot.read, "what was said before")
        device = await world.ann.see_device(
            bot.client.user_id, "the new device", lambda device: device.device_id == bot.client.device_id
        )
        assert device.signed_by_owner
        await bot.client.call("POST", "/v3/logout", {})


async def test_without_the_recovery_key_nothing_is_replaced(world: World) -> None:
    """The operator is told what to do."""
    before = await world.bot.trust.identity.published()
    version = await world.bot.trust.backup.current()
    async with life(world.synapse, world.account, MemoryStore()) as bot:
        assert bot.trust.identity.keys is None
        assert len(bot.trust.problems) == 3
        assert all("surfaces.work.recovery_key" in problem for problem in bot.trust.problems)
        after = await bot.trust.identity.published()
        assert after["master"] == before["master"]
        assert (await bot.trust.backup.current() or {})["version"] == (version or {})["version"]
        await bot.client.call("POST", "/v3/logout", {})


async def compared(world: World, name: str) -> None:
    """Both look at the same pictures, say so, and end verified."""
    bot, ann = world.bot, world.ann
    emoji = await ann.see_emoji(name)
    await bot.until(lambda: bot.trust.verification.waits_for(ann.user_id), "the pictures")
    assert all(picture in bot.told[-1] for picture in emoji)
    await ann.confirm_sas(name)
    await bot.trust.verification.answer(ann.user_id, True)
    await ann.see_phase(name, "done")
    await ann.see_user_verified(bot.client.user_id)
    device = (await bot.machine.devices(ann.user_id))[ann.device_id]
    assert device.trust == "verified"
    assert (await bot.machine.identity_of(ann.user_id)).verified
    await bot.until(lambda: bot.told[-1] == words.VERIFY_DONE(), "the last word")
    await bot.put(world.room, "m.room.message", uuid4().hex, {"msgtype": "m.text", "body": f"after {name}"})
    await ann.see_text(world.room, bot.client.user_id, f"after {name}")  # and all that was sent before it


@pytest.mark.parametrize("where", ["room", "device"])
async def test_a_person_verifies_the_bot(world: World, where: str) -> None:
    """In the room, or from device to device."""
    bot, ann = world.bot, world.ann
    asked = {"room": world.room} if where == "room" else {"device": bot.client.device_id}
    name = await ann.request_verification(user=bot.client.user_id, **asked)
    await ann.see_phase(name, "ready")
    await ann.start_sas(name)
    await compared(world, name)


async def test_the_bot_asks_to_be_verified(world: World) -> None:
    """By `!verify`; the person accepts in their client."""
    bot, ann = world.bot, world.ann
    await bot.trust.verification.begin(world.room, ann.user_id, "$cause")
    asked = await ann.see_verification("the request", lambda known: known.phase == "requested" and not known.own)
    await ann.accept_verification(asked.name)
    await ann.see_phase(asked.name, "started")
    await ann.start_sas(asked.name)
    await compared(world, asked.name)


class Crash(Exception):
    """The process ends."""


@dataclass
class Mortal(MemoryStore):
    """A store of a process that dies before the n-th time that secrets are kept."""

    writes: int = -1

    async def put(self, key: str, value: bytes) -> None:
        """Set a value, or die."""
        if key == "e2ee.vault":
            self.writes -= 1
            if self.writes == 0:
                raise Crash
        await super().put(key, value)


async def test_a_set_up_that_is_killed_anywhere_ends_in_one_identity(synapse: Synapse) -> None:
    """Whatever was published before is what is published in the end, and its secrets are where they should be."""
    for number in range(1, 30, 3):
        account, store = await synapse.register(f"crash-{uuid4().hex[:8]}"), Mortal(writes=number)
        died = False
        try:
            async with life(synapse, account, store) as bot:
                pass
        except* Crash:
            died = True
        before = await public(synapse, account)
        store.writes = -1
        async with life(synapse, account, store) as bot:
            assert (bot.trust.problems, bot.trust.vault.missing) == ((), [])
            assert before in ("", public_of((await bot.trust.identity.published())["master"]))
            assert (await bot.trust.backup.current() or {})["version"] == "1"
            key = bot.trust.vault.recovery_key
        async with life(synapse, account, MemoryStore(), recovery_key=key) as bot:
            assert bot.trust.problems == ()
        if not died:
            return
    raise AssertionError("it never came to its end")


async def public(synapse: Synapse, account: Account) -> str:
    """The account's identity as others see it."""
    async with Client(synapse.url, account.user_id) as client:
        await log_in(client, MemoryStore(), account)
        answer = await client.call("POST", "/v3/keys/query", {"device_keys": {account.user_id: []}})
        return public_of(mapping(mapping(answer.get("master_keys")).get(account.user_id)))


async def test_what_another_client_has_set_up_is_used(synapse: Synapse, tmp_path: Path) -> None:
    """With the recovery key from there, in a file; nothing is made anew."""
    account = await synapse.register(f"used-{uuid4().hex[:8]}")
    file = tmp_path / "recovery-key"
    async with JsClient(synapse.url, account.user_id, account.password) as other:
        await other.bootstrap_cross_signing()
        file.write_text(await other.bootstrap_secret_storage(), "ascii")
    before = await public(synapse, account)
    async with life(synapse, account, MemoryStore(), recovery_key_file=file) as bot:
        assert bot.trust.problems == ()
        assert bot.trust.identity.keys is not None
        assert bot.trust.identity.keys.master.public == before
        assert bot.trust.backup.version == "1"


async def test_a_recovery_key_that_is_made_is_written_for_its_owner_alone(synapse: Synapse, tmp_path: Path) -> None:
    """Once; the file that is there is read."""
    account, file = await synapse.register(f"file-{uuid4().hex[:8]}"), tmp_path / "recovery-key"
    async with life(synapse, account, MemoryStore(), recovery_key_file=file) as bot:
        assert file.read_text("ascii").strip() == bot.trust.vault.recovery_key
        assert file.stat().st_mode & 0o777 == 0o600
    async with life(synapse, account, MemoryStore(), recovery_key_file=file) as bot:
        assert bot.trust.problems == ()


@pytest.mark.parametrize("who", ["bot", "ann"])
async def test_pictures_that_differ_verify_nobody(world: World, who: str) -> None:
    """Whoever sees it ends it for both."""
    bot, ann = world.bot, world.ann
    name = await ann.request_verification(user=bot.client.user_id, device=bot.client.device_id)
    await ann.see_phase(name, "ready")
    await ann.start_sas(name)
    await ann.see_emoji(name)
    await bot.until(lambda: bot.trust.verification.waits_for(ann.user_id), "the pictures")
    if who == "ann":
        await ann.mismatch_sas(name)
        await bot.until(lambda: not bot.trust.verification.waits_for(ann.user_id), "its end")
    else:
        await bot.trust.verification.answer(ann.user_id, False)
    seen = await ann.see_phase(name, "cancelled")
    assert seen.cancel_code == "m.mismatched_sas"


async def lines(surface: MatrixSurface, report: str) -> list[str]:
    """What a report says."""
    return [line async for line in surface.report(report)]


async def test_the_doctor_says_how_it_is(synapse: Synapse) -> None:
    """While the surface runs, and while it rests; without its keys it says what to do."""
    account = await synapse.register(f"doc-{uuid4().hex[:8]}")
    settings = {"user_id": account.user_id, "password": account.password, "encryption": True}
    bots = Surfaces(synapse.url, settings=settings)
    async with bots.live() as surface:
        assert [command.name for command in surface.commands()] == ["verify"]
        async with asyncio.timeout(60):
            while any(line.startswith("!") for line in await lines(surface, "doctor")):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        said = await lines(surface, "doctor")
        assert any("cross-signed" in line for line in said)
        key = await lines(surface, "recovery-key")
        assert surface.condition().reasons == ()
    async with bots.make() as surface:
        assert await lines(surface, "recovery-key") == key
        assert not [line for line in await lines(surface, "doctor") if line.startswith("!")]
    async with Surfaces(synapse.url, settings=settings).make() as surface:
        said = await lines(surface, "doctor")
        assert len([line for line in said if line.startswith("!") and "surfaces.work.recovery_key" in line]) == 3
