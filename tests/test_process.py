"""The host as a program: its READY line, its signals, its exit codes, what it logs and what it exports."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proof.house import House, Person, counted
from proof.processes import BOT, HOST, PASSWORD, Agent, Program, reference_agent, write_config
from surfaces_supervisor.program import parser
from surfaces_testing.homeserver import FakeHomeserver, Html

pytestmark = pytest.mark.slow
MARKER = "xylophone"
"""Said by people, and nowhere else."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agent]:
    """One agent that speaks slowly enough to be interrupted."""
    async with reference_agent(tmp_path_factory.mktemp("agents"), "--words-per-second", "100") as agent:
        yield agent


@pytest_asyncio.fixture(loop_scope="function")
async def house(agent: Agent, tmp_path: Path) -> AsyncIterator[House]:
    """A homeserver and a config."""
    async with FakeHomeserver() as homeserver:
        yield House(homeserver, agent, tmp_path)


# Start ----------------------------------------------------------------------------------------------


async def test_ready_is_said_once_after_the_first_sync(house: House) -> None:
    """One line with facts, when the rooms are reconciled and a sync went well; nothing else is printed."""
    house.hs.fault("sync", Html())
    async with house.host() as host:
        facts = await host.ready()
        assert facts.keys() >= {"version", "pid", "surfaces", "seconds"}
        assert (facts["pid"], facts["surfaces"]) == (host.pid, ["matrix"])
        assert "surface.reconciled" in host.log()
        assert any(request.status == 200 for request in house.hs.record.of("sync"))
        host.signal(signal.SIGTERM)
        assert await host.rest() == ""
        assert await host.ended() == 0


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
async def test_systemd_is_told(house: House, abstract: bool) -> None:
    """Where `NOTIFY_SOCKET` names a socket it gets `READY=1`."""
    name = f"{'@' if abstract else ''}{house.folder}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("\0" + name[1:] if abstract else name)
        notify.setblocking(False)
        async with house.host(NOTIFY_SOCKET=name) as host:
            await host.ready()
            async with asyncio.timeout(30):
                assert await asyncio.get_running_loop().sock_recv(notify, 100) == b"READY=1"


async def test_systemd_hears_that_it_lives_and_that_it_stops(house: House) -> None:
    """Where a watchdog is wanted it hears of the event loop again and again, and in the end of the stop."""
    name = f"{house.folder}/notify"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(name)
        notify.setblocking(False)
        async with asyncio.timeout(60), house.host(NOTIFY_SOCKET=name, WATCHDOG_USEC="200000") as host:
            heard: list[bytes] = []
            while heard[-3:] != [b"WATCHDOG=1"] * 3 or b"READY=1" not in heard or b"STATUS=Ready" not in heard:
                heard.append(await loop.sock_recv(notify, 100))
            host.signal(signal.SIGTERM)
            while heard[-1] != b"STOPPING=1":
                heard.append(await loop.sock_recv(notify, 100))
            assert await host.ended() == 0


def test_the_unit_for_systemd_fits_the_program() -> None:
    """Its command is one that the program knows, and it starts anew for every end that a start may mend."""
    lines = (Path(__file__).parents[1] / "deploy/surfaces.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    program, *arguments = unit["ExecStart"].split()
    assert program.endswith("/surfaces")
    assert arguments[0] == "supervise"
    assert str(parser().parse_args(arguments[1:]).config) == "/etc/surfaces/surfaces.yaml"
    assert unit["Type"] == "notify"
    assert set(map(int, unit["RestartPreventExitStatus"].split())) == {
        os.EX_USAGE,
        os.EX_DATAERR,
        os.EX_NOPERM,
        os.EX_CONFIG,
    }


# Signals --------------------------------------------------------------------------------------------


async def test_sigterm_lets_a_running_turn_finish(house: House) -> None:
    """Within the grace the answer that is being written is said to its end; then the exit code is 0."""
    async with house.host() as host:
        person = Person(house)
        await person.enter()
        person.say("count to 60")
        await person.hears_part_of("1 2")
        assert await host.stop() == 0
        assert person.heard == [counted(60)]


@pytest.mark.parametrize("policy", ["retry", "notify"])
async def test_a_turn_beyond_the_grace_is_made_good(house: House, policy: str) -> None:
    """Without grace the turn is cut and the exit code is 0 all the same; the next life does as `on_interrupt` says."""
    house.configure(host={"shutdown_grace_s": 0, "on_interrupt": policy})
    async with house.host(name="first") as host:
        person = Person(house)
        await person.enter()
        person.say("count to 150")
        await person.hears_part_of("1 2")
        assert await host.stop() == 0
    async with house.host(name="second") as host:
        answer = counted(150) if policy == "retry" else "I was interrupted while answering this. Please ask again."
        await person.hears(answer)
        assert await host.stop() == 0
    assert person.heard == [answer]


async def test_a_second_sigterm_cancels_at_once(house: House) -> None:
    """Nobody has to wait for the grace, and what was cut is made good by the next life."""
    house.configure(host={"shutdown_grace_s": 600})
    async with house.host(name="first") as host:
        person = Person(house)
        await person.enter()
        person.say("count to 500")
        await person.hears_part_of("1 2")
        host.signal(signal.SIGTERM)
        await host.logged("host.stopping")
        host.signal(signal.SIGTERM)
        assert await host.ended() == 130
        assert person.heard[-1].endswith("…"), "the turn was to be cut"
        assert "Traceback" not in host.log()
    async with house.host(name="second"):
        await person.hears(counted(500))
    assert len(person.heard) == 1


def test_sigterm_while_it_is_loaded() -> None:
    """The end is clean before anything of the host is there, for the first process of a container too."""
    slow = "import os, signal\ndef dispatch(options):\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()"
    name = "surfaces_core._program.commands"
    code = f"import sys, types; from surfaces_core import cli; m = types.ModuleType({name!r}); exec({slow!r}, vars(m))"
    program = (sys.executable, "-c", f"{code}; sys.modules[{name!r}] = m; cli.main(['run'])")
    assert subprocess.run(program, check=False, timeout=30).returncode == 0


async def test_sigterm_ends_a_host_that_waits_for_its_homeserver(house: House) -> None:
    """A homeserver that is away does not hold the host up when it is asked to end."""
    await house.hs.refuse()
    async with house.host() as host:
        await host.logged("surface.down")
        assert await host.stop() == 0


# Exit codes -----------------------------------------------------------------------------------------


async def test_a_second_process_is_refused(house: House) -> None:
    """The second process on one state ends with 75, names the holder and has not logged in."""
    async with house.host() as host:
        await host.ready()
        before = len(house.hs.record.of("login"))
        line = await house.refused(os.EX_TEMPFAIL)
        assert re.search(rf"\b{host.pid}\b", line)
        assert len(house.hs.record.of("login")) == before
        assert await host.stop() == 0


async def test_a_wrong_password_is_a_config_error(house: House) -> None:
    """78, naming the setting and not the password."""
    house.hs.register(BOT, "another")
    line = await house.refused(os.EX_CONFIG)
    assert "surfaces.matrix.password" in line
    assert PASSWORD not in line


async def test_a_revoked_token_ends_a_running_host(house: House) -> None:
    """An access token that is revoked while the host runs is 78; there is nothing to wait for."""
    user = house.hs.world.user(BOT)
    token = house.hs.world.log_in(user, "DEVICE").token
    house.configure()
    written = json.loads(house.config.read_text())
    del written["surfaces"]["matrix"]["password"]
    written["surfaces"]["matrix"]["access_token"] = token
    house.config.write_text(json.dumps(written))
    async with house.host() as host:
        await host.ready()
        house.hs.revoke(BOT)
        assert await host.ended() == os.EX_CONFIG, host.log()
        assert "surfaces.matrix.access_token" in host.log()
        assert token not in host.log()
    assert "surfaces.matrix.access_token" in await house.refused(os.EX_CONFIG)


async def test_a_revoked_login_is_renewed(house: House) -> None:
    """With a password the host logs in again and lives."""
    async with house.host() as host:
        await host.ready()
        house.hs.revoke(BOT)
        await house.hs.until(lambda: len(house.hs.record.of("login")) == 2, timeout=30)
        person = Person(house)
        await person.enter()
        assert await host.stop() == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hooks_": ["context"]}, "hooks_: unknown key, did you mean hooks?"),
        (
            {"surfaces": {"matrix": {"homserver": "http://hs.test", "access_token": "x"}}},
            "surfaces.matrix.homserver: unknown key, did you mean",
        ),
        ({"storage": {"use": "sqlight", "path": "x"}}, "sqlight"),
        ({"agents": [{"id": "a", "transport": "nobody"}]}, "nobody"),
    ],
    ids=["key", "driver key", "driver", "transport"],
)
async def test_a_config_error_is_one_line(house: House, change: dict[str, Any], said: str) -> None:
    """78, with what is wrong and where, before anything is opened."""
    house.config.write_text(json.dumps({**json.loads(house.config.read_text()), **change}))
    assert said in await house.refused(os.EX_CONFIG)
    assert not house.database.exists()
    assert house.hs.requests == []


async def test_one_account_under_two_names_is_refused(house: House) -> None:
    """78, naming both places: each of the two would answer everything."""
    matrix = json.loads(house.config.read_text())["surfaces"]["matrix"]
    house.configure(surfaces={"work": {**matrix, "use": "matrix", "device_id": "ANOTHER"}})
    said = f"surfaces.work: speaks for {BOT}, as surfaces.matrix does"
    assert said in await house.refused(os.EX_CONFIG)
    async with house.host("check", name="check") as check:
        assert await check.ended() == os.EX_CONFIG
        assert said in check.log()


async def test_a_config_that_is_not_there_is_a_config_error(house: House) -> None:
    """78, naming the file."""
    house.config.unlink()
    assert "surfaces.yaml" in await house.refused(os.EX_CONFIG)


async def test_what_is_no_database_is_data_that_cannot_be_read(house: House) -> None:
    """65, and the file stays as it was."""
    house.database.parent.mkdir()
    house.database.write_bytes(b"no database " * 1000)
    assert str(house.database) in await house.refused(os.EX_DATAERR)
    assert house.database.read_bytes() == b"no database " * 1000


@pytest.mark.parametrize(
    "change",
    ["PRAGMA user_version = 99", "UPDATE kv SET value = x'3939' WHERE key = ?"],
    ids=["schema", "layout"],
)
async def test_state_of_a_newer_version_is_left_alone(house: House, change: str) -> None:
    """65 for a newer schema of the database and for a newer layout of the journal."""
    async with house.host() as host:
        await host.ready()
        assert await host.stop() == 0
    database = sqlite3.connect(house.database)
    database.execute(change, (b"meta\0layout",) if "?" in change else ())
    database.commit()
    database.close()
    assert "version" in await house.refused(os.EX_DATAERR)


async def test_a_state_folder_without_rights_is_refused(house: House) -> None:
    """77, naming the file."""
    house.database.parent.mkdir(mode=0o500)
    assert str(house.database) in await house.refused(os.EX_NOPERM)


@pytest.mark.parametrize(
    "arguments",
    [
        *[(), ("walk",), ("run", "--fast"), ("plugins",), ("plugins", "show"), ("dead",), ("dead", "show", "x")],
        *[("dead", "retry"), ("dead", "drop", "3", "--all"), ("dead", "drop", "3", "--conversation", "x")],
    ],
    ids=lambda words: " ".join(words) or "none",
)
async def test_wrong_usage(tmp_path: Path, arguments: Sequence[str]) -> None:
    """64 and one line that leads to the help."""
    async with Program((*HOST, *arguments), log=tmp_path / "log") as program:
        assert await program.ended() == os.EX_USAGE
        assert len(program.log().splitlines()) == 1
        assert "--help" in program.log()


# What comes out -------------------------------------------------------------------------------------


async def test_an_export_holds_everything_but_credentials(house: House) -> None:
    """Each stored row is one JSON line; the login's token and the password are not among them."""
    async with house.host() as host:
        person = Person(house)
        await person.enter()
        person.say("hello")
        await person.hears("You said: hello. (message 1 in this context)")
        assert await host.stop() == 0
    async with house.host("export", name="export") as export:
        printed = await export.rest()
        assert await export.ended() == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    assert all(row.keys() == {"kind", "key", "value"} for row in rows)
    assert {row["kind"] for row in rows} >= {"conv", "cursor", "meta", "number", "plug", "seen", "stat"}
    database = sqlite3.connect(house.database)
    assert len(rows) == database.execute("SELECT count(*) FROM kv").fetchone()[0]
    database.close()
    (token,) = (device.token for device in house.hs.world.devices.values() if device.user_id == BOT)
    assert token.encode() in b"".join(path.read_bytes() for path in house.database.parent.iterdir()), "kept nowhere"
    assert token not in printed
    assert PASSWORD not in printed


async def test_logs_hold_no_text_and_no_secrets(house: House) -> None:
    """With everything logged, nothing that people or agents say and no credential is in it, faults included."""
    house.hs.fault("send", Html(), times=2)
    async with house.host("run", "--debug") as host:
        person = Person(house)
        await person.enter()
        person.say(f"my {MARKER} is out of tune")
        await person.hears(f"You said: my {MARKER} is out of tune. (message 1 in this context)")
        person.send_file(f"{MARKER}.txt", MARKER.encode())
        await person.hears(f"Got `{MARKER}.txt`. 1 waiting for your next message.")
        person.say(f"make a file about the {MARKER}")
        await person.hears("A note")
        person.say(f"!rename {MARKER}")
        await person.hears(f"This conversation is now called **{MARKER}**.")
        person.say(f"!{MARKER}")
        await person.hears(f"I don't know `!{MARKER}`. `!help` lists what there is.")
        assert await host.stop() == 0
    tokens = [device.token for device in house.hs.world.devices.values()]
    for secret in (MARKER, PASSWORD, *tokens):
        assert [line for line in host.log().splitlines() if secret in line] == []
    by_turn: dict[str, list[str]] = {}
    for line in map(json.loads, host.log().splitlines()):
        by_turn.setdefault(line.get("turn_id", ""), []).append(line["event"])
    for shown in house.hs.shown(person.room):
        if shown.sender == BOT and shown.turn:
            assert {"turn.accepted", "turn.ended", "part.shown"} <= set(by_turn[shown.turn]), by_turn
    assert {"turn.accepted", "turn.ended", "part.shown", "part.postponed"} & set(by_turn[""]) == set()


COMMANDS = [
    *[(), ("run",), ("plugins",), ("plugins", "list"), ("plugins", "show"), ("check",), ("queue",), ("export",)],
    *[("dead",), ("dead", "list"), ("dead", "show"), ("dead", "retry"), ("dead", "drop"), ("version",)],
    *[("init",), ("agents", "move"), ("backup",), ("restore",), ("reset",), ("storage", "copy"), ("status",)],
    *[("chat",), ("demo",), ("matrix",), ("matrix", "doctor")],
]
HEAVY = {"pydantic", "aiohttp", "yaml", "structlog", "pluggy", "stevedore"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "none")
def test_help_imports_nothing_heavy(command: Sequence[str]) -> None:
    """`--help` loads nothing but the command line itself."""
    program = (sys.executable, "-X", "importtime", "-m", "surfaces_core.cli", *command, "--help")
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage:")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert imported & HEAVY == set()


# A long queue ---------------------------------------------------------------------------------------

PEOPLE = [f"person{number}" for number in range(4)]
EACH = 250


async def test_a_thousand_waiting_messages_survive_a_kill(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The host dies with a thousand messages in its inbox; the next life answers each once and in order."""
    async with reference_agent(tmp_path_factory.mktemp("fast")) as fast:
        house.config = write_config(
            house.folder,
            house.hs.url,
            fast,
            host={"max_lane_depth": 2 * EACH, "log_level": "info"},
            surfaces={"matrix": _flooded(house)},
        )
        people = [Person(house, name) for name in PEOPLE]
        async with house.host(name="first") as host:
            async with asyncio.TaskGroup() as group:
                for person in people:
                    group.create_task(person.enter())
            assert await host.stop() == 0
        for number in range(1, EACH + 1):
            for person in people:
                person.say(f"m{number}")
        async with house.host(name="killed", SURFACES_KILL_AT="accept.after:1") as host:
            assert await host.ended() == -signal.SIGKILL
        assert _waiting(house) == len(people) * EACH
        started = time.perf_counter()
        expected = [f"You said: m{number}. (message {number} in this context)" for number in range(1, EACH + 1)]
        async with house.host(name="third") as host:
            await house.hs.until(lambda: all(person.heard[-1:] == expected[-1:] for person in people), 300)
            sys.stdout.write(f"\n{len(people) * EACH} answers in {time.perf_counter() - started:.1f} s\n")
            assert await host.stop() == 0
        for person in people:
            assert person.heard == expected


def _flooded(house: House) -> dict[str, Any]:
    section: dict[str, Any] = json.loads(house.config.read_text())["surfaces"]["matrix"]
    return {**section, "catch_up_max_messages": 2 * EACH, "streaming": False}


def _waiting(house: House) -> int:
    database = sqlite3.connect(house.database)
    (count,) = database.execute("SELECT count(*) FROM kv WHERE key >= ? AND key < ?", (b"in\0", b"in\1")).fetchone()
    database.close()
    return int(count)
