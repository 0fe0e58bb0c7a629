"""A person's day with the bot, seen through a client of another family: in plain rooms, and in encrypted ones."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from surfaces_demo.children import Child
from surfaces_demo.stage import program
from surfaces_demo.synapse import Account, Synapse
from surfaces_testing.js_client import JsClient, JsMessage

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("day")]

CONFIG = """
storage: {{use: sqlite, path: {folder}/state/surfaces.db}}
files: {{use: volume, root: {folder}/agents}}
surfaces:
  matrix:
    homeserver: "{homeserver}"
    user_id: "{bot.user_id}"
    password: "{bot.password}"
    recovery_key_file: {folder}/recovery.key
    {encryption}
    stream_first_s: 0.2
    stream_interval_s: 0.3
transports: {{agent_api: {{}}}}
hooks: [context, chats, staging, ops]
agents:
  - {{id: reference, label: Reference, base_url: "{agent}", workspace_path: reference, send_message_id: true}}
host: {{on_interrupt: retry, operators: ["{ann.user_id}"]}}
"""
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080600000"
    "01f15c4890000000d49444154789c6360f8cfc0f01f0005000201a5b8c9b50000000049454e44ae426082"
)


@dataclass(kw_only=True)
class Day:
    """Everything that runs, and where the person is."""

    folder: Path
    bot: Account
    ann: JsClient
    encrypted: bool
    host: Child | None = None
    room: str = ""
    entry: str = ""
    lives: int = 0
    seen: set[str] = field(default_factory=set)
    """The bot's messages that the person has looked at."""

    async def start(self) -> None:
        """Start the host, or start it again."""
        self.lives += 1
        command = [program("surfaces"), "run", "-c", str(self.folder / "surfaces.yaml")]
        self.host = await Child.start(f"host{self.lives}", command, folder=self.folder)
        await self.host.ready()

    async def kill(self) -> None:
        """Pull the host's plug."""
        assert self.host is not None
        await self.host.kill()

    async def join(self, room: str) -> None:
        """Accept the invitation to a conversation; what is said there is encrypted where it must be."""
        await self.ann.join(room)
        await self.ann.see_room(
            "the room from within",
            lambda known: (
                known.room_id == room
                and known.membership == "join"
                and known.members.get(self.bot.user_id) == "join"
                and known.encrypted == self.encrypted
            ),
        )

    async def answer(self, what: str, fits: Callable[[JsMessage], bool], room: str = "") -> JsMessage:
        """The bot's next message that fits, which was not looked at before."""
        room = room or self.room

        def found(message: JsMessage) -> bool:
            mine = message.sender == self.bot.user_id and message.event_id not in self.seen
            return mine and not message.redacted and fits(message)

        try:
            message = await self.ann.see(room, what, found, within_s=30)
        except BaseException:
            for message in await self.ann.timeline(room):
                sys.stdout.write(f"{message.sender} {message.type}: {message.text!r} {message.undecryptable or ''}\n")
            sys.stdout.write(self.host.tail(40) if self.host else "")
            raise
        assert message.encrypted == self.encrypted or room == self.entry
        self.seen.add(message.event_id)
        return message

    async def ask(self, text: str, expected: str, room: str = "") -> JsMessage:
        """Say something, and see an answer that holds a text (a regular expression)."""
        await self.ann.say(room or self.room, text)
        return await self.answer(
            f"an answer to {text!r}", lambda message: re.search(expected, message.text) is not None, room
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[False, True], ids=["plain", "encrypted"])
async def day(
    request: pytest.FixtureRequest, synapse: Synapse, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Day]:
    """One host, one agent and one person for the whole day."""
    folder, kind = tmp_path_factory.mktemp("day"), "encrypted" if request.param else "plain"
    bot, person = await synapse.register(f"day_bot_{kind}"), await synapse.register(f"day_ann_{kind}")
    workspace = folder / "agents/reference"
    workspace.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        command = [program("surfaces-agent"), "--port", "0", "--workspace", str(workspace), "--words-per-second", "40"]
        agent = await Child.start("agent", [*command, "--memory", str(folder / "agent.json")], folder=folder)
        stack.push_async_callback(agent.stop)
        address = str((await agent.ready())["base_url"])
        ann = await stack.enter_async_context(JsClient(synapse.url, person.user_id, person.password))
        text = CONFIG.format(
            folder=folder,
            homeserver=synapse.url,
            bot=bot,
            agent=address,
            ann=person,
            encryption="encrypt_new_rooms: true" if request.param else "",
        )
        (folder / "surfaces.yaml").write_text(text)
        day = Day(folder=folder, bot=bot, ann=ann, encrypted=request.param)
        await day.start()
        yield day
        assert day.host is not None
        await day.host.stop()


async def test_getting_in(day: Day) -> None:
    """Inviting the bot to a direct room leads to a Space with a room, and a greeting there."""
    day.entry = await day.ann.create_room(
        invite=[day.bot.user_id], direct=True, options={"preset": "trusted_private_chat"}
    )
    space = await day.ann.see_invitation(space=True)
    room = await day.ann.see_invitation()
    await day.ann.join(space.room_id)
    await day.join(room.room_id)
    day.room = room.room_id
    greeting = await day.answer("a greeting", lambda message: "!new" in message.text)
    assert "Reference" in greeting.text
    await day.answer("a link", lambda message: "matrix.to" in (message.formatted_body or ""), day.entry)
    assert (
        day.room in (await day.ann.see_room("the Space", lambda known: bool(known.space and known.children))).children
    )


async def test_talking(day: Day) -> None:
    """Text streams, replies and threads are answered where they were said, stickers and polls are understood."""
    counted = await day.ask("count to 40", r"39 40\s*$")
    assert len(counted.versions) > 1
    await day.ann.reply(day.room, counted.event_id, "is this right?")
    quoted = await day.answer("an answer to the reply", lambda message: "is this right?" in message.text)
    assert "39 40" in quoted.text  # the agent was given what was replied to
    await day.ann.say_in_thread(day.room, counted.event_id, "in the thread")
    threaded = await day.answer("an answer in the thread", lambda message: "in the thread" in message.text)
    assert threaded.thread == counted.event_id
    await day.ann.send_poll(day.room, "Tea or coffee?", ["tea", "coffee"])
    await day.answer("an answer to the poll", lambda message: "coffee" in message.text)
    await day.ann.send(day.room, {"msgtype": "m.emote", "body": "waves"})
    await day.answer("an answer to the emote", lambda message: "waves" in message.text)
    place = {"msgtype": "m.location", "body": "Here", "geo_uri": "geo:52.5,13.4"}
    await day.ann.send(day.room, place)
    await day.answer("an answer to the place", lambda message: "52.5" in message.text)


async def test_changing_ones_mind(day: Day) -> None:
    """An edit of the running question begins its answer anew; an edit never triggers a command."""
    said = await day.ann.say(day.room, "count to 400")
    begun = await day.answer("the beginning", lambda message: message.text.startswith("1 2 3"))
    await day.ann.edit(day.room, said, "count to 7")
    await day.ann.see(
        day.room,
        "the other answer in its place",
        lambda message: message.event_id == begun.event_id and message.text.strip() == "1 2 3 4 5 6 7",
    )
    await day.ann.edit(day.room, said, "!clear")
    assert "7" in (await day.ask("What did I say before?", "count to 7")).text


async def test_files(day: Day) -> None:
    """Files wait for the next text, a caption sends at once, voice asks by itself, and files come back."""
    await day.ann.send_file(day.room, "list.txt", b"apples\n", "text/plain")
    await day.answer("that it waits", lambda message: "list.txt" in message.text)
    await day.ask("!list", "list.txt")
    await day.ask("what is in it?", "I got .*list.txt")
    await day.ann.send_voice(day.room, b"OggS" + bytes(60), 1500)
    await day.answer("an answer to the voice", lambda message: re.search("I got .*voice", message.text) is not None)
    await day.ann.send_sticker(day.room, "cat.png", PICTURE)
    await day.answer("that the sticker waits", lambda message: ".png" in message.text)
    await day.ask("!remove all", ".png")
    await day.ann.say(day.room, "make a file")
    note = await day.answer("a file", lambda message: message.file)
    assert b"make a file" in await day.ann.download(day.room, note.event_id)
    if day.encrypted:
        assert b"make a file" not in await day.ann.download_raw(note.content["file"]["url"])


async def test_confirmations(day: Day) -> None:
    """A question of the agent is answered by a reaction, by a command, and after the host was killed."""
    question = await day.ask("ask me", "May I go on")
    await day.ann.react(day.room, question.event_id, "👍")
    await day.answer("what a yes comes to", lambda message: "You said yes" in message.text)
    await day.ask("ask me", "May I go on")
    await day.ask("!no", "You said no")
    question = await day.ask("ask me", "May I go on")
    await day.kill()
    await day.start()
    await day.ask("!yes", "You said yes")


async def test_commands(day: Day) -> None:
    """What `!help` lists works."""
    if not day.encrypted:
        pytest.skip("what they say does not depend on the room")
    await day.ask("!help", "!save")
    await day.ask("!hlep", "!help")
    await day.ask("!context", "C1")
    await day.ask("!save first", "first")
    await day.ask("!load", "first")
    await day.ask("!cancel", ".")
    await day.ask("!load first", "first")
    await day.ask("!settings", "Reference")
    await day.ask("!status", "matrix")
    await day.ask("say it again", "say it again")
    await day.ask("!retry", "say it again")
    await day.ask("!language ru", "[а-я]")
    await day.ask("!context", "[а-я]")
    await day.ask("!language en", "English")
    await day.ask("!rename Holiday plans", "Holiday plans")
    await day.ann.see_room("the new name", lambda known: known.room_id == day.room and known.name == "Holiday plans")
    await day.ann.set_state(day.room, "m.room.name", {"name": "Winter plans"})
    await day.ask("!chats", "Winter plans")
    await day.ask("!clear", "afresh")
    await day.ask("What did I say before?", "nothing yet")


async def test_putting_away(day: Day) -> None:
    """An archived conversation says so until it is brought back."""
    await day.ask("!archive", "archived")
    await day.ask("hello?", "archived")
    await day.ask("!archive undo", "back")


async def test_a_second_conversation(day: Day) -> None:
    """It has a room and a memory of its own."""
    await day.ask("remember the marmalade", "marmalade")
    await day.ask("!new Cooking", "Cooking")
    other = await day.ann.see_invitation()
    await day.join(other.room_id)
    assert other.name == "Cooking"
    assert "marmalade" not in (await day.ask("What did I say before?", "nothing yet", other.room_id)).text


async def test_with_the_state_deleted(day: Day) -> None:
    """With its database gone the bot knows every conversation, its agent and its context."""
    before = await day.ask("!context", "context: [0-9]+")
    assert day.host is not None
    await day.host.stop()
    for path in (day.folder / "state").iterdir():
        path.unlink()
    old = {device.device_id for device in await day.ann.devices(day.bot.user_id)}
    await day.start()
    if day.encrypted:
        await day.ann.see_device(
            day.bot.user_id,
            "its new device, signed",
            lambda device: device.device_id not in old and device.signed_by_owner,
        )
    after = await day.ask("!context", "context: [0-9]+")
    number = re.compile("context: ([0-9]+)")
    assert number.findall(before.text) == number.findall(after.text)
    await day.ask("What did I say before?", "marmalade[^…]*$")


async def test_nothing_was_ugly(day: Day) -> None:
    """No message of the day stayed unreadable, none was left unfinished, and no internals were shown."""
    for message in await day.ann.timeline(day.room):
        assert message.undecryptable is None or message.sender != day.bot.user_id
        if message.sender == day.bot.user_id:
            assert not message.text.endswith("…")
            assert "Traceback" not in message.text
