"""The push inlet: what agents say by themselves is stored before it is acknowledged and shown where it belongs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from surfaces_core import ConfigError, End, StateError, Text
from surfaces_core._config.config import load
from surfaces_core._config.settings import PushSettings
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport

SECRET = "a-secret-of-some-length"
OTHER = "another-secret-of-length"
PAGE = Path(__file__).parents[1] / "docs/how-to/push.md"


def settings(**changes: Any) -> PushSettings:
    """Two tokens; one may speak for another agent alone."""
    tokens = {"nightly": {"secret": SECRET}, "narrow": {"secret": OTHER, "agents": ["agent-9"]}}
    return PushSettings.model_validate({"listen": "127.0.0.1:0", "tokens": tokens, **changes})


@asynccontextmanager
async def living(bot: TestBot, **changes: Any) -> AsyncIterator[TestBot]:
    """One life of a host that takes pushes, and knows a conversation of Ann's."""
    build = bot.build

    def built(storage: Any = None) -> Any:
        engine = build(storage)
        engine.push = settings(**changes)
        return engine

    bot.build = built  # type: ignore[method-assign]
    async with bot.running():
        if not bot.messenger.incoming:
            await bot.push("hello")
            await bot.pop()
        yield bot
    bot.build = build  # type: ignore[method-assign]


async def request(bot: TestBot, raw: bytes) -> tuple[int, dict[str, Any]]:
    """What is answered to bytes: the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bot.engine.push_port)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def push(
    bot: TestBot, secret: str = SECRET, body: bytes | None = None, **fields: Any
) -> tuple[int, dict[str, Any]]:
    """Push something."""
    values = {"id": "1", "person": "@ann", "kind": "done", "task": "report", **fields}
    content = json.dumps(values).encode() if body is None else body
    head = f"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(content)}\r\n\r\n"
    return await request(bot, head.encode() + content)


async def test_a_push_is_shown_once_however_often_it_is_sent() -> None:
    """202 the first time, 200 for a repeat, in this life and the next."""
    bot = TestBot()
    async with living(bot):
        assert await push(bot, title="The report", text="See *above*.") == (202, {"new": True})
        assert await push(bot) == (200, {"new": False})
        assert await bot.pop() == "✅ **The report** is done.\n\nSee *above*."
    async with living(bot):
        assert await push(bot) == (200, {"new": False})
        assert await push(bot, id="2", kind="failed", title="The report") == (202, {"new": True})
        assert await bot.pop() == "❌ **The report** has failed."


async def test_updates_of_a_task_change_one_message_and_the_last_one_always_shows() -> None:
    """A flood of them is a few changes; what ends the task is a message of its own."""
    clock = 1000.0
    bot = TestBot(now=lambda: clock)
    async with living(bot):
        for number in range(1, 21):
            assert (await push(bot, id=f"p{number}", kind="progress", progress=number / 20))[0] == 202
        assert await bot.pop() == "⏳ **report** 5%"
        clock += 4
    async with living(bot):
        await bot.messenger.until(lambda: "⏳ **report** 100%" in bot.messenger.texts())
        assert (await push(bot, id="end"))[0] == 202
        assert await bot.pop() == "✅ **report** is done."
        assert (await push(bot, id="next", kind="progress"))[0] == 202
        assert await bot.pop() == "⏳ **report**"
    (line,) = [shown for shown in bot.messenger.shown.values() if "100%" in shown.text]
    assert len(line.versions) == 2


async def test_a_push_finds_its_conversation() -> None:
    """By its native id, its label and person, its agent and context, or as the person's most recent."""
    clock = 1000.0
    bot = TestBot(now=lambda: clock)
    async with living(bot):
        for conversation in ("second", "third"):
            clock += 10
            await bot.push("hello", conversation=conversation)
            await bot.pop(conversation)
        binding = next(b for b in bot.engine.book.all_live() if b.address.conversation == "second")
        assert (await push(bot, id="a", person="", conversation="home"))[0] == 202
        await bot.pop("home")
        assert (await push(bot, id="b", conversation="C2"))[0] == 202
        await bot.pop("second")
        assert (await push(bot, id="c", person="", agent=binding.agent, context=binding.context))[0] == 202
        await bot.pop("second")
        assert (await push(bot, id="d", context="0"))[0] == 202
        await bot.pop("third")


async def test_it_waits_for_its_turn_in_the_conversation() -> None:
    """It does not come between a question and its answer."""
    gate = asyncio.Event()
    gate.set()
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [gate, Text("Answer."), End()]))
    async with living(bot):
        gate.clear()
        await bot.push("question")
        await bot.messenger.until(lambda: len(bot.messenger.incoming) == 2)
        while not bot.engine.turns.lanes:  # noqa: ASYNC110 - the lanes have no event for this
            await asyncio.sleep(0)
        assert (await push(bot))[0] == 202
        gate.set()
        assert [await bot.pop(), await bot.pop()] == ["Answer.", "✅ **report** is done."]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"secret": "wrong"}, 401),
        ({"secret": OTHER}, 404),
        ({"person": "@nobody"}, 404),
        ({"conversation": "nowhere"}, 404),
        ({"person": ""}, 422),
        ({"kind": "begun"}, 422),
        ({"text": "x" * 40_000}, 422),
        ({"extra": 1}, 422),
        ({"body": b"{"}, 422),
        ({"body": b'{"id": "\xff"}'}, 422),
        ({"text": "x" * 70_000}, 413),
    ],
)
async def test_what_is_wrong_is_refused_in_one_line(fields: dict[str, Any], status: int) -> None:
    """Nothing of it is stored or shown, and nothing of a secret is said."""
    bot = TestBot()
    async with living(bot):
        found, body = await push(bot, **fields)
        assert found == status
        assert list(body) == ["error"]
        assert "\n" not in body["error"]
        assert SECRET not in json.dumps(body)
        assert len(bot.messenger.shown) == 1


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v1/push HTTP/1.1\r\n\r\n", 405),
        (b"POST /v2 HTTP/1.1\r\n\r\n", 404),
        (b"POST /v1/push HTTP/1.1\r\n\r\n", 401),
        (f"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode(), 411),
        (f"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: -1\r\n\r\n".encode(), 411),
    ],
)
async def test_what_is_no_push_is_told_what_is(raw: bytes, status: int) -> None:
    """A supervisor or a browser that comes by learns what there is."""
    async with living(TestBot()) as bot:
        assert (await request(bot, raw))[0] == status


async def test_a_token_may_push_so_much_and_no_more() -> None:
    """Others are not slowed by it."""
    async with living(TestBot(), per_minute=2) as bot:
        found = [(await push(bot, id=str(number)))[0] for number in range(4)]
        assert found == [202, 202, 429, 429]
        assert (await push(bot, secret=OTHER))[0] == 404


async def test_what_cannot_be_stored_is_not_acknowledged() -> None:
    """The sender is told to come again, and then it is taken."""
    async with living(TestBot()) as bot:
        accept = bot.engine.journal.accept

        async def full(*_args: Any) -> Any:
            raise StateError("the disk is full")

        bot.engine.journal.accept = full  # type: ignore[assignment, method-assign]
        assert (await push(bot))[0] == 503
        bot.engine.journal.accept = accept  # type: ignore[method-assign]
        assert (await push(bot))[0] == 202
        assert await bot.pop() == "✅ **report** is done."


async def test_the_example_of_the_page_works() -> None:
    """As it stands there, with curl, but for the port and the secret."""
    (command,) = re.findall(r"^```sh\n(curl .*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    async with living(TestBot()) as bot:
        command = command.replace("9401", str(bot.engine.push_port)).replace("@ann:example.org", "@ann")
        run = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-c", command],
            env={"PATH": "/usr/bin:/bin", "PUSH_TOKEN": SECRET},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert run.stdout == '{"new": true}\n'
        assert (await bot.pop()).startswith("⏳ **Nightly report** 40%")


CONFIG = """
storage: {use: memory}
surfaces: {here: {use: memory}}
transports: {x: {use: x}}
agents: [{id: agent-1, transport: x}]
push:
  tokens:
    nightly: {secret: %s, agents: [%s]}
"""


@pytest.mark.parametrize(
    ("secret", "agent", "place"),
    [("short", "agent-1", "push.tokens.nightly.secret"), (SECRET, "agent-7", "push.tokens.nightly.agents[0]")],
)
def test_a_wrong_section_is_named_and_no_secret_said(tmp_path: Path, secret: str, agent: str, place: str) -> None:
    """`surfaces check` says where it is."""
    path = tmp_path / "surfaces.yaml"
    path.write_text(CONFIG % (secret, agent))
    with pytest.raises(ConfigError) as raised:
        load(path, {})
    assert place in str(raised.value)
    assert secret not in str(raised.value)
