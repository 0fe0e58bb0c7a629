"""Owns a way into a host that remembers what came in, for tests of surfaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from surfaces_core.contracts import Command, Reconciled, Surface
from surfaces_core.events import Address, Binding, Inbound, Kind

PATIENCE_S = 20.0
"""How long a wait may take before it counts as a broken promise; nothing depends on its value."""


class RecordingIntake:
    """An `Intake` in memory that drops repeats as the host does and outlives any number of surfaces."""

    def __init__(self, cursor: str | None = None) -> None:
        self.entries: list[Inbound] = []
        """All that was stored, in order."""
        self.cursors: list[str] = []
        """All cursors that were stored, in order."""
        self.bindings: list[Binding] = []
        """What the last `restore` told."""
        self.rooms_seen: int | None = None
        self.skipped: Mapping[str, str] = {}
        self.held = asyncio.Event()
        """Set when a batch came in while it was held up; see `hold`."""
        self._cursor = cursor
        self._seen: set[str] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._ready = asyncio.Event()
        self._changed = asyncio.Condition()

    # What a surface sees

    async def cursor(self) -> str | None:
        """The last stored cursor."""
        return self._cursor

    async def accept(self, batch: Sequence[Inbound], cursor: str) -> None:
        """Store a batch; waits while it is held up, and then nothing of it is stored yet."""
        if not self._open.is_set() and batch:
            self.held.set()
            await self._open.wait()
        async with self._changed:
            for entry in batch:
                if entry.event_id not in self._seen:
                    self._seen.add(entry.event_id)
                    self.entries.append(entry)
            self._cursor = cursor
            self.cursors.append(cursor)
            self._changed.notify_all()

    async def restore(
        self, found: Sequence[Binding], *, rooms_seen: int | None = None, skipped: Mapping[str, str] | None = None
    ) -> Reconciled:
        """Remember the bindings."""
        self.bindings, self.rooms_seen, self.skipped = list(found), rooms_seen, skipped or {}
        return Reconciled(restored=len(found))

    def ready(self) -> None:
        """Remember that the surface is ready."""
        self._ready.set()

    def commands(self, address: Address, person: str) -> Sequence[Command]:
        """None: there is no host."""
        return ()

    def language(self, person: str) -> str:
        """English."""
        return "en"

    # What a test does

    def begin(self) -> None:
        """Another life begins: `wait_ready` waits for its `ready`."""
        self._ready.clear()

    def hold(self) -> None:
        """Let no batch with something in it be stored from now on."""
        self.held.clear()
        self._open.clear()

    def let_go(self) -> None:
        """Let batches be stored again."""
        self._open.set()

    async def wait_ready(self) -> None:
        """Wait until the surface says that it is ready."""
        await in_time(self._ready.wait(), "a surface must say `ready` after its first good exchange")

    async def wait_held(self) -> None:
        """Wait until a batch is held up."""
        await in_time(self.held.wait(), "what a person says must come to `accept`")

    async def wait_until(self, done: Callable[[], bool], promise: str) -> None:
        """Wait until something holds of what was stored; AssertionError with the promise otherwise."""

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(done)

        await in_time(wait(), f"{promise}; came in so far: {[(e.kind.value, e.text) for e in self.entries]}")

    def said(self) -> list[str]:
        """The texts of the messages that were stored."""
        return [entry.text for entry in self.entries if entry.kind is Kind.MESSAGE]

    async def wait_said(self, texts: Sequence[str], promise: str) -> None:
        """Wait until exactly these messages are stored, in this order."""
        await self.wait_until(lambda: len(self.said()) >= len(texts), promise)
        if self.said() != list(texts):
            raise AssertionError(f"{promise}; expected {list(texts)}, got {self.said()}")


async def in_time(waiting: object, promise: str) -> None:
    """Wait for something that must happen soon; AssertionError with the promise if it doesn't."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await waiting  # type: ignore[misc]
    except TimeoutError:
        raise AssertionError(promise) from None


@asynccontextmanager
async def receiving(surface: Surface, intake: RecordingIntake) -> AsyncIterator[None]:
    """Run an opened surface while the block lasts, from its being ready on; what ends it early ends the block."""
    intake.begin()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(surface.run(intake))
        waiting = group.create_task(intake.wait_ready())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done() and not running.cancelled() and running.exception() is None:
            raise AssertionError("`run` must receive until it is cancelled, it returned")
        yield
        running.cancel()
