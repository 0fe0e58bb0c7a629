"""The stage of the demo: homeserver, agent and host, each a process of its own, from one config file."""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from surfaces_demo.children import Child, DemoError
from surfaces_demo.synapse import Account, Synapse

BOT = "surfaces"
CONFIG = Path(str(files("surfaces_demo") / "surfaces.yaml"))
WORDS_PER_SECOND = 8
"""How fast the agent speaks: slow enough to be seen."""


class Stage:
    """Everything that runs, for as long as its `async with` block; its folder may be used again."""

    def __init__(self, folder: Path, *, homeserver_port: int = 0) -> None:
        self.folder = folder.absolute()
        self.homeserver = Synapse(self.folder / "homeserver", port=homeserver_port)
        self.bot: Account | None = None
        self._stack = AsyncExitStack()
        self._agent: Child | None = None
        self._host: Child | None = None
        self._agent_url = ""

    async def __aenter__(self) -> Self:
        self._stack.enter_context(sole_use(self.folder))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._host is not None:
            await self._host.stop()
        await self._stack.aclose()

    async def start_homeserver(self) -> Account:
        """Start the homeserver; the bot's account on it. Raises `DemoError`."""
        await self._stack.enter_async_context(self.homeserver)
        self.bot = await self.account(BOT)
        return self.bot

    async def start_agent(self) -> str:
        """Start the reference agent on the folder that it shares with the host; its address."""
        workspace = self.folder / "agents/reference"
        workspace.mkdir(parents=True, exist_ok=True)
        command = [program("surfaces-agent"), "--port", "0", "--workspace", str(workspace)]
        command += ["--words-per-second", str(WORDS_PER_SECOND), "--memory", str(self.folder / "agent.json")]
        agent = await Child.start("agent", command, folder=self.folder)
        self._stack.push_async_callback(agent.stop)
        self._agent = agent
        self._agent_url = str((await agent.ready())["base_url"])
        return self._agent_url

    async def start_host(self) -> dict[str, object]:
        """Start the host, or start it again after `kill_host`; what its READY line says."""
        if self.bot is None:
            raise DemoError("the homeserver comes first")
        environment = {
            "SURFACES_STATE": str(self.folder),
            "MATRIX_HOMESERVER": self.homeserver.url,
            "MATRIX_USER_ID": self.bot.user_id,
            "MATRIX_PASSWORD": self.bot.password,
            "AGENT_URL": self._agent_url,
        }
        command = [program("surfaces"), "run", "-c", str(CONFIG)]
        self._host = await Child.start("host", command, folder=self.folder, env=environment)
        return await self._host.ready()

    async def kill_host(self) -> None:
        """Pull the host's plug (SIGKILL)."""
        if self._host is not None:
            await self._host.kill()

    def check(self) -> None:
        """Raise `DemoError` if something that should run has ended."""
        for child in (self._agent, self._host):
            if child is not None:
                child.check()

    def tails(self) -> str:
        """The last lines of every log, for finding out what went wrong."""
        logs = {"host": self._host, "agent": self._agent, "homeserver": self.homeserver}
        texts = {name: log.tail() for name, log in logs.items() if log is not None}
        return "\n".join(f"--- {name}\n{text}" for name, text in texts.items() if text)

    async def account(self, name: str) -> Account:
        """An account on the homeserver, registered once and remembered in the folder."""
        path = self.folder / "accounts.json"
        known: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
        if name not in known:
            made = await self.homeserver.register(name)
            known[name] = {"user_id": made.user_id, "password": made.password}
            path.write_text(json.dumps(known, indent=1))
            path.chmod(0o600)
        return Account(user_id=known[name]["user_id"], password=known[name]["password"])

    async def newcomer(self, name: str) -> Account:
        """An account of somebody who was never here: `ann`, in the next run `ann2` and so on."""
        path = self.folder / "accounts.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        names = [name, *(f"{name}{number}" for number in range(2, len(known) + 2))]
        return await self.account(next(free for free in names if free not in known))


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep a second demo out of a folder. Raises `DemoError`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"Another demo runs in {folder}; end it, or name another place with --folder") from None
        yield


def program(name: str) -> str:
    """A program that was installed beside this Python."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise DemoError(f"{name} is not installed beside {sys.executable}; install surfaces-demo with its dependencies")
    return str(path)
