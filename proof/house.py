"""Owns a place for one host to live in: its homeserver, config and state, and people who talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proof.nursery import Nursery
from proof.processes import BOT, HOST, PASSWORD, Agent, Program, write_config
from surfaces_testing.homeserver import FakeHomeserver


class House:
    """A homeserver with the bot's account, and the host's config and state in a folder."""

    def __init__(self, homeserver: FakeHomeserver, agent: Agent, folder: Path, nursery: Nursery | None = None) -> None:
        self.hs = homeserver
        self.folder = folder
        self.database = folder / "state" / "surfaces.db"
        self._agent = agent
        self._nursery = nursery
        homeserver.register(BOT, PASSWORD)
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the config anew."""
        self.config = write_config(self.folder, self.hs.url, self._agent, **changes)

    def host(self, command: str = "run", *options: str, name: str = "host", **env: str) -> Program:
        """The host, or another command of the program, not started yet."""
        return self.program(*options, command, log=self.folder / f"{name}.log", env=env)

    def program(self, *words: str, log: Path, env: Mapping[str, str] | None = None) -> Program:
        """The program with any command, not started yet."""
        return Program((*HOST, *words, "-c", str(self.config)), log=log, env=env, nursery=self._nursery)

    async def refused(self, code: int) -> str:
        """What a host says that ends with an exit code before it is ready: one line."""
        async with self.host(name="refused") as host:
            assert await host.rest() == ""
            assert await host.ended() == code, host.log()
        lines = [line for line in host.log().splitlines() if not line.startswith("{")]
        assert len(lines) == 1, lines
        return lines[0]


class Person:
    """Somebody with one conversation."""

    def __init__(self, house: House, name: str = "ann") -> None:
        self._hs = house.hs
        self._client = house.hs.person(f"@{name}:hs.test")
        self._client.create_dm(BOT)
        self.room = ""

    async def enter(self) -> None:
        """Join the conversation that the bot makes."""
        me = self._client.user_id

        def invited() -> list[str]:
            bindings = {room: self._hs.state(room).get(("io.surfaces.binding", ""), {}) for room in self._hs.rooms}
            return [r for r, b in bindings.items() if b.get("owner") == me and self._hs.members(r).get(me) == "invite"]

        await self._hs.until(invited, timeout=30)
        (self.room,) = invited()
        self._client.join(self.room)

    def say(self, text: str) -> None:
        """Say something."""
        self._client.say(self.room, text)

    def send_file(self, name: str, data: bytes) -> None:
        """Send a file."""
        self._client.send_file(self.room, name, data)

    @property
    def heard(self) -> list[str]:
        """The bot's messages as they show now, but for the greeting."""
        said = [message.body.strip() for message in self._hs.shown(self.room) if message.sender == BOT]
        return [text for text in said if not text.startswith("Hello")]

    async def hears(self, text: str, timeout_s: float = 30.0) -> None:
        """Wait until the bot's last message is that."""
        await self._hs.until(lambda: self.heard[-1:] == [text], timeout_s)

    async def hears_part_of(self, start: str) -> None:
        """Wait until a draft shows that begins so."""
        await self._hs.until(lambda: any(text.startswith(start) and text.endswith("…") for text in self.heard), 30)


def counted(number: int) -> str:
    """The agent's whole answer to `count to`."""
    return " ".join(map(str, range(1, number + 1)))
