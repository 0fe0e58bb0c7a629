"""`surfaces check`: every problem in one pass, and whether everything that the config names can be reached."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proof.processes import BOT, PASSWORD, Agent, write_config
from surfaces_testing.agent import FakeAgent
from surfaces_testing.homeserver import FakeHomeserver

SURFACES = str(Path(sys.executable).with_name("surfaces"))


@dataclass(frozen=True)
class Done:
    """What the program said."""

    code: int
    out: str
    err: str

    @property
    def looks(self) -> dict[str, dict[str, Any]]:
        """What was looked at, by name and what."""
        return {f"{look['name']} {look['what']}": look for look in json.loads(self.out)["looks"]}


class Site:
    """A config, a homeserver and two agents."""

    def __init__(self, folder: Path, homeserver: FakeHomeserver, agents: list[FakeAgent]) -> None:
        self.folder, self.homeserver, self.agents = folder, homeserver, agents
        self.environment = {"MATRIX_PASSWORD": PASSWORD}
        volume = folder / "agents"
        volume.mkdir()
        homeserver.register(BOT, PASSWORD)
        nobody = Agent(base_url="http://127.0.0.1:1/", volume=volume, workspace=volume)
        self.config = write_config(folder, homeserver.url, nobody, transports={"agent_api": {"status_timeout_s": 0.5}})
        entries = [
            {"id": f"agent-{number}", "base_url": agent.base_url, "workspace_path": str(number)}
            for number, agent in enumerate(agents)
        ]
        self.change(agents=entries)

    def change(self, **sections: Any) -> None:
        """Write the config anew with other sections."""
        self.config.write_text(json.dumps({**json.loads(self.config.read_text()), **sections}))

    async def check(self, *arguments: str) -> Done:
        """Run the program."""
        process = await asyncio.create_subprocess_exec(
            SURFACES,
            *("check", "-c", str(self.config), *arguments),
            env=self.environment,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Everything is well."""
    async with FakeHomeserver() as homeserver, FakeAgent() as first, FakeAgent() as second:
        yield Site(tmp_path, homeserver, [first, second])


async def test_all_is_well(site: Site) -> None:
    """Storage, volume, homeserver, clock, login and every agent are looked at, and no device is left behind."""
    done = await site.check("--agents", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["ok"]
    assert {look["level"] for look in done.looks.values()} == {"well"}
    assert {
        "sqlite space",
        "files space",
        "files agent-0",
        "matrix homeserver",
        "matrix clock",
        "matrix login",
        "agent-0 answer",
        "agent-1 answer",
    } <= set(done.looks)
    assert site.homeserver.world.devices == {}
    assert not (site.folder / "state").exists()


async def test_a_silent_agent_fails_the_check(site: Site) -> None:
    """The one that never greets is named with its code; the other one is well; the exit code is 69."""
    site.agents[1].faults.always("no-status")
    done = await site.check("--agents", "--json")
    assert done.code == 69
    assert done.looks["agent-0 answer"]["level"] == "well"
    assert (done.looks["agent-1 answer"]["level"], done.looks["agent-1 answer"]["code"]) == ("wrong", "AGENT_NO_STATUS")
    assert (await site.check("--agent", "agent-0", "--json")).code == 0
    table = await site.check("--agents")
    assert table.code == 69
    assert "AGENT_NO_STATUS" in next(line for line in table.out.splitlines() if "agent agent-1" in line)


async def test_a_slow_agent_ends_with_the_time_out(site: Site) -> None:
    """What an operator allows is all that an agent gets."""
    site.change(transports={"agent_api": {"status_timeout_s": 60}})
    site.agents[0].faults.always("no-status")
    done = await site.check("--agent", "agent-0", "--timeout", "0.2", "--json")
    assert (done.code, done.looks["agent-0 answer"]["code"]) == (69, "CHECK_TIMEOUT")


async def test_a_whole_turn_in_a_context_of_its_own(site: Site) -> None:
    """With a message each agent is asked in a context that counts up from the base."""
    done = await site.check("--agents", "--message", "ping", "--context-base", "41", "--concurrency", "1", "--json")
    assert done.code == 0
    assert "answered" in done.looks["agent-1 answer"]["said"]
    assert [question.context for agent in site.agents for question in agent.record.questions()] == ["41", "42"]


async def test_without_a_network_nobody_is_asked(site: Site) -> None:
    """Offline, the homeserver hears nothing."""
    done = await site.check("--offline")
    assert done.code == 0
    assert not site.homeserver.record.requests
    assert not site.agents[0].record.connections


async def test_without_a_network_no_server_of_a_state_is_asked(site: Site) -> None:
    """Offline, a storage on a server is not looked at: nobody listens there, and that is no error."""
    site.change(storage={"use": "redis", "url": "redis://127.0.0.1:1"})
    assert (await site.check("--offline")).code == 0
    done = await site.check("--json")
    assert (done.code, done.looks["redis server"]["level"]) == (69, "wrong")


async def test_a_wrong_password_and_a_missing_volume(site: Site) -> None:
    """Both are said in one pass, each in one line with what to do."""
    site.environment["MATRIX_PASSWORD"] = "mistyped"
    (site.folder / "agents").rmdir()
    done = await site.check()
    assert done.code == 69
    lines = [line for line in done.out.splitlines() if line.startswith("ERROR")]
    assert len(lines) == 2
    assert "create it or mount the volume" in lines[0]
    assert "refused the login" in lines[1]
    assert "mistyped" not in done.out


async def test_no_homeserver_there(site: Site) -> None:
    """An address where nobody listens is one line."""
    site.change(surfaces={"matrix": {"homeserver": "https://127.0.0.1:1", "user_id": BOT, "password": "x"}})
    done = await site.check("--json")
    assert (done.code, done.looks["matrix homeserver"]["level"]) == (69, "wrong")
    assert done.looks["matrix homeserver"]["said"].endswith("https was tried: where it speaks no TLS, write http")


async def test_what_others_could_read_is_said(site: Site) -> None:
    """An open door, an open file and a talkative log are warnings: the check passes."""
    secrets = site.folder / ".env"
    secrets.write_text("MATRIX_PASSWORD=x\n")
    secrets.chmod(0o644)
    site.change(ops={"listen": "0.0.0.0:0"}, host={"log_content": True})
    site.environment["SURFACES_DEBUG_WS"] = "1"
    done = await site.check("--offline", "--json")
    assert done.code == 0
    assert [name for name, look in done.looks.items() if look["level"] == "doubtful"] == [
        "host ops.listen",
        "host secrets",
        "host log",
        "host log_content",
    ]


async def test_what_will_not_do_what_was_meant_is_said(site: Site) -> None:
    """A missing folder beside one that no agent has, an address that somebody else has, and a person of no surface."""
    (site.folder / "agents" / "zero").mkdir()
    (site.folder / "agents" / "1").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        site.change(ops={"listen": listen}, user_agents={"ann": "agent-0", "@bob:hs.test": "agent-1"})
        done = await site.check("--offline", "--json")
    assert {name: look["said"] for name, look in done.looks.items() if look["level"] == "doubtful"} == {
        "host user_agents": "ann can be nobody (matrix: people are @name:server there)",
        "files agent-0": f"{site.folder}/agents/0: is not there; it is made with the first file, or is misspelt: "
        "no agent has zero",
    }
    taken = f"{listen} is taken, and not by a host on this state; stop who has it, or name a free one"
    assert (done.code, done.looks["host ops.listen"]["said"]) == (69, taken)


async def test_the_address_of_our_own_host_is_no_fault(site: Site) -> None:
    """Where a host keeps the door of this state, it is taken to have its addresses, too."""
    door = site.folder / "state" / "surfaces.db.sock"
    door.parent.mkdir(mode=0o700)
    with socket.create_server(("127.0.0.1", 0)) as own, socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(door))
        kept.listen()
        site.change(ops={"listen": f"127.0.0.1:{own.getsockname()[1]}"})
        done = await site.check("--offline", "--json")
    assert "host ops.listen" not in done.looks


async def test_every_problem_of_a_config_at_once(site: Site) -> None:
    """Slips in several sections, in several keys of one, and what the environment lacks come in one pass."""
    del site.environment["MATRIX_PASSWORD"]
    site.config.write_text(
        """\
storage: {use: sqlite, pth: x, path: y, busy: 1}
files: {use: volume, root: /agents, max_file_bytes: none}
surfaces:
  matrix: {homserver: "https://example.org", user_id: nobody, password: {env: MATRIX_PASSWORD}}
transports: {agent_api: {}}
hooks: [context, contxt]
agents:
  - {id: one, base_url: "http://127.0.0.1:1"}
  - {id: two, base_ur: "http://127.0.0.1:1"}
host: {locale: fr}
hsot: {}
"""
    )
    done = await site.check()
    assert done.code == 78
    found = [line.removeprefix("surfaces: CONFIG: ") for line in done.err.splitlines()]
    for start, line in [
        ("hsot: unknown key, did you mean host?", 11),
        ("surfaces.matrix.password: the environment has no MATRIX_PASSWORD", 4),
        ("storage.pth: unknown key, did you mean path?", 1),
        ("storage.busy: unknown key", 1),
        ("files.max_file_bytes: ", 2),
        ("surfaces.matrix.homserver: unknown key, did you mean homeserver?", 4),
        ("surfaces.matrix.user_id: ", 4),
        ("hooks[1]: no installed plugin offers surfaces.hooks:contxt", 6),
        ("agents[1].base_ur: unknown key, did you mean base_url?", 9),
        ("host.locale: ", 10),
    ]:
        matching = [text for text in found if text.startswith(start)]
        assert len(matching) == 1, (start, found)
        assert f":{line})" in matching[0]
    assert len(found) == 10, found


async def test_an_agent_that_is_not_there(site: Site) -> None:
    """A wrong id is one line that names the right ones."""
    done = await site.check("--agent", "agent-7")
    assert (done.code, done.err) == (78, "surfaces: CONFIG: no agent has the id agent-7; there are: agent-0, agent-1\n")
