"""A real host, a homeserver in memory, agents that misbehave, and people who each talk to one of them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from proof.processes import BOT, HOST, PASSWORD, Agent, Program, write_config
from surfaces_testing.homeserver import FakeHomeserver

IMPATIENT = {"connect_timeout_s": 1, "status_timeout_s": 1, "idle_timeout_s": 1, "turn_timeout_s": 60}
WAITING = "This takes longer than usual"


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Who talks to which agent."""

    person: str
    agent: str


class House:
    """Everything but the host itself, which may live several times."""

    def __init__(
        self,
        homeserver: FakeHomeserver,
        folder: Path,
        agents: Mapping[str, str],
        seats: Sequence[Seat],
        *,
        takes_ids: Sequence[str] = (),
        transport: Mapping[str, Any] | None = None,
        **host: Any,
    ) -> None:
        self.hs = homeserver
        self.folder = folder
        self.volume = folder / "agents"
        self.port = _free_port()
        homeserver.register(BOT, PASSWORD)
        for agent in agents:
            (self.volume / agent).mkdir(parents=True)
        self._config = write_config(
            folder,
            homeserver.url,
            Agent(base_url="http://127.0.0.1:1/", volume=self.volume, workspace=self.volume),
            host={"on_interrupt": "auto", **host},
            transports={"agent_api": {**IMPATIENT, **(transport or {})}},
            ops={"listen": f"127.0.0.1:{self.port}"},
        )
        config = json.loads(self._config.read_text())
        config["agents"] = [
            {"id": agent, "base_url": url, "workspace_path": agent, "send_message_id": agent in takes_ids}
            for agent, url in agents.items()
        ]
        config["user_agents"] = {f"@{seat.person}:hs.test": seat.agent for seat in seats}
        self._config.write_text(json.dumps(config))
        self.people = {seat.person: Person(homeserver, seat.person) for seat in seats}

    def host(self, name: str = "host") -> Program:
        """One life of the host, not started yet."""
        return Program((*HOST, "run", "-c", str(self._config)), log=self.folder / f"{name}.log")

    async def enter(self) -> None:
        """Let everybody in, each into a conversation of their own."""
        async with asyncio.TaskGroup() as group:
            for person in self.people.values():
                group.create_task(person.enter())


class Person:
    """Somebody with one conversation."""

    def __init__(self, homeserver: FakeHomeserver, name: str) -> None:
        self.hs = homeserver
        self.name = name
        self._client = homeserver.person(f"@{name}:hs.test")
        self.room = ""
        self.context = ""
        """The agent's name for the conversation."""

    async def enter(self) -> None:
        """Join the conversation that the bot makes."""
        self._client.create_dm(BOT)
        await self.hs.until(self._invited, timeout=60)
        (self.room,) = self._invited()
        self._client.join(self.room)
        self.context = str(self.hs.state(self.room)["io.surfaces.binding", ""]["context_id"])

    def _invited(self) -> list[str]:
        me = self._client.user_id
        bindings = {room: self.hs.state(room).get(("io.surfaces.binding", ""), {}) for room in self.hs.rooms}
        return [r for r, b in bindings.items() if b.get("owner") == me and self.hs.members(r).get(me) == "invite"]

    def say(self, text: str) -> None:
        """Say something."""
        self._client.say(self.room, text)

    @property
    def heard(self) -> list[str]:
        """The bot's messages as they show now, but for the greeting and for what is only a draft."""
        return [text for text in self.shown if not text.endswith("…") and WAITING not in text]

    @property
    def shown(self) -> list[str]:
        """The bot's messages as they show now, but for the greeting."""
        said = [message.body.strip() for message in self.hs.shown(self.room) if message.sender == BOT]
        return [text for text in said if not text.startswith("Hello")]

    async def hears(self, count: int, timeout_s: float = 60.0) -> list[str]:
        """Wait until there are so many messages; all of them."""
        try:
            await self.hs.until(lambda: len(self.heard) >= count, timeout_s)
        except TimeoutError:
            raise AssertionError(f"{self.name} waits for message {count}, and sees {self.shown}") from None
        return self.heard

    async def asks(self, text: str, timeout_s: float = 60.0) -> str:
        """Say something and wait for one answer."""
        before = len(self.heard)
        self.say(text)
        return (await self.hears(before + 1, timeout_s))[-1]


@dataclass
class Pulse:
    """Looks at a host from outside while it works: what it needs for an answer to `/livez`, and its memory.

    The need is counted in processor time of the host's loop, not on the wall: how busy the machine is doesn't matter.
    """

    pid: int
    port: int
    busiest_s: float = 0.0
    """The most that the loop did between a request and its answer."""
    slowest_s: float = 0.0
    """The longest by the wall."""
    answers: int = 0
    most_bytes: int = 0
    first_bytes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    async def __aenter__(self) -> Self:
        self.first_bytes = self.most_bytes = self._memory()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        await asyncio.to_thread(self._thread.join)

    @property
    def grown_mb(self) -> float:
        """The most memory that was used, beyond that of the beginning."""
        return (self.most_bytes - self.first_bytes) / (1 << 20)

    def _look(self) -> None:
        """Ask on a connection that the host took before, so that what is measured is little more than one stall."""
        known = self._connect()
        while not self._over.wait(0.02):
            try:
                fresh = self._connect()
                wall, busy = time.monotonic(), self._worked()
                known.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 200 " in known.recv(1000)
                self.busiest_s = max(self.busiest_s, self._worked() - busy)
                self.slowest_s = max(self.slowest_s, time.monotonic() - wall)
                self.most_bytes = max(self.most_bytes, self._memory())
            except OSError:  # the host has ended
                break
            known.close()
            known = fresh
            self.answers += 1
        known.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def _worked(self) -> float:
        """Seconds that the loop's thread has run; it is the first of its process."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def _memory(self) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
