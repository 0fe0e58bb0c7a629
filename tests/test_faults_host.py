"""The real host process when what it stands on gives way: disk, state, signals, limits, other processes, plugins.

Each case breaks one thing from outside, and looks at the exit code, at the one line that says why, and at what
people see in the end: everything once.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import resource
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof import trouble
from proof.house import House, Person, counted
from proof.nursery import Nursery
from proof.processes import HOST, Agent, Program, reference_agent
from surfaces_core._engine import words
from surfaces_testing.homeserver import FakeHomeserver, Stall

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent that speaks slowly enough to be interrupted."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "100") as agent:
        yield agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nursery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nursery]:
    """Where hosts come from; the misbehaving plugin is installed there."""
    async with Nursery(trouble.install(tmp_path_factory.mktemp("site"))) as nursery:
        yield nursery


@pytest_asyncio.fixture(loop_scope="module")
async def house(agent: Agent, nursery: Nursery, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver and a config."""
    async with FakeHomeserver() as homeserver:
        yield House(homeserver, agent, tmp_path, nursery)


@pytest.fixture
def troubled(house: House) -> House:
    """One whose host has commands that misbehave, and little patience at its end."""
    house.configure(host={"shutdown_grace_s": 0.5})
    house.config.write_text(json.dumps({**json.loads(house.config.read_text()), "hooks": ["trouble"]}))
    return house


def events(program: Program, name: str) -> list[dict[str, Any]]:
    """What a host logged under a name."""
    lines = [json.loads(line) for line in program.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def said(program: Program) -> list[str]:
    """What a host wrote that is no log."""
    return [line for line in program.log().splitlines() if not line.startswith("{")]


def inbox(house: House) -> list[dict[str, Any]]:
    """The stored entries that are not done."""
    with closing(sqlite3.connect(house.database)) as database:
        rows = database.execute("SELECT value FROM kv WHERE key >= ? AND key < ?", (b"in\0", b"in\1")).fetchall()
    return [json.loads(value) for (value,) in rows]


# Plugins that keep the process ------------------------------------------------------------------------


async def test_a_command_that_blocks_the_loop_is_named(troubled: House) -> None:
    """A stall is logged with its length and the plugin's line, and everything goes on behind it."""
    async with troubled.host() as host:
        ann, bob = Person(troubled), Person(troubled, "bob")
        await ann.enter()
        await bob.enter()
        ann.say("!sleep 1")
        bob.say("hello")
        await ann.hears("slept")
        await bob.hears("You said: hello. (message 1 in this context)")
        await host.logged("loop.stalled")
        assert await host.stop() == 0
    (stall,) = events(host, "loop.stalled")
    assert stall["seconds"] > 0.5
    assert stall["where"].startswith("proof.trouble:")
    assert stall["where"].endswith(" sleep")


async def test_what_a_plugin_leaves_behind_is_named(troubled: House) -> None:
    """Tasks that nobody awaits end with the host, which says whose they are."""
    async with troubled.host() as host:
        ann, bob = Person(troubled), Person(troubled, "bob")
        await ann.enter()
        await bob.enter()
        ann.say("!leak")
        await ann.hears("left a task")
        bob.say("!endless")
        await host.logged('"command": "endless"')
        assert await host.stop() == 0
    (left,) = events(host, "host.left_behind")
    assert [line.rpartition(" ")[2] for line in left["tasks"]] == ["endless"]
    assert events(host, "host.kept") == []
    assert said(host) == []


async def test_what_wants_no_end_gets_one(troubled: House) -> None:
    """Deaf tasks and endless threads keep no stop from its exit code 0, and count against no message."""
    commands = ("deaf", "leak_deaf", "leak_thread", "block_thread")
    async with troubled.host() as host:
        people = [Person(troubled, name) for name in commands]
        for person, command in zip(people, commands, strict=True):
            await person.enter()
            person.say(f"!{command}")
        await people[1].hears("left a deaf task")
        await people[2].hears("left a thread")
        await host.logged('"command": "deaf"')
        await host.logged('"command": "block_thread"')
        people[1].say("hello")
        await people[1].hears("You said: hello. (message 1 in this context)")
        assert await host.stop() == 0
    (kept,) = events(host, "host.kept")
    assert [line.rpartition(" ")[2] for line in kept["tasks"]] == ["deaf"]
    assert any(line.startswith("left-thread") for line in kept["threads"])
    assert said(host) == []
    # else the next life would count it as a crash
    assert {(entry["message"]["text"], entry.get("state", "queued")) for entry in inbox(troubled)} == {
        ("!deaf", "queued"),
        ("!block_thread", "queued"),
    }


# What the host writes to ---------------------------------------------------------------------------------


def hello(number: int = 1) -> str:
    """What the agent says to `hello`."""
    return f"You said: hello. (message {number} in this context)"


async def test_a_log_that_cannot_be_written_ends_nothing(house: House) -> None:
    """With standard output and error on a full disk everything is answered, and a stop is clean."""
    command = ("sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh", *HOST, "run", "-c", str(house.config))
    async with Program(command, log=house.folder / "host.log") as host:
        ann = Person(house)
        await ann.enter()
        ann.say("hello")
        await ann.hears(hello())
        assert await host.stop() == 0


async def test_a_log_that_nobody_reads_holds_up_nothing(house: House) -> None:
    """A reader of standard error that stopped reading costs lines of the log and nothing else."""
    pipe = house.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        async with Program((*HOST, "run", "-c", str(house.config)), log=pipe) as host:
            await host.ready()
            ann = Person(house)
            await ann.enter()
            for number in range(1, 31):
                ann.say("hello")
                await ann.hears(hello(number))
            assert len(os.read(reader, 100_000)) > 3000
            host.signal(signal.SIGTERM)
            assert await host.ended() == 0
    finally:
        os.close(reader)


async def says_everything_once(house: House, ann: Person, expected: list[str]) -> None:
    """One more life of the host answers what is open, and stops."""
    house.configure()
    async with house.host(name="next") as host:
        await host.ready()
        await house.hs.until(lambda: ann.heard == expected, timeout=10)
        assert await host.stop() == 0
        assert said(host) == []
    assert ann.heard == expected


UNSYNCED = (f"{errno.EIO}:fsync,fdatasync", "reading or writing failed")
FULL = (f"{errno.ENOSPC}:pwrite64", "the disk is full")
READ_ONLY = (f"{errno.EROFS}:pwrite64", "reading or writing failed")


@pytest.mark.parametrize(
    ("moment", "failing", "sentence"),
    [("taking in", *UNSYNCED), ("answering", *UNSYNCED), ("taking in", *FULL), ("answering", *READ_ONLY)],
    ids=["taking in, unsynced", "answering, unsynced", "taking in, full", "answering, read-only"],
)
async def test_a_disk_that_fails_ends_the_host_and_costs_nothing(
    troubled: House, moment: str, failing: str, sentence: str
) -> None:
    """Nothing is acknowledged that is not on the disk: exit code 74 and one line, and the next life answers once."""
    text, answer = ("hello", hello()) if moment == "taking in" else ("count to 60", counted(60))
    async with troubled.host(SURFACES_TROUBLE=failing) as host:
        ann = Person(troubled)
        await ann.enter()
        if moment == "answering":
            ann.say(text)
            await ann.hears_part_of("1 2")
        host.signal(signal.SIGUSR1)
        if moment == "taking in":
            ann.say(text)
        assert await host.ended() == os.EX_IOERR, host.log()
    (line,) = said(host)
    assert line.startswith(f"surfaces: STATE: {troubled.database}: {sentence}")
    await says_everything_once(troubled, ann, [answer])


async def test_a_file_that_may_not_grow_is_a_full_disk(house: House) -> None:
    """Likewise with the kernel's own limit."""
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        limit(host, resource.RLIMIT_FSIZE, house.database.with_name("surfaces.db-wal").stat().st_size)
        ann.say("hello")
        assert await host.ended() == os.EX_IOERR, host.log()
    (line,) = said(host)
    assert str(house.database) in line
    await says_everything_once(house, ann, [hello()])


def limit(program: Program, what: int, value: int) -> None:
    """Change a soft limit of a running program."""
    _, hard = resource.prlimit(program.pid, what)
    resource.prlimit(program.pid, what, (value, hard))


def synced(house: House) -> int:
    """How many syncs were answered."""
    return sum(request.status == 200 for request in house.hs.record.of("sync"))


@pytest.mark.parametrize("held", ["for a moment", "for long"])
async def test_a_database_that_another_program_locks(house: House, held: str) -> None:
    """It is waited for, and after that the end is 75 with one line; either way everything is answered once."""
    house.configure(storage={"busy_timeout_s": 30 if held == "for a moment" else 0.2})
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        with closing(sqlite3.connect(house.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = synced(house)
            ann.say("hello")
            if held == "for long":
                assert await host.ended() == os.EX_TEMPFAIL, host.log()
                (line,) = said(host)
                assert "another program keeps the database locked" in line
            else:
                await house.hs.until(lambda: synced(house) > before)
                other.execute("ROLLBACK")
                await ann.hears(hello())
                assert await host.stop() == 0
    await says_everything_once(house, ann, [hello()])


# The state -----------------------------------------------------------------------------------------------


async def grown(house: House) -> Person:
    """A state that holds something, of a host that has ended; somebody who is owed nothing."""
    async with house.host(name="grown") as host:
        ann = Person(house)
        await ann.enter()
        ann.say("hello")
        await ann.hears(hello())
        assert await host.stop() == 0
    return ann


def overwrite(path: Path, at: int, count: int) -> None:
    """Put garbage into a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * count)


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "header": (lambda path: overwrite(path, 0, 100), "not a database of Surfaces"),
    "page": (lambda path: overwrite(path, path.stat().st_size // 4096 // 2 * 4096 + 8, 2000), "the file is damaged"),
    "emptied": (lambda path: os.truncate(path, 0), "held state before"),
    "cut": (lambda path: os.truncate(path, path.stat().st_size // 2), "the file is damaged"),
}


async def test_a_database_that_cannot_be_read(house: House) -> None:
    """65 and one line that names the file and the remedy; a backup in its place, and all is well."""
    ann = await grown(house)
    sound = house.database.read_bytes()
    for spoil, sentence in SPOILT.values():
        house.database.write_bytes(sound)
        spoil(house.database)
        line = await house.refused(os.EX_DATAERR)
        assert f"{house.database}: " in line
        assert sentence in line
        assert "backup" in line or "move this one away" in line
    house.database.write_bytes(sound)
    ann.say("hello")
    await says_everything_once(house, ann, [hello(), hello(2)])


async def test_a_log_of_the_database_that_was_cut_doubles_nothing(house: House) -> None:
    """What was only in the lost half is asked of the homeserver again, and what it knows already shows once."""
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        size = house.database.with_name("surfaces.db-wal").stat().st_size
        ann.say("hello")
        await ann.hears(hello())
        ann.say("count to 5")
        await ann.hears(counted(5))
        host.signal(signal.SIGKILL)
        await host.ended()
    os.truncate(house.database.with_name("surfaces.db-wal"), size + 10_000)
    ann.say("count to 7")
    await says_everything_once(house, ann, [hello(), counted(5), counted(7)])


@pytest.mark.parametrize("taken", ["folder", "lock file"])
async def test_a_state_that_is_taken_away_ends_the_host(house: House, taken: str) -> None:
    """Nothing is taken in that could not be kept: exit code 74 and one line. What is left is what the next has."""
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        if taken == "folder":
            house.database.parent.rename(house.folder / "taken")
        else:
            house.database.with_name("surfaces.db.lock").unlink()
        ann.say("hello")
        assert await host.ended() == os.EX_IOERR, host.log()
    (line,) = said(host)
    assert "removed or replaced while it was in use" in line
    if taken == "folder":
        (house.folder / "taken").rename(house.database.parent)
    await says_everything_once(house, ann, [hello()])


# Other processes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [False, True], ids=["live", "stopped"])
async def test_a_second_process_by_whatever_name(house: House, stopped: bool) -> None:
    """75 and the holder's process and host, however the path is written and whether the first one moves or not."""
    state, folder = house.database.parent, house.folder
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        if stopped:
            host.signal(signal.SIGSTOP)
        (folder / "other").symlink_to(state)
        (folder / "link.db").symlink_to(house.database)
        for path in (f"{folder}/./state/../state/surfaces.db", folder / "other" / "surfaces.db", folder / "link.db"):
            house.configure(storage={"path": str(path)})
            line = await house.refused(os.EX_TEMPFAIL)
            assert f"process {host.pid} on {socket.gethostname()} holds" in line
        (folder / "hard.db").hardlink_to(house.database)
        house.configure(storage={"path": str(folder / "hard.db")})
        assert "hard link" in await house.refused(os.EX_TEMPFAIL)
        (folder / "hard.db").unlink()
        if stopped:
            host.signal(signal.SIGCONT)
        ann.say("hello")
        await ann.hears(hello())
        assert await host.stop() == 0
    assert ann.heard == [hello()]


# Signals -------------------------------------------------------------------------------------------------

CROWD = 50


async def test_a_stop_while_fifty_answers_are_written(house: House) -> None:
    """What the grace does not suffice for is asked again: in the end everybody has the whole answer, once."""
    house.configure(host={"shutdown_grace_s": 0.2, "on_interrupt": "retry"}, surfaces={"matrix": calm(house)})
    async with house.host() as host:
        crowd = [Person(house, f"p{number}") for number in range(CROWD)]
        for person in crowd:
            await person.enter()
        for person in crowd:
            person.say("count to 150")
        for person in crowd:
            await person.hears_part_of("1 2")
        assert await host.stop() == 0
    assert said(host) == []
    assert events(host, "host.kept") == []
    cut = [person for person in crowd if person.heard != [counted(150)]]
    assert cut
    async with house.host(name="next") as host:
        for person in crowd:
            await person.hears(counted(150))
        assert await host.stop() == 0
    assert {tuple(person.heard) for person in crowd} == {(counted(150),)}


def calm(house: House) -> dict[str, Any]:
    """The Matrix section with few edits in a room, in however many rooms."""
    section: dict[str, Any] = json.loads(house.config.read_text())["surfaces"]["matrix"]
    return {**section, "stream_interval_s": 2.0, "stream_edits_per_s": 1000}


@pytest.mark.parametrize("route", ["login", "sync", "createRoom"])
async def test_a_stop_while_the_homeserver_hangs(house: House, route: str) -> None:
    """However far the start has come, one signal ends it with 0 and the next start has everything."""
    release = asyncio.Event()
    house.configure(host={"shutdown_grace_s": 0.5})
    house.hs.fault(route, Stall(release=release))
    async with house.host() as host:
        ann = Person(house)
        await house.hs.until(lambda: house.hs.record.of(route), timeout=10)
        assert await host.stop() == 0
    release.set()
    assert said(host) == []
    async with house.host() as host:
        await ann.enter()
        ann.say("hello")
        await ann.hears(hello())
        assert await host.stop() == 0
    assert ann.heard == [hello()]


async def test_a_process_that_sleeps_goes_on_where_it_was(house: House) -> None:
    """Stopped in the middle of an answer for longer than its timeouts, it says the whole answer once."""
    house.configure(surfaces={"matrix": {**calm(house), "sync_timeout_s": 1, "request_timeout_s": 1}})
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        ann.say("count to 100")
        await ann.hears_part_of("1 2")
        host.signal(signal.SIGSTOP)
        ann.say("hello")
        await asyncio.sleep(3)  # the sleep is the fault itself
        host.signal(signal.SIGCONT)
        await house.hs.until(lambda: len(ann.heard) > 1 and not ann.heard[1].endswith("…"), timeout=20)
        assert ann.heard == [counted(100), hello(2)]
        await house.hs.until(lambda: not house.hs.rooms[ann.room].typing)
        await host.logged("loop.stalled")
        assert await host.stop() == 0
    (stall,) = [stall for stall in events(host, "loop.stalled") if stall["seconds"] > 2]
    assert stall["where"] == "the whole process"
    assert ann.heard == [counted(100), hello(2)]


# Limits --------------------------------------------------------------------------------------------------


async def test_a_process_without_descriptors_recovers(house: House) -> None:
    """No storm of tries and lines while none is left; with the first that is free everything goes on."""
    port = free_port()
    house.configure(ops={"listen": f"127.0.0.1:{port}"})
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        limit(host, resource.RLIMIT_NOFILE, len(list(proc(host, "fd").iterdir())))
        ann.say("hello")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # waits to be accepted
        writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
        await host.logged("agent.down")
        await host.logged("library.log")
        lines, asked = len(host.log().splitlines()), len(house.hs.requests)
        await asyncio.sleep(2)  # a storm needs its time
        assert len(host.log().splitlines()) - lines < 20
        assert len(house.hs.requests) - asked < 10
        limit(host, resource.RLIMIT_NOFILE, 256)
        await ann.hears(hello())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert await host.stop() == 0
    assert said(host) == []
    assert ann.heard == [hello()]


def free_port() -> int:
    """One that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def test_a_process_without_memory_loses_nothing(house: House) -> None:
    """Whether it costs a turn or the whole host, there is an answer to everything once there is memory again."""
    async with house.host() as host:
        ann = Person(house)
        await ann.enter()
        size = re.search(r"VmSize:\s+(\d+)", proc(host, "status").read_text())
        assert size is not None
        limit(host, resource.RLIMIT_AS, int(size[1]) * 1024)
        ann.send_file("big.bin", b"x" * 30_000_000)
        ann.say("hello")
        if not await ended_before(host, seen(lambda: "MemoryError" in host.log() or len(ann.heard) == 2)):
            limit(host, resource.RLIMIT_AS, resource.RLIM_INFINITY)
            await ended_before(host, house.hs.until(lambda: len(ann.heard) == 2, 20))
    async with house.host(name="next") as host:
        await host.ready()
        await house.hs.until(lambda: len(ann.heard) == 2, 20)
        assert await host.stop() == 0
    first, second = ann.heard  # the second names the file where that came in
    assert first in (words.GENERAL(), "Got `big.bin`. 1 waiting for your next message.")
    assert second.endswith(hello())


async def seen(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells."""
    while not condition():  # noqa: ASYNC110 - a log has no event for this
        await asyncio.sleep(0.01)


async def ended_before(program: Program, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait until a program has ended or something is so; whether it was the end."""
    async with asyncio.TaskGroup() as group:
        ending, seeing = group.create_task(program.ended()), group.create_task(waiting)
        await asyncio.wait({ending, seeing}, return_when=asyncio.FIRST_COMPLETED)
        seeing.cancel()
        return not ending.cancel()


def proc(program: Program, name: str) -> Path:
    """What the kernel tells of a running program."""
    return Path(f"/proc/{program.pid}/{name}")


# Messages that kill ---------------------------------------------------------------------------------------


async def test_a_message_that_kills_is_put_aside(troubled: House) -> None:
    """Three lives end by it; the fourth says so once, and everybody else is answered."""
    people: list[Person] = []
    for life in range(3):
        async with troubled.host(name=f"life-{life}") as host:
            people = people or await company(troubled, "!die")
            assert await host.ended() == 3, host.log()
    async with troubled.host() as host:
        for person in people:
            await person.hears(hello())
        assert await host.stop() == 0
    assert people[0].heard == [words.POISON(), hello()]
    assert [person.heard for person in people[1:]] == [[hello()]] * (len(people) - 1)


async def company(house: House, text: str) -> list[Person]:
    """Some people, all of whom say hello, the first behind something else."""
    people = [Person(house, f"p{number}") for number in range(4)]
    for person in people:
        await person.enter()
    people[0].say(text)
    for person in people:
        person.say("hello")
    return people


async def test_a_plugin_that_leaves_takes_nobody_with_it(troubled: House) -> None:
    """`sys.exit` in a task of a plugin's own ends the host as a bug does, not as a stop, and costs no message."""
    async with troubled.host() as host:
        people = await company(troubled, "!leave")
        assert await host.ended() == os.EX_SOFTWARE, host.log()
    assert "a plugin called sys.exit" in host.log()
    async with troubled.host() as host:
        for person in people:
            await person.hears(hello())
        assert await host.stop() == 0
    assert people[0].heard == [words.GENERAL(), hello()]
    assert [person.heard for person in people[1:]] == [[hello()]] * (len(people) - 1)
