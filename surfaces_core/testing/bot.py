"""A whole host on memory doubles: push a message, pop the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog

from surfaces_core._config.discovery import Hooks, Offer
from surfaces_core._config.settings import HostSettings, Registry
from surfaces_core._config.sources import Source
from surfaces_core._engine import basics
from surfaces_core._engine.journal import Journal
from surfaces_core._engine.languages import Languages
from surfaces_core._engine.store import InstanceStore
from surfaces_core._host.lifecycle import Drivers, Engine
from surfaces_core.contracts import Command, Files, Pace, Storage, SurfaceContext, Transport
from surfaces_core.events import Agent
from surfaces_core.testing.memory_files import MemoryFiles
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage
from surfaces_core.testing.memory_surface import NAME, MemoryMessenger, MemorySurface, Shown
from surfaces_core.testing.scripted_transport import ScriptedTransport

AGENT = Agent(id="agent-0", label="Agent 0", transport="scripted", workspace="/agents/0")


@dataclass(kw_only=True)
class TestBot:
    """A host on a messenger, an agent, a disk and files of memory; these outlive it.

    `async with bot.running(): …` is one life of the host; leaving it stops the host cleanly, and
    the next one starts where the journal says.
    """

    __test__ = False

    messenger: MemoryMessenger = field(default_factory=MemoryMessenger)
    transport: Transport = field(default_factory=ScriptedTransport)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    files: Files = field(default_factory=MemoryFiles)
    hooks: Sequence[object] = ()
    """Modules or objects with `@hookimpl` functions."""
    settings: HostSettings = field(default_factory=HostSettings)
    own: Sequence[Command] = ()
    """Commands of the surface itself."""
    rooms: bool = False
    """Whether the surface can hold several conversations with one person."""
    pace: Pace | None = None
    now: Callable[[], float] = time.time
    """The clock of the journal, Unix seconds; `virtual_time.run` wants the loop's."""
    agents: Sequence[Agent] = (AGENT,)
    people: Mapping[str, str] = field(default_factory=dict)
    default_agent: str | None = AGENT.id
    open_to: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Patterns of who may choose an agent, by its id."""

    def __post_init__(self) -> None:
        self._popped: dict[str, int] = {}
        self.engine: Engine
        self.surface: MemorySurface

    async def push(
        self,
        text: str = "",
        *,
        conversation: str = "home",
        sender: str = "@ann",
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """A person says something."""
        await self.messenger.say(text, conversation=conversation, sender=sender, files=files)

    async def pop(self, conversation: str = "home", *, timeout_s: float = 5.0) -> str:
        """The next answer in a conversation, when it is final. Raises `TimeoutError` when none comes."""
        return (await self.pop_message(conversation, timeout_s=timeout_s)).text

    async def pop_message(self, conversation: str = "home", *, timeout_s: float = 5.0) -> Shown:
        """Like `pop`, with all there is to see of it."""
        index = self._popped.get(conversation, 0)
        await self.messenger.until_final(index + 1, conversation, timeout_s)
        self._popped[conversation] = index + 1
        final = [m for m in self.messenger.shown.values() if m.conversation == conversation and m.final]
        return final[index]

    def registry(self) -> Registry:
        """The agents as they now are; `engine.reload` takes it while a host runs."""
        return Registry(
            agents={agent.id: agent for agent in self.agents},
            people=dict(self.people),
            default=self.default_agent,
            source=Source(file="test"),
            places={},
            open_to=self.open_to,
        )

    def build(self, storage: Storage | None = None) -> Engine:
        """A new host over the same world, not started."""
        journal = Journal(storage or MemoryStorage(disk=self.disk), self.now)
        log = structlog.get_logger("testbot")
        languages = Languages(journal, self.settings.locale)
        context = SurfaceContext(
            name=NAME,
            log=log,
            store=InstanceStore(journal, NAME),
            files=self.files,
            prefix=self.settings.prefix,
            speaking=partial(languages.speaking, NAME),
        )
        self.surface = MemorySurface(
            self.messenger, context=context, rooms=self.rooms, pace=self.pace, now=self.now, own=self.own
        )
        self.engine = Engine(
            drivers=Drivers(
                storage=journal.storage,
                files=self.files,
                transports={AGENT.transport: self.transport},
                surfaces={NAME: self.surface},
            ),
            journal=journal,
            settings=self.settings,
            registry=self.registry(),
            hooks=self._hooks(),
            languages=languages,
            log=log,
        )
        return self.engine

    def _hooks(self) -> Hooks:
        hooks = Hooks()
        for plugin in (basics, *self.hooks):
            name = getattr(plugin, "__name__", type(plugin).__name__)
            hooks.add(Offer(group="surfaces.hooks", name=name, value=name, distribution="test", version="0"), plugin)
        return hooks

    @asynccontextmanager
    async def running(self, storage: Storage | None = None) -> AsyncIterator[TestBot]:
        """One life of the host."""
        engine = self.build(storage)
        ready = asyncio.Event()
        engine.on_ready = ready.set
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.run())
            await ready.wait()
            yield self
            engine.stop()
