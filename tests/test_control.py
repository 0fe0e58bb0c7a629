"""`surfaces queue`, `dead` and `export`, of a host that runs and of one that rests, and the door between them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proof.house import House, Person
from proof.nursery import Nursery
from proof.processes import PASSWORD, Agent, Program, reference_agent
from surfaces_core import Outbound, StateError, Unavailable
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine.journal import Backlog, Entry, Part
from surfaces_core._engine.killpoints import ORDERED
from surfaces_core._operating import control, queue, requests, spans
from surfaces_core._operating.control import Door, NobodyThere
from surfaces_core._operating.requests import Request
from surfaces_core._program import asking, tables
from surfaces_core.cli import parser
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport
from surfaces_testing.homeserver import FakeHomeserver, Status

SECRET = "xylophone"
NOBODY = 65534
ROOT = Path(__file__).parents[1]
REFUSED = Status(status=403, errcode="M_FORBIDDEN")
AWAY = Status(status=502, errcode="M_AWAY")
FULL = "I still have 1 message from here to answer, so I did not take this one. Please send it again later."
HEAD = ["BOX", "CONVERSATION", "DEPTH", "OLDEST", "STATE", "TRIES", "NEXT", "ERROR"]
watched = pytest.mark.asyncio(loop_scope="module")
"""Where the nursery is heard of."""
LOST = "A part of this answer could not be shown here."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery() -> AsyncIterator[Nursery]:
    """Where hosts and commands come from."""
    async with Nursery() as nursery:
        yield nursery


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent for all."""
    async with reference_agent(tmp_path_factory.mktemp("agents")) as agent:
        yield agent


@pytest_asyncio.fixture(loop_scope="module")
async def house(agent: Agent, nursery: Nursery, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver, and a config of a host that takes one message of a conversation at a time."""
    async with FakeHomeserver() as homeserver:
        yield settled(House(homeserver, agent, tmp_path, nursery))


def settled(house: House) -> House:
    """Only one message may wait, so that a second one is put aside."""
    house.configure(host={"max_lane_depth": 1})
    return house


async def command(house: House, *words: str, code: int = os.EX_OK, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; for another exit code its one line on standard error."""
    async with house.program(*words, log=house.folder / "command.log", env=env) as program:
        printed = await program.rest()
        assert await program.ended() == code, program.log()
    if code == os.EX_OK:
        assert program.log() == ""
        return printed
    assert printed == ""
    (line,) = program.log().splitlines()
    return line


async def letters(house: House) -> list[dict[str, Any]]:
    """All dead letters."""
    found: list[dict[str, Any]] = json.loads(await command(house, "dead", "list", "--json"))["letters"]
    return found


async def put_aside(house: House, person: Person, *texts: str) -> None:
    """Let a person say things that are put aside, because all come at one instant with what is answered."""
    said = ["first", *texts]
    house.hs.say_many([("@ann:hs.test", person.room, text) for text in said])
    await house.hs.until(lambda: FULL in person.heard and answer("first", 1) in person.heard, 30)


def answer(text: str, number: int) -> str:
    """What the agent says to that."""
    return f"You said: {text}. (message {number} in this context)"


@asynccontextmanager
async def talking(house: House) -> AsyncIterator[tuple[Program, Person]]:
    """A host that runs, and a person in a conversation with it."""
    async with house.host() as host:
        person = Person(house)
        await person.enter()
        await house.hs.until(lambda: any("Hello" in m.body for m in house.hs.shown(person.room)), 30)
        yield host, person


# A host that runs ------------------------------------------------------------------------------------


@pytest.mark.slow
@watched
async def test_letters_of_a_running_host(house: House) -> None:
    """They are listed without what was said, shown with it when asked for, answered when retried, and dropped."""
    async with talking(house) as (host, person):
        await put_aside(house, person, f"second {SECRET}", f"third {SECRET}")
        listed = await command(house, "dead", "list")
        assert listed.splitlines()[0].split() == ["NUMBER", "CONVERSATION", "KIND", "DIED", "TRIES", "REASON"]
        assert listed.count("LANE_FULL") == 2
        assert max(map(len, listed.splitlines())) <= 100
        second, third = await letters(house)
        assert (second["conversation"], second["reason"], second["kind"]) == (person.room, "LANE_FULL", "message")
        shown = await command(house, "dead", "show", str(second["number"]))
        assert "@ann:hs.test" in shown
        assert SECRET not in listed + shown
        assert SECRET in await command(house, "dead", "show", str(second["number"]), "--content")
        retried = await command(house, "dead", "retry", str(second["number"]))
        assert retried == f"{second['number']}: queued again\n1 queued again\n"
        await person.hears(answer(f"second {SECRET}", 2))
        dropped = await command(house, "dead", "drop", "--conversation", person.room)
        assert dropped == f"{third['number']}: dropped\n1 dropped\n"
        assert await command(house, "dead", "list") == "no dead letters\n"
        assert SECRET not in host.log()
        assert await host.stop() == 0
    assert person.heard.count(answer(f"second {SECRET}", 2)) == 1


@pytest.mark.slow
@watched
async def test_a_lost_part_of_an_answer_shows_after_a_retry(house: House) -> None:
    """The homeserver took neither the answer nor any trace of it; then it takes it once."""
    async with talking(house) as (host, person):
        house.hs.faults.always("send", REFUSED)
        person.say("hello")
        await host.logged("delivery.rejected")
        house.hs.faults.clear()
        await host.logged("turn.ended")
        (letter,) = await letters(house)
        assert (letter["box"], letter["kind"]) == ("out", "answer")
        assert "M_FORBIDDEN" in letter["reason"]
        await command(house, "dead", "retry", "--all")
        await person.hears(answer("hello", 1))
        assert await letters(house) == []
        assert await host.stop() == 0
    assert person.heard.count(answer("hello", 1)) == 1


@pytest.mark.slow
@watched
async def test_a_letter_that_is_not_there(house: House) -> None:
    """66 and one line that names those that are; whether the host runs or not."""
    async with talking(house) as (host, person):
        await put_aside(house, person, "second")
        (letter,) = await letters(house)
        for words in (["show", "99999"], ["retry", "99999", str(letter["number"])], ["drop", "99999"]):
            line = await command(house, "dead", *words, code=os.EX_NOINPUT)
            assert line == f"surfaces: REFUSED: no dead letter has the number 99999; there is {letter['number']}"
        assert await host.stop() == 0
    assert "99999; there is" in await command(house, "dead", "retry", "99999", code=os.EX_NOINPUT)
    assert await letters(house) == [letter]


@pytest.mark.slow
@watched
async def test_the_queue_of_a_running_host(house: House) -> None:
    """What cannot be sent stands there with its tries, its next one and why, and nothing of what it says."""
    async with talking(house) as (host, person):
        house.hs.faults.always("send", AWAY)
        person.say(f"hello {SECRET}")
        await host.logged("turn.ended")
        await house.hs.until(lambda: len(house.hs.record.of("send")) >= 3, 30)
        waiting = json.loads(await command(house, "queue", "--json"))
        (lane,) = waiting["lanes"]
        assert (lane["box"], lane["surface"], lane["conversation"]) == ("out", "matrix", person.room)
        assert (lane["depth"], lane["error"]) == (1, "UNAVAILABLE")
        assert lane["tries"] >= 1
        assert (waiting["running"], waiting["inbox"], waiting["outbox"], waiting["dead_letters"]) == (True, 0, 1, 0)
        assert any(reason.startswith("matrix: sending fails since") for reason in waiting["reasons"])
        table = await command(house, "queue")
        assert table.splitlines()[0].split() == HEAD
        assert max(map(len, table.splitlines()[:2])) <= 100
        assert "inbox: 0 in 0 conversations; outbox: 1 in 1; dead letters: 0" in table
        assert SECRET not in table
        house.hs.faults.clear()
        await person.hears(answer(f"hello {SECRET}", 1))
        assert await host.stop() == 0


@pytest.mark.slow
@watched
async def test_an_export_of_a_running_host(house: House) -> None:
    """It holds what one of a host that rests holds: every row, and no credentials."""
    async with talking(house) as (host, person):
        person.say("hello")
        await person.hears(answer("hello", 1))
        running = [json.loads(line) for line in (await command(house, "export")).splitlines()]
        assert {row["kind"] for row in running} >= {"conv", "cursor", "meta", "number", "plug", "seen", "stat"}
        assert {row["value"] for row in running if row["kind"] == "plug"} == {"[private]"}
        assert await host.stop() == 0
    resting = [json.loads(line) for line in (await command(house, "export")).splitlines()]
    changing = {"cursor", "meta"}
    assert [row for row in running if row["kind"] not in changing] == [
        row for row in resting if row["kind"] not in changing
    ]
    (token,) = (device.token for device in house.hs.world.devices.values() if device.user_id == "@bot:hs.test")
    assert token not in json.dumps(running)


@pytest.mark.slow
@watched
async def test_commands_need_no_secrets(house: House) -> None:
    """Who looks into the queue need not have the bot's password, only the way to its state."""
    async with talking(house) as (host, _person):
        written = json.loads(house.config.read_text())
        written["surfaces"]["matrix"]["password"] = {"env": "NOBODY_HAS_SET_THIS"}
        written["agents"][0]["base_url"] = "${NOBODY_HAS_SET_THIS}"
        house.config.write_text(json.dumps(written))
        assert json.loads(await command(house, "queue", "--json"))["running"] is True
        assert await host.stop() == 0
    assert json.loads(await command(house, "queue", "--json"))["running"] is False
    written["storage"]["path"] = "${NOBODY_HAS_SET_THIS}/surfaces.db"
    house.config.write_text(json.dumps(written))
    assert "NOBODY_HAS_SET_THIS" in await command(house, "queue", code=os.EX_CONFIG)


# A host that rests -----------------------------------------------------------------------------------


@pytest.mark.slow
@watched
async def test_letters_of_a_host_that_rests(house: House) -> None:
    """They are retried and dropped in its state, and what was retried is answered by its next life."""
    async with talking(house) as (host, person):
        await put_aside(house, person, "second", "third")
        assert await host.stop() == 0
    second, third = await letters(house)
    await command(house, "dead", "retry", str(second["number"]))
    await command(house, "dead", "drop", str(third["number"]))
    waiting = json.loads(await command(house, "queue", "--json"))
    assert [(lane["box"], lane["conversation"], lane["state"]) for lane in waiting["lanes"]] == [
        ("in", person.room, "stored")
    ]
    assert (waiting["running"], waiting["inbox"], waiting["dead_letters"]) == (False, 1, 0)
    assert "! the host does not run" in await command(house, "queue")
    async with house.host(name="second") as host:
        await person.hears(answer("second", 2))
        assert await host.stop() == 0
    assert person.heard.count(answer("second", 2)) == 1


@pytest.mark.slow
@watched
async def test_a_state_that_no_host_has_used(house: House) -> None:
    """66 and a line that hints at the folder: a queue that is empty for another reason must not be believed."""
    assert "this state is empty" in await command(house, "queue", code=os.EX_NOINPUT)


@pytest.mark.slow
@watched
async def test_a_storage_without_a_door(house: House) -> None:
    """The commands work while the host rests; while it runs they end with 75 and say that it must be stopped."""
    info = house.folder / "surfaces_lines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surfaces-lines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[surfaces.storage]\nlines = surfaces_lines:LinesStorage\n")
    there = {"PYTHONPATH": os.pathsep.join([str(house.folder), str(ROOT / "tests/releases/0.1.0/lines"), str(ROOT)])}
    house.configure(storage={"use": "lines", "path": str(house.folder / "state.lines")}, host={"max_lane_depth": 1})
    async with house.host(**there) as host:
        await host.ready()
        line = await command(house, "queue", code=os.EX_TEMPFAIL, env=there)
        assert "stop it first" in line
        assert await host.stop() == 0
    assert json.loads(await command(house, "queue", "--json", env=there))["running"] is False


# Between the two -------------------------------------------------------------------------------------


@pytest.mark.slow
@watched
@pytest.mark.parametrize("point", ORDERED)
@pytest.mark.parametrize("who", ["host", "command"])
async def test_a_retry_that_is_killed_loses_and_doubles_nothing(house: House, point: str, who: str) -> None:
    """Whoever does it dies before or after: the letter is still there or its message in the inbox, never both."""
    async with talking(house) as (host, person):
        await put_aside(house, person, "second")
        assert await host.stop() == 0
    armed = {"SURFACES_KILL_AT": point}
    if who == "host":
        async with house.host(name="killed", **armed) as host:
            await host.ready()
            line = await command(house, "dead", "retry", "--all", code=os.EX_TEMPFAIL)
            assert "ended or hung" in line
            assert await host.ended() == -signal.SIGKILL
    else:
        async with house.program("dead", "retry", "--all", log=house.folder / "killed.log", env=armed) as program:
            assert await program.ended() == -signal.SIGKILL
    left = await letters(house)
    assert len(left) == (1 if point == "retry.before" else 0)
    await command(house, "dead", "retry", "--all")
    async with house.host(name="clean") as host:
        await person.hears(answer("second", 2))
        assert await host.stop() == 0
    assert person.heard.count(answer("second", 2)) == 1
    assert await letters(house) == []


@pytest.mark.slow
@watched
async def test_a_command_while_the_host_starts(house: House) -> None:
    """It is answered by the host or by the state, and never told that another process holds it."""
    async with house.host() as host:
        await host.ready()
        assert await host.stop() == 0
    for number in range(3):
        async with house.host(name=f"start{number}") as host, asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(_asked(house))
            code = await _outcome(host)
        assert code in (os.EX_OK, os.EX_TEMPFAIL), host.log()  # a host may find its state held by the command


async def _asked(house: House) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with house.program("dead", "list", log=Path(folder) / "log") as program:
            assert (await program.rest(), await program.ended()) == ("no dead letters\n", 0), program.log()


async def _outcome(host: Program) -> int:
    line = await host.line()
    return await host.stop() if line.startswith("READY") else await host.ended()


@pytest.mark.slow
@watched
async def test_a_command_waits_for_a_host_that_starts_to_open_its_door(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state that is held is no failure as long as its host may still open the door."""
    monkeypatch.setenv("MATRIX_PASSWORD", PASSWORD)
    async with house.host() as host:
        await host.ready()
        hidden = house.database.with_name("hidden")
        door = house.database.with_name("surfaces.db.sock")
        door.rename(hidden)
        waited = []

        def wait(seconds: float) -> None:  # the wait between two tries is the one place where this can be seen
            waited.append(seconds)
            hidden.rename(door)

        monkeypatch.setattr(time, "sleep", wait)
        options = parser().parse_args(["queue", "--json", "-c", str(house.config)])
        assert await asyncio.to_thread(asking.run, options) == os.EX_OK
        assert len(waited) == 1
        assert json.loads(capsys.readouterr().out)["running"] is True
        assert await host.stop() == 0


# What the queue says ---------------------------------------------------------------------------------


async def queue_of(bot: TestBot) -> list[dict[str, Any]]:
    """The lanes of a host on doubles, as its operator sees them."""
    lines = [line async for line in requests.answer(bot.engine.operations.asked, Request(do="queue"))]
    return [line["row"] for line in lines if "row" in line]


async def test_a_lane_says_how_it_stands() -> None:
    """One is worked on, one waits for its next try, one for a free place; the oldest stands first."""
    now = 1000.0
    gate = asyncio.Event()
    gone = Unavailable("no", code="AGENT_UNREACHABLE", retry_after=600)
    steps: list[Any] = [[gone], [gate]]
    bot = TestBot(
        transport=ScriptedTransport.answering(lambda _request: steps.pop(0)),
        settings=HostSettings(max_concurrent_turns=1, shutdown_grace_s=0),
        now=lambda: now,
    )
    async with bot.running():
        for count, conversation in enumerate(("waits", "runs", "ready", "ready"), 1):
            await bot.push(SECRET, conversation=conversation)
            async with asyncio.timeout(5):
                while (len(bot.engine.turns.lanes), len(steps)) != (count, max(0, 2 - count)):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0)
            now += 10
        lanes = await queue_of(bot)
        assert SECRET not in json.dumps(lanes)
    told = [(lane["conversation"], lane["state"], lane["depth"], lane["oldest_s"], lane["error"]) for lane in lanes]
    assert told == [
        ("waits", "waiting", 1, 40.0, "AGENT_UNREACHABLE"),
        ("runs", "running", 1, 30.0, ""),
        ("ready", "ready", 2, 20.0, ""),
    ]
    assert [lane["next_s"] is None for lane in lanes] == [False, True, True]
    assert 590 < lanes[0]["next_s"] <= 600


async def test_what_an_earlier_life_left_is_told_while_it_is_held() -> None:
    """Until the surface has said what its rooms show, and of a host that rests."""
    bot = TestBot(settings=HostSettings(shutdown_grace_s=0), now=lambda: 1000.0)
    entry = Entry(seq=1, turn="t", message=await bot.messenger.say("x"), came_at=900.0, not_before=1007.0, attempts=2)
    part = Part(seq=2, outbound=Outbound(key="k", turn="t", part=0, address=entry.message.address, frozen_at=995.0))
    (held,) = queue.inbox((), {"memory": [entry, entry]}, 1000.0)
    assert (held.state, held.depth, held.oldest_s, held.tries, held.next_s) == ("held", 2, 100.0, 2, None)
    inbox, outbox = queue.stored(Backlog(entries=[entry], parts=[part, part]), 1000.0)
    assert (inbox.box, inbox.state, inbox.next_s) == ("in", "stored", 7.0)
    assert (outbox.box, outbox.state, outbox.depth, outbox.oldest_s) == ("out", "stored", 2, 5.0)


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=30)), max_size=10))
def test_a_table_fits_and_is_harmless(cells: list[tuple[str, str]]) -> None:
    """Whatever stands in it: no line is longer than a hundred characters or holds anything a terminal might obey."""
    lines = list(tables.table([("WHERE", "WHY"), *cells], elastic=0))
    assert len(lines) == len(cells) + 1
    assert all(len(line) <= tables.WIDTH and (line.isprintable() or not line) for line in lines)


@given(st.text(max_size=50), st.integers(1, 60))
def test_what_is_cut_keeps_its_ends(text: str, width: int) -> None:
    """It is never longer than it may be, and begins and ends as before."""
    cut = tables.cut(text, width)
    assert len(cut) == min(len(text), width)
    start, _, end = cut.partition("…")
    assert cut == text or (text.startswith(start) and text.endswith(end))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (5 * 86400.0, "5 d")],
)
def test_times_are_said_in_their_largest_unit(seconds: float | None, said: str) -> None:
    """Two of a unit are needed before it is used, so that little is lost."""
    assert spans.span(seconds) == said


# The door itself -------------------------------------------------------------------------------------


@pytest.mark.slow
@watched
async def test_the_door_is_private_and_goes_with_its_host(house: House) -> None:
    """It is there for the owner alone while the host runs, replaced after a kill, and removed at a clean end."""
    door = house.database.with_name("surfaces.db.sock")
    async with house.host() as host:
        await host.ready()
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        host.signal(signal.SIGKILL)
        await host.ended()
    assert door.is_socket()
    assert json.loads(await command(house, "queue", "--json"))["running"] is False
    async with house.host(name="second") as host:
        await host.ready()
        assert json.loads(await command(house, "queue", "--json"))["running"] is True
        assert await host.stop() == 0
    assert not door.exists()


@pytest.mark.slow
@watched
async def test_a_state_in_a_very_long_folder_has_a_door(house: House) -> None:
    """However long its path is, longer than the address of a socket may be."""
    folder = house.folder / ("long" * 20) / ("longer" * 20)
    house.configure(storage={"use": "sqlite", "path": str(folder / "surfaces.db")})
    async with house.host() as host:
        await host.ready()
        assert json.loads(await command(house, "queue", "--json"))["running"] is True
        assert await host.stop() == 0
    assert not (folder / "surfaces.db.sock").exists()


@pytest.mark.slow
@watched
async def test_a_place_without_room_for_a_door_is_no_reason_to_have_no_host(house: House) -> None:
    """What stands there is not removed, and the log says that there is no door."""
    house.database.parent.mkdir()
    other = house.database.with_name("surfaces.db.sock")
    other.write_text("not a socket")
    async with house.host() as host:
        await host.ready()
        await host.logged("control.closed")
        assert await host.stop() == 0
    assert other.read_text() == "not a socket"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[TestBot]:
    """A host on doubles with a door."""
    bot = TestBot()
    async with bot.running(), asyncio.TaskGroup() as group:
        serving = group.create_task(Door(path, bot.engine.operations.asked, structlog.get_logger()).run())
        async with asyncio.timeout(5):
            while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - a socket has no event for this
                await asyncio.sleep(0)
        yield bot
        serving.cancel()


AS_NOBODY = f"""
import os, sys
from pathlib import Path
from surfaces_core._operating import control
from surfaces_core._operating.requests import Request
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    print([line for line in control.ask(Path(sys.argv[1]), Request(do="queue"))])
except Exception as error:
    print(error, error.exit_code)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("mode", "said"), [(0o600, "only its own user and root may ask"), (0o666, "only user 0 and")])
async def test_other_users_are_refused(open_folder: Path, mode: int, said: str) -> None:
    """By the rights of the socket, and where those were opened by who they are."""
    path = open_folder / "door"
    async with served(path):
        path.chmod(mode)
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", AS_NOBODY, str(path), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await stranger.communicate()
    assert said in printed.decode()
    assert printed.decode().split()[-1] == "77"


async def raw(path: Path, data: bytes) -> bytes:
    """What the door answers to some bytes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    with closing(writer):
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()


@pytest.mark.parametrize("data", [b"x\n", b'{"do": "explode"}\n', b'{"do": "queue", "more": 1}\n', b"\xff\n"])
async def test_a_request_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    """With a line that says so, and the next one is answered."""
    async with served(tmp_path / "door"):
        refusal = json.loads(await raw(tmp_path / "door", data))
        assert "does not know this request" in refusal["error"]["message"]
        assert b'"end"' in await raw(tmp_path / "door", b'{"do": "queue"}\n')


async def test_a_request_without_an_end_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too long, and one that never comes."""
    monkeypatch.setattr(control, "ASKING_S", 0.05)  # the bound itself is what is tested
    async with served(tmp_path / "door"):
        for data in (b"x" * (control.LONGEST_REQUEST * 2), b"", b'{"do":'):
            with suppress(ConnectionError):  # what was not read of it is thrown away
                assert await raw(tmp_path / "door", data) == b""
        assert b'"end"' in await raw(tmp_path / "door", b'{"do": "queue"}\n')


async def test_only_so_many_are_served_at_once(tmp_path: Path) -> None:
    """One more is told to come again, and may when another has gone."""
    path = tmp_path / "door"
    async with served(path):
        silent = [await asyncio.open_unix_connection(str(path)) for _ in range(control.AT_ONCE)]
        assert b"too many ask" in await raw(path, b'{"do": "queue"}\n')
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(5):
            while b"too many" in await raw(path, b'{"do": "queue"}\n'):
                pass


async def test_a_door_that_closes_leaves_nobody_inside(tmp_path: Path) -> None:
    """Who is being served when the host ends is let go before the state is closed, and the socket is gone."""
    path = tmp_path / "door"
    async with served(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116 - it does not wait
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert not path.exists()


async def test_a_bug_behind_the_door_does_not_open_the_house(tmp_path: Path) -> None:
    """It is logged and said, and the host goes on."""
    async with served(tmp_path / "door") as bot:
        bot.engine.operations.health.report = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        with structlog.testing.capture_logs() as logs:
            said = await raw(tmp_path / "door", b'{"do": "queue"}\n')
        assert b"this should not happen" in said
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["control.bug"]
        await bot.push("hello")
        assert await bot.pop() == "hello"


def test_nobody_answers_where_no_host_is(tmp_path: Path) -> None:
    """No file, a file of a host that died, and a folder that is a file are all the same."""
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(stale))
    for path in (tmp_path / "none", stale, stale / "below"):
        with pytest.raises(NobodyThere):
            next(control.ask(path, Request(do="queue")))


@pytest.mark.parametrize("said", [b"", b'{"row": {}}\n{"ro'])
def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path, said: bytes) -> None:
    """75, so that who asked asks again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "door"))
        listening.listen()
        lines = control.ask(tmp_path / "door", Request(do="queue"))

        async def both() -> list[Any]:
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(asyncio.to_thread(list, lines))
                connection, _ = await asyncio.to_thread(listening.accept)
                connection.recv(1000)
                connection.sendall(said)
                connection.close()
            return asked.result()

        with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="ended or hung", check=lambda e: e.exit_code == 75)):
            asyncio.run(both())
