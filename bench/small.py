"""`python -m bench.small`: what host, homeserver and agent take of a small machine's memory, with real Synapse.

The bot shares its rooms with as many people as there are for five rooms each. For each number of rooms everything is
started anew, and measured when it has come to rest, after a burst (one message in each of a hundred rooms at one
instant) and a while later. `--encrypted` makes the rooms encrypted; nobody talks there then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml

from surfaces_demo.children import Child, free_port
from surfaces_demo.synapse import Account, Synapse

ROOMS = (1, 100, 1000)
ROOMS_EACH = 5
BURST = 100
REST_S = 8.0
"""How long a process is left alone before it counts as at rest."""
AFTER_S = 45.0
START_S = 300.0
ENCRYPTED = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
SETTINGS = Path(__file__).parents[1] / "deploy/synapse.yaml"
"""What a small machine lays over Synapse's own config."""
THRIFTY = {"MALLOC_ARENA_MAX": "1"}
"""What the units put into the environment."""


class Tuned(Synapse):
    """Synapse with some settings of a small machine."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        super().__init__(folder)
        self._settings = dict(settings)

    def _config(self, log_config: Path) -> dict[str, object]:
        config = super()._config(log_config)
        limits = {name: value for name, value in config.items() if name.startswith("rc_")}
        return {**config, **self._settings, **limits}  # it must not wait for them while the rooms are made

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None
        return self._child.pid


@dataclass(kw_only=True)
class Client:
    """One person's requests."""

    http: aiohttp.ClientSession
    url: str
    account: Account
    token: str = ""

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the homeserver answers. Raises `RuntimeError` where it refuses."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        address = f"{self.url}/_matrix/client/v3{path}"
        async with self.http.request(method, address, json=body or {}, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {answer}")
        return answer

    async def log_in(self) -> None:
        """Get a token."""
        user = {"type": "m.id.user", "user": self.account.user_id}
        login = {"type": "m.login.password", "identifier": user, "password": self.account.password}
        self.token = (await self.call("POST", "/login", login))["access_token"]


@dataclass(kw_only=True)
class Town:
    """A homeserver on which a bot shares rooms with people."""

    synapse: Tuned
    http: aiohttp.ClientSession
    encrypted: bool
    bot: Client
    people: list[Client] = field(default_factory=list)
    rooms: list[tuple[str, Client]] = field(default_factory=list)

    async def grow(self, count: int) -> None:
        """More rooms, until there are so many: each a conversation that the bot made, and its person in it."""
        while len(self.rooms) < count:
            number = len(self.rooms)
            if number % ROOMS_EACH == 0:
                self.people.append(await self._person(f"person{number // ROOMS_EACH}"))
            self.rooms.append((await self._room(number + 1, self.people[-1]), self.people[-1]))

    async def _person(self, name: str) -> Client:
        person = Client(http=self.http, url=self.synapse.url, account=await self.synapse.register(name))
        await person.log_in()
        return person

    async def _room(self, number: int, person: Client) -> str:
        binding = {
            "version": 1,
            "conversation": f"C{number}",
            "owner": person.account.user_id,
            "agent_id": "reference",
            "context_id": str(number),
            "created_ts": 0,
        }
        state = [{"type": "io.surfaces.binding", "state_key": "", "content": binding}]
        body: dict[str, object] = {
            "name": f"C{number}",
            "invite": [person.account.user_id],
            "preset": "trusted_private_chat",
        }
        body["initial_state"] = [*state, ENCRYPTED] if self.encrypted else state
        room = str((await self.bot.call("POST", "/createRoom", body))["room_id"])
        await person.call("POST", f"/join/{quote(room, safe='')}")
        return room

    async def burst(self) -> float:
        """One message in each of some rooms at one instant; seconds until every one of them was answered."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for room, person in self.rooms[:BURST]:
                group.create_task(self._talk(room, person))
        return time.monotonic() - began

    async def _talk(self, room: str, person: Client) -> None:
        path = f"/rooms/{quote(room, safe='')}"
        text = f"hello at {time.monotonic()}"
        await person.call(
            "PUT", f"{path}/send/m.room.message/{time.monotonic_ns()}", {"msgtype": "m.text", "body": text}
        )
        async with asyncio.timeout(START_S):
            while not await self._answered(person, path, text):  # noqa: ASYNC110 - this person does not sync
                await asyncio.sleep(0.5)

    async def _answered(self, person: Client, path: str, text: str) -> bool:
        chunk = (await person.call("GET", f"{path}/messages?dir=b&limit=5"))["chunk"]
        said = [event["content"].get("body", "") for event in chunk if event["sender"] == self.bot.account.user_id]
        return any(text in body for body in said)


def memory_mib(pid: int) -> dict[str, float]:
    """Resident and proportional memory of a process, as the kernel counts them, and the most it ever was."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:] + status if line.endswith("kB")}
    return {"rss": kib["Rss"] / 1024, "pss": kib["Pss"] / 1024, "peak": kib["VmHWM"] / 1024}


def _config(folder: Path) -> Path:
    path = folder / "surfaces.yaml"
    config = {
        "storage": {"use": "sqlite", "path": str(folder / "state/surfaces.db")},
        "files": {"use": "volume", "root": str(folder / "agents")},
        "surfaces": {
            "matrix": {
                "homeserver": "${MATRIX_HOMESERVER}",
                "user_id": "${MATRIX_USER_ID}",
                "password": {"env": "MATRIX_PASSWORD"},
            }
        },
        "transports": {"agent_api": {}},
        "hooks": ["context", "chats", "staging"],
        "agents": [{"id": "reference", "base_url": "${AGENT_URL}", "workspace_path": "reference"}],
        "host": {"log_level": "warning"},
        "ops": {"listen": f"127.0.0.1:{free_port()}"},
    }
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


@asynccontextmanager
async def _running(folder: Path, town: Town) -> AsyncIterator[dict[str, int]]:
    """The agent and a host with an empty state; the process ids."""
    async with AsyncExitStack() as stack:
        life = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="surfaces-small-", dir=folder)))
        workspace = life / "agents/reference"
        workspace.mkdir(parents=True)
        program = Path(sys.executable).with_name
        agent_command = [str(program("surfaces-agent")), "--port", "0", "--workspace", str(workspace)]
        agent = await Child.start("agent", agent_command, folder=life)
        stack.push_async_callback(agent.kill)
        env = {
            "AGENT_URL": str((await agent.ready())["base_url"]),
            "MATRIX_HOMESERVER": town.synapse.url,
            "MATRIX_USER_ID": town.bot.account.user_id,
            "MATRIX_PASSWORD": town.bot.account.password,
        }
        host = await Child.start(
            "host", [str(program("surfaces")), "run", "-c", str(_config(life))], folder=life, env=env
        )
        stack.push_async_callback(host.stop)
        await host.ready(START_S)
        yield {"host": host.pid, "synapse": town.synapse.pid, "agent": agent.pid}


def _measured(pids: Mapping[str, int]) -> dict[str, dict[str, float]]:
    return {name: memory_mib(pid) for name, pid in pids.items()}


async def _one(folder: Path, town: Town) -> dict[str, Any]:
    async with _running(folder, town) as pids:
        await asyncio.sleep(REST_S)
        found: dict[str, Any] = {"idle": _measured(pids)}
        if not town.encrypted:
            found["burst_s"] = round(await town.burst(), 1)
            found["burst"] = _measured(pids)
            await asyncio.sleep(AFTER_S)
            found["after"] = _measured(pids)
        return found


async def measure(folder: Path, settings: Mapping[str, object], counts: Sequence[int], *, encrypted: bool) -> None:
    """Print a line for each number of rooms and moment."""
    async with aiohttp.ClientSession() as http:
        synapse = Tuned(folder / "homeserver", settings)
        async with synapse:
            bot = Client(http=http, url=synapse.url, account=await synapse.register("bot"))
            await bot.log_in()
            town = Town(synapse=synapse, http=http, encrypted=encrypted, bot=bot)
            for count in counts:
                began = time.monotonic()
                await town.grow(count)
                sys.stderr.write(f"{count} rooms after {time.monotonic() - began:.0f} s\n")
                await synapse.stop()
                await synapse.start()  # what making the rooms took is not what running takes
                for moment, value in (await _one(folder, town)).items():
                    _say(count, moment, value)


def _say(count: int, moment: str, value: Any) -> None:
    if not isinstance(value, dict):
        sys.stdout.write(f"{count:5} rooms  {moment} {value}\n")
        return
    cells = "  ".join(
        f"{name} {m['rss']:6.1f} rss {m['pss']:6.1f} pss {m['peak']:6.1f} peak" for name, m in value.items()
    )
    rss, pss = (sum(m[kind] for m in value.values()) for kind in ("rss", "pss"))
    sys.stdout.write(f"{count:5} rooms  {moment:6} {cells}  together {rss:.1f} rss {pss:.1f} pss\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.small", description=__doc__)
    parser.add_argument("--rooms", type=int, nargs="*", default=list(ROOMS), help="how many, rising")
    parser.add_argument("--encrypted", action="store_true", help="encrypted rooms")
    parser.add_argument("--plain-synapse", action="store_true", help="Synapse as it comes, and malloc as it comes")
    options = parser.parse_args()
    if not options.plain_synapse:
        os.environ.update(THRIFTY)
    settings = {} if options.plain_synapse else yaml.safe_load(SETTINGS.read_text())
    with tempfile.TemporaryDirectory(prefix="surfaces-small-") as folder:
        asyncio.run(measure(Path(folder), settings, options.rooms, encrypted=options.encrypted))


if __name__ == "__main__":
    main()
