"""What the surface and its client promise beside the contract: once, in order, to the right person, and harmless."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from surfaces_core import Address, Binding, ConfigError, Draft, FileRef, Inbound, Kind, Opening, Outbound
from surfaces_core.testing.recording_intake import RecordingIntake, receiving
from surfaces_terminal import own_host, sitting
from surfaces_terminal.client import Client, FileError
from surfaces_terminal.render import clean, drawn, with_ways
from surfaces_terminal.saving import safe_name, save
from surfaces_terminal.surface import TerminalSurface
from surfaces_terminal.talk import Talk
from surfaces_terminal.wire import (
    ASKED,
    Chat,
    Coming,
    Get,
    Hello,
    Message,
    Seen,
    SentFile,
    Upload,
    Welcome,
    WireError,
    lines,
)

from .conftest import ME, House, Watcher

HOME = Address(surface="terminal", conversation="home")
MINE = Binding(address=HOME, owner=ME, number=1, name="C1", agent="echo", context="1", created_at=1.0)
THEIRS = replace(MINE, address=Address(surface="terminal", conversation="theirs"), owner="somebody-else")
ANSWER = Outbound(key="turn.0", turn="turn", part=0, address=HOME, text="hello")

DRAFT = Draft(key="turn.0", turn="turn", part=0, address=HOME, attempt=1, version=1)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Nobody is in yet."""
    return House(tmp_path / "terminal.sock")


@asynccontextmanager
async def living(house: House, intake: RecordingIntake, *rooms: Binding) -> AsyncIterator[TerminalSurface]:
    """A life of the surface with some conversations."""
    async with house.make() as surface:
        for room in rooms:
            await surface.conversations.record(room)
        async with receiving(surface, intake):
            yield surface


@asynccontextmanager
async def attached(client: Client) -> AsyncIterator[None]:
    """A client that is there while the block lasts."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(client.run())
        yield
        running.cancel()


async def test_who_has_no_conversation_calls_the_bot(house: House):
    """The first time a client attaches the bot is called, once however often it attaches; then the chats are told."""
    intake = RecordingIntake()
    async with attached(house.client):
        for _ in range(2):
            async with living(house, intake):
                await house.watcher.until(lambda: house.watcher.there)
                await intake.wait_until(lambda: bool(intake.entries), "the bot must be called")
            await house.watcher.until(lambda: not house.watcher.there)
        assert [(entry.kind, entry.sender) for entry in intake.entries] == [(Kind.START, ME)]
        async with living(house, intake) as surface:
            await surface.conversations.open(
                Opening(
                    key="k1", surface="terminal", owner=ME, owner_name=ME, number=1, name="C1",
                    agent="echo", context="1", created_at=1.0,
                )
            )  # fmt: skip
            await house.watcher.until(lambda: house.watcher.told)
    assert [chat.id for chat in house.watcher.told[-1].chats] == ["k1"]


async def test_what_was_said_while_nobody_looked_shows_once(house: House):
    """It waits for the person's next client; a client after that is not shown it again."""
    async with living(house, RecordingIntake(), MINE) as surface:
        await surface.send(ANSWER)
        async with attached(house.client):
            await house.watcher.until(lambda: house.watcher.messages)
            await surface.send(replace(ANSWER, key="turn.1", text="more"))
            await house.watcher.until(lambda: house.store.rows.get(f"seen/{ME}") == b"2")
        late = Watcher()
        async with attached(Client(house.socket, late)):
            await surface.send(replace(ANSWER, key="turn.2", text="last"))
            await late.until(lambda: late.messages)
    assert [message.text for message in house.watcher.messages] == ["hello", "more"]
    assert [message.text for message in late.messages] == ["last"]


async def test_what_the_host_tells_again_shows_once(house: House):
    """Where the host never heard that something was shown, it tells it again; the client knows better."""
    async with attached(house.client):
        async with living(house, RecordingIntake(), MINE) as surface:
            await surface.send(ANSWER)
            await house.watcher.until(lambda: f"seen/{ME}" in house.store.rows)
        await house.watcher.until(lambda: not house.watcher.there)
        del house.store.rows[f"seen/{ME}"]
        async with living(house, RecordingIntake(), MINE):
            await house.watcher.until(lambda: f"seen/{ME}" in house.store.rows)
    assert [message.text for message in house.watcher.messages] == ["hello"]


async def test_a_repeated_line_comes_in_once(house: House):
    """What a client says again, because it never heard that the host has it, is the same message."""
    intake = RecordingIntake()
    async with living(house, intake, MINE):
        reader, writer = await asyncio.open_unix_connection(house.socket)
        said = {"do": "say", "id": "0" * 32, "chat": "home", "text": "once"}
        for line in ({"do": "hello", "life": "1" * 32}, said, said):
            writer.write(json.dumps(line).encode() + b"\n")
        answers = [json.loads(await reader.readline()) for _ in range(5)]  # welcome, knowledge, chats, and two
        writer.close()
    assert [answer["say"] for answer in answers].count("taken") == 2
    assert intake.said() == ["once"]


async def test_conversations_of_others_are_closed(house: House):
    """Nothing is said in them, nothing of them is shown, and no file of them is given."""
    intake = RecordingIntake()
    async with living(house, intake, MINE, THEIRS) as surface:
        await surface.send(replace(ANSWER, key="other.0", address=THEIRS.address, file=await stored(house)))
        async with attached(house.client):
            await house.watcher.until(lambda: house.watcher.told)
            await surface.send(replace(ANSWER, key="other.1", address=THEIRS.address))
            house.client.say("theirs", "let me in")
            house.client.say("home", "mine")
            await house.client.taken()
            with pytest.raises(FileError):
                await house.client.download(1, lambda piece: None)
    assert intake.said() == ["mine"]
    assert (len(house.watcher.refusals), house.watcher.messages) == (1, [])
    assert [chat.id for chat in house.watcher.told[-1].chats] == ["home"]


async def stored(house: House, content: bytes = b"the report") -> FileRef:
    """A file of the agent's."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return await house.files.save("echo", "report.txt", chunks())


async def test_files_go_both_ways(house: House, tmp_path: Path):
    """A person's file is fetched as it was; an agent's is saved, though it is gone since, in no other's place."""
    intake, got = RecordingIntake(), tmp_path / "got"
    (tmp_path / "a.txt").write_bytes(b"x" * 200_000)
    async with living(house, intake, MINE) as surface, attached(house.client):
        upload = await house.client.upload(tmp_path / "a.txt")
        house.client.say("home", "look", upload)
        await house.client.taken()
        entry: Inbound = intake.entries[-1]
        assert b"".join([piece async for piece in surface.fetch(entry.attachments[0])]) == b"x" * 200_000
        ref = await stored(house)
        await surface.send(replace(ANSWER, file=ref))
        await house.files.remove("echo", ref.path)
        await surface.send(replace(ANSWER, file=ref))  # a repeat, when the file is long gone
        await house.watcher.until(lambda: house.watcher.messages)
        paths = [await save(house.client, house.watcher.messages[0], got) for _ in range(2)]
    assert [path.name for path in paths] == ["report.txt", "report (1).txt"]
    assert {path.read_bytes() for path in paths} == {b"the report"}


@pytest.mark.parametrize(("broken", "last"), [(2, "report.txt"), (1000, "not saved")])
async def test_a_file_that_broke_off(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, last: str
):
    """It is asked for again, as after a host's crash, before its message counts as seen; one never whole is told of."""
    monkeypatch.setattr("surfaces_terminal.client.AGAIN_S", 0.0)
    shown, gets, seen = list[str](), list[int](), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in lines(reader, ASKED):
            if isinstance(line, Hello):
                writer.write(Welcome(person=ME, prefix="!").encoded())
                file = SentFile(name="report.txt", size=3, mime="text/plain")
                writer.write(Message(seq=1, chat="home", key="k", text="", file=file).encoded())
            elif isinstance(line, Get):
                gets.append(line.seq)
                writer.write(Coming(size=3).encoded() + (b"a" if len(gets) <= broken else b"abc"))
                break
            elif isinstance(line, Seen):
                seen.append(line.seq)
                house.watcher.changed.set()
        writer.close()

    async def message(told: Message) -> None:
        try:
            shown.append((await save(house.client, told, tmp_path / "got")).name)
        except FileError:
            shown.append("not saved")

    house.watcher.message = message  # type: ignore[method-assign, assignment]
    async with await asyncio.start_unix_server(serve, house.socket), attached(house.client):
        await house.watcher.until(lambda: seen)
    assert (shown, len(list((tmp_path / "got").iterdir()))) == ([last], int(last == "report.txt"))


async def test_old_files_go_but_not_one_that_waits(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a person sent long ago is removed while the surface runs, too; what an agent sent waits for its reader."""
    monkeypatch.setattr("surfaces_terminal.spool.LOOK_S", -1.0)
    (tmp_path / "a.txt").write_text("a")
    folder = house.socket.with_name("terminal.sock.files")
    async with living(house, RecordingIntake(), MINE) as surface:
        await surface.send(replace(ANSWER, file=await stored(house)))
        await house.client.upload(tmp_path / "a.txt")
        for path in folder.iterdir():
            os.utime(path, (1, 1))
        await house.client.upload(tmp_path / "a.txt")
        assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == ["in", "out"]
    async with living(house, RecordingIntake(), MINE), attached(house.client):
        await house.watcher.until(lambda: house.watcher.messages)
        assert (await save(house.client, house.watcher.messages[0], tmp_path / "got")).read_bytes() == b"the report"


def test_a_socket_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The client goes where the host listens."""
    config = tmp_path / "s.yaml"
    config.write_text('surfaces: {terminal: {socket: "${RUN_DIR}/${NAME:-t}.sock"}}')
    with pytest.raises(ConfigError, match="RUN_DIR is not set"):
        own_host.find(config)
    monkeypatch.setenv("RUN_DIR", "/run/x")
    assert own_host.find(config).socket == Path("/run/x/t.sock")


async def test_a_file_waits_for_the_host(house: House, tmp_path: Path):
    """One that cannot be sent because the host is away is not said to be missing."""
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(WireError):
        await house.client.upload(tmp_path / "a.txt")
    with pytest.raises(FileError, match="No such file"):
        await house.client.upload(tmp_path / "b.txt")


async def test_all_that_was_missed_comes(house: House, monkeypatch: pytest.MonkeyPatch):
    """However much waits for a person, it is no reason to let go of who comes to read it."""
    monkeypatch.setattr("surfaces_terminal.desk.BEHIND", 2)
    async with living(house, RecordingIntake(), MINE) as surface:
        for number in range(20):
            await surface.send(replace(ANSWER, key=f"turn.{number}"))
        async with attached(house.client):
            await house.watcher.until(lambda: len(house.watcher.messages) == 20)


async def test_a_client_that_does_not_read_fills_no_memory(house: House):
    """Of an answer that grows before its eyes only the newest look waits; a message is not lost behind it."""
    async with living(house, RecordingIntake(), MINE) as surface:
        reader, writer = await asyncio.open_unix_connection(house.socket, limit=2**18)
        writer.write(Hello(life="1" * 32).encoded())
        while "chats" not in (await reader.readline()).decode():
            pass
        for number in range(200):
            await surface.show(replace(DRAFT, text=f"{number} " + "x" * 100_000))
            await asyncio.sleep(0)
        await surface.send(ANSWER)
        told = list[dict[str, str]]()
        while not told or told[-1]["say"] != "message":
            told.append(json.loads(await reader.readline()))
        writer.close()
    assert told[-2]["text"].startswith("199 ")
    assert len(told) < 100


async def test_who_speaks_nonsense_or_leaves_is_no_bug(house: House):
    """An operator's log has a line about it, and no trace of calls."""
    with capture_logs() as logs:
        async with living(house, RecordingIntake(), MINE):
            reader, writer = await asyncio.open_unix_connection(house.socket)
            writer.write(Hello(life="1" * 32).encoded() + b"nonsense\n")
            await reader.read()
            writer.close()
    assert [log["event"] for log in logs if log["event"].startswith("terminal.")] == ["terminal.broken"]


async def test_who_leaves_while_the_host_is_away_is_told_what_is_lost(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """What was said to nobody is not passed over in silence."""
    monkeypatch.setattr(sitting, "LAST_S", 0.0)
    house.client.say("home", "hello")
    await sitting.left(house.client, Talk(tmp_path))
    assert "1 message did not reach the host" in capsys.readouterr().err


async def test_what_no_host_would_take_is_not_said(house: House, tmp_path: Path):
    """What is too long is refused here, or the host would let go of its sender again and again; odd bytes go."""
    told = list[str]()

    async def tell(line: str) -> None:
        told.append(line)

    talk = Talk(tmp_path)
    talk.client, talk.tell, talk.current = house.client, tell, Chat(id="home", number=1, name="C1")
    intake = RecordingIntake()
    async with living(house, intake, MINE), attached(house.client):
        await talk.enter("x" * 1_000_001)
        await talk.enter("a\udcffb")
        await house.client.taken()
    assert (intake.said(), len(told)) == (["a?b"], 1)


async def test_uploads_that_were_never_made(house: House):
    """A name of a file that the host did not give is refused, wherever it leads."""
    intake = RecordingIntake()
    house.socket.with_name("secret").write_text("s")
    async with living(house, intake, MINE), attached(house.client):
        for ref in ("in-0123", "../secret", "in-../../secret", "secret"):
            house.client.say("home", "", Upload(ref=ref, name="a", size=1))
        await house.client.taken()
    assert (len(house.watcher.refusals), intake.said()) == (4, [])


async def test_nobody_else_can_come_in(house: House):
    """The socket and what is kept beside it are for their owner; another host's socket is not taken away."""
    async with living(house, RecordingIntake(), MINE):
        assert stat.S_IMODE(house.socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(house.socket.with_name("terminal.sock.files").stat().st_mode) == 0o700
        async with house.make() as second:
            with pytest.raises(ConfigError, match="another host"):
                async with asyncio.timeout(5):
                    await second.run(RecordingIntake())
        async with attached(house.client):
            await house.watcher.until(lambda: house.watcher.there)
    assert not house.socket.exists()


async def test_what_was_seen_is_forgotten_in_time(house: House):
    """Of what was seen so much is kept as the settings say; what was not seen stays."""
    house.keep = 3
    async with living(house, RecordingIntake(), MINE) as surface:
        for number in range(5):
            await surface.send(replace(ANSWER, key=f"turn.{number}", text=str(number)))
        assert sum(row.startswith("said/") for row in house.store.rows) == 5
        async with attached(house.client):
            await house.watcher.until(lambda: house.store.rows.get(f"seen/{ME}") == b"5")
        await surface.send(replace(ANSWER, key="turn.5", text="5"))
    assert sum(row.startswith("said/") for row in house.store.rows) == 3


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("/etc/cron.d/x", "x"),
        ("..\\..\\evil.exe", "evil.exe"),
        (".bashrc", "bashrc"),
        ("--force", "force"),
        ("a\x1b]0;x\x07b.txt", "a_]0;x_b.txt"),
        ("", "attachment"),
        ("...", "attachment"),
        ("x" * 300 + ".txt", "x" * 180 + ".txt"),
        ("報" * 120 + ".txt", "報" * 60 + ".txt"),
    ],
)
def test_names_of_files_are_safe(name: str, safe: str):
    """No name leads elsewhere, hides, looks like an option or moves the cursor."""
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x9b2J", "\x07", "\r", "\x08", "\x00", "\x7f", "\u202e", "\u2066", "\x85"]
)
def test_no_control_character_is_shown(evil: str):
    """What a terminal would obey is shown as what it is: not to be shown."""
    assert clean(f"a{evil}b") == "a\N{REPLACEMENT CHARACTER}" + evil[1:] + "b"
    rendered = drawn(f"a{evil}b `{evil}` [x](http://e.org/{evil})", 60, colours=False)
    assert not set(evil[0]) & set(rendered)
    assert evil[0] not in drawn(f"a&#{ord(evil[0])};b", 60, colours=False)


@pytest.mark.parametrize(("markdown", "lines"), [("- a\n- b", 2), ("```python\n```", 1), ("# Title", 1), ("a\n\nb", 3)])
def test_nothing_takes_more_room_than_it_needs(markdown: str, lines: int):
    """No empty lines around an answer: the screen has its own between two of them."""
    assert len(drawn(markdown, 60).split("\n")) == lines


def test_links_say_where_they_lead():
    """To a conversation by how to go there, elsewhere by the address itself."""
    assert with_ways("see [C2 work](chat:2)") == "see C2 work (`/chat 2`)"
    assert "http://evil.example" in drawn("[good](http://evil.example)", 60, colours=False)
