"""One bot on one fresh homeserver: what it says, when, and what it uses."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.bots import PROGRAMS, Bot, agent_id, person_id
from surfaces_demo.children import Child
from surfaces_testing.homeserver import Event, FakeHomeserver

BOT = "@bot:hs.test"
ROOMS_EACH = 10
"""Conversations of one person."""
START_WITHIN_S = 90.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Run:
    """A bot that is ready, in rooms that it shares with one person each."""

    def __init__(self, server: FakeHomeserver, rooms: Mapping[str, str], child: Child, start_s: float) -> None:
        self.server = server
        self.rooms = list(rooms)
        self.people = rooms
        """Room to whose it is."""
        self.start_s = start_s
        self.answers: dict[str, list[str]] = defaultdict(list)
        """Room to what the bot said there, oldest first."""
        self.answered = 0
        self.last_at = 0.0
        """When it last said something."""
        self._child = child
        server.world.watchers.append(self._watch)

    def _watch(self, event: Event) -> None:
        # A turn that takes long shows a draft, which its answer then replaces.
        replaces = event.content.get("m.relates_to", {}).get("rel_type") == "m.replace"
        if event.sender == BOT and event.type == "m.room.message" and not replaces:
            self.answers[event.room_id].append(event.content["body"])
            self.answered += 1
            self.last_at = time.perf_counter()

    def cpu_s(self) -> float:
        """Processor time that the bot has used, in the kernel too."""
        fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_mib(self, field: str = "VmHWM") -> float:
        """Resident memory: the most it ever was, or (`VmRSS`) now."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1024

    def check(self) -> None:
        """Raise if the bot has ended."""
        self._child.check()


@asynccontextmanager
async def running(bot: Bot, rooms: int) -> AsyncIterator[Run]:
    """Start a bot for a homeserver that has so many rooms for it, and wait until it is ready."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="surfaces-bench-")))
        server = await stack.enter_async_context(FakeHomeserver())
        made = furnish(server, rooms, bot.agents)
        env = {
            **bot.env,
            "STATE": str(folder),
            "MATRIX_HOMESERVER": server.url,
            "MATRIX_USER_ID": BOT,
            "MATRIX_PASSWORD": "secret",
        }
        if bot.socket:
            agent = await Child.start("agent", [sys.executable, str(PROGRAMS / "echo_agent.py")], folder=folder)
            stack.push_async_callback(agent.kill)
            env["AGENT_URL"] = f"http://127.0.0.1:{(await agent.ready())['port']}"
        begun = time.perf_counter()
        child = await Child.start("bot", bot.command, folder=folder, env=env)
        stack.push_async_callback(child.kill)
        await child.ready(START_WITHIN_S)
        yield Run(server, made, child, time.perf_counter() - begun)


def furnish(server: FakeHomeserver, count: int, agents: int) -> dict[str, str]:
    """Rooms that the bot made earlier, each a conversation of a person with one of the agents; whose each is."""
    bot, made = server.person(BOT), {}
    for number in range(count):
        one, nth = number // ROOMS_EACH, number % ROOMS_EACH + 1
        owner = person_id(one)
        person = server.person(owner, "Ann")
        room = bot.create_room(name=f"C{nth}", invite=[owner])
        bot.set_state(room, "io.surfaces.binding", binding(number, owner, nth, one % agents))
        person.join(room)
        made[room] = owner
    return made


def binding(number: int, owner: str, nth: int, agent: int) -> dict[str, object]:
    """What the bot wrote into a conversation's room."""
    return {
        "version": 1,
        "conversation": f"C{nth}",
        "owner": owner,
        "agent_id": agent_id(agent),
        "context_id": str(number),
        "created_ts": 0,
    }
