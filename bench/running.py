"""One bot on one fresh homeserver: what it says, when, and what it uses."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.bots import AGENT, PROGRAMS, Bot
from surfaces_demo.children import Child
from surfaces_testing.homeserver import Event, FakeHomeserver

ANN, BOT = "@ann:hs.test", "@bot:hs.test"
START_WITHIN_S = 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Run:
    """A bot that is ready, in rooms that it shares with one person each."""

    def __init__(self, server: FakeHomeserver, rooms: list[str], child: Child, start_s: float) -> None:
        self.server = server
        self.rooms = rooms
        self.start_s = start_s
        self.answers: dict[str, list[str]] = defaultdict(list)
        """Room to what the bot said there, oldest first."""
        self.answered = 0
        self.last_at = 0.0
        """When it last said something."""
        self._child = child
        server.world.watchers.append(self._watch)

    def _watch(self, event: Event) -> None:
        if event.sender == BOT and event.type == "m.room.message":
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
        made = furnish(server, rooms)
        env = {
            **bot.env,
            "STATE": str(folder),
            "MATRIX_HOMESERVER": server.url,
            "MATRIX_USER_ID": BOT,
            "MATRIX_PASSWORD": "secret",
        }
        if bot.agent:
            agent = await Child.start("agent", [sys.executable, str(PROGRAMS / "echo_agent.py")], folder=folder)
            stack.push_async_callback(agent.kill)
            env["AGENT_URL"] = f"http://127.0.0.1:{(await agent.ready())['port']}"
        begun = time.perf_counter()
        child = await Child.start("bot", bot.command, folder=folder, env=env)
        stack.push_async_callback(child.kill)
        await child.ready(START_WITHIN_S)
        yield Run(server, made, child, time.perf_counter() - begun)


def furnish(server: FakeHomeserver, count: int) -> list[str]:
    """Rooms that the bot made earlier, each one conversation of a person's."""
    bot, ann = server.person(BOT), server.person(ANN, "Ann")
    made = []
    for number in range(1, count + 1):
        room = bot.create_room(name=f"C{number}", invite=[ANN])
        bot.set_state(room, "io.surfaces.binding", binding(number))
        ann.join(room)
        made.append(room)
    return made


def binding(number: int) -> dict[str, object]:
    """What the bot wrote into a conversation's room."""
    return {
        "version": 1,
        "conversation": f"C{number}",
        "owner": ANN,
        "agent_id": AGENT,
        "context_id": str(number),
        "created_ts": 0,
    }
