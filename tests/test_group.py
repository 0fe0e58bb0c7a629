"""A group with the bot in it: the real host and the reference agent on a real homeserver, and two people."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
import yaml

from surfaces_demo.children import Child
from surfaces_demo.person import Person
from surfaces_demo.stage import CONFIG, program
from surfaces_demo.synapse import Account, Synapse
from surfaces_demo.timeline import Message, Room

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("day")]
WITHIN_S = 60.0


@dataclass(kw_only=True)
class Group:
    """A room of Ann's, with Bob and the bot."""

    bot: Account
    ann: Person
    bob: Person
    room: Room
    """As Ann sees it."""
    seen: set[str] = field(default_factory=set)
    """What the bot said that was expected."""

    async def call(self, who: Person, text: str, **more: Any) -> None:
        """Say something that mentions the bot."""
        mention = {"m.mentions": {"user_ids": [self.bot.user_id]}}
        await who.send(self.room, {"msgtype": "m.text", "body": f"{self.bot.user_id}: {text}", **mention, **more})

    async def reply(self, who: Person, to: Message, text: str) -> None:
        """Reply to a message, as a client does that knows no mentions."""
        relation = {"m.in_reply_to": {"event_id": to.event_id}}
        await who.send(self.room, {"msgtype": "m.text", "body": text, "m.relates_to": relation})

    async def answer(self, text: str) -> Message:
        """The bot's next message, which has come to its end and holds a text."""

        def look() -> Message | None:
            new = [one for one in self.room.by(self.bot.user_id) if one.event_id not in self.seen]
            return next((one for one in new if text in one.text and not one.text.endswith("…")), None)

        message = await self.ann.see(f"an answer with {text!r}", look, WITHIN_S)
        self.seen.add(message.event_id)
        return message


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(synapse: Synapse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Group]:
    """One host and one agent; the bot is called to the group by Ann."""
    folder = tmp_path_factory.mktemp("group")
    workspace = folder / "agents/reference"
    workspace.mkdir(parents=True)
    bot, ann, bob = [await synapse.register(f"group_{name}") for name in ("bot", "ann", "bob")]
    config = yaml.safe_load(CONFIG.read_text())
    config["surfaces"]["matrix"]["group_rooms"] = "mention"
    (folder / "surfaces.json").write_text(json.dumps(config))
    async with AsyncExitStack() as stack:
        command = [program("surfaces-agent"), "--port", "0", "--workspace", str(workspace), "--words-per-second", "100"]
        agent = await Child.start("agent", command, folder=folder)
        stack.push_async_callback(agent.stop)
        environment = {
            "SURFACES_STATE": str(folder),
            "MATRIX_HOMESERVER": synapse.url,
            "MATRIX_USER_ID": bot.user_id,
            "MATRIX_PASSWORD": bot.password,
            "AGENT_URL": str((await agent.ready())["base_url"]),
        }
        host = [program("surfaces"), "run", "-c", str(folder / "surfaces.json")]
        running = await Child.start("host", host, folder=folder, env=environment)
        stack.push_async_callback(running.stop)
        people = [await stack.enter_async_context(Person(synapse.url, one)) for one in (ann, bob)]
        await running.ready()
        room = await people[0].create_room(name="Team", preset="private_chat", invite=[bot.user_id, bob.user_id])
        await people[1].join(room)
        yield Group(bot=bot, ann=people[0], bob=people[1], room=room)


async def test_a_group_talks_with_the_bot(group: Group) -> None:
    """Who mentions it or replies to it is answered, in the thread where they are; the rest is none of its business."""
    ann, bob = group.ann, group.bob
    await group.answer("Mention me")
    await bob.say(group.room, "just among us")
    await group.call(ann, "count to 3")
    counted = await group.answer("1 2 3")
    await group.reply(bob, counted, "is this right?")
    await group.answer("is this right?")
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": counted.event_id}}
    await group.call(bob, "count to 4", **thread)
    assert (await group.answer("1 2 3 4")).thread == counted.event_id
    await bob.say(group.room, "!help")
    await group.call(bob, "!help")
    assert "!clear" not in (await group.answer("!retry")).text
    await group.call(ann, "!help")
    await group.answer("!clear")


async def test_what_a_group_has_in_common_is_changed_by_who_manages_the_room(group: Group) -> None:
    """The conversation is the room's: Bob may ask and answer, but not make the agent forget; Ann, who made it, may."""
    ann, bob = group.ann, group.bob
    await group.call(ann, "we like marmalade")
    await group.answer("marmalade")
    await group.call(bob, "!clear")
    await group.answer("You may not use `!clear`")
    await group.call(bob, "What did I say before?")
    await group.answer("marmalade")
    await group.call(ann, "!clear")
    await group.answer("starts afresh")
    await group.call(bob, "What did I say before?")
    await group.answer("You have said nothing yet")
    await group.call(bob, "ask me")
    question = await group.answer("May I go on")
    await group.reply(bob, question, "!yes")
    await group.answer("Passed on")
    await group.answer("You said yes")
    said = group.room.by(group.bot.user_id)
    assert {message.event_id for message in said} == group.seen
    assert not any("among us" in message.text for message in said)
