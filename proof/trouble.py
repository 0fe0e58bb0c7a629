"""A plugin that misbehaves when it is told to, in every way that a real process must bear."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog

from proof import broken_disk
from surfaces_core import Command, CommandCall, hookimpl

DISTRIBUTION = "surfaces_trouble-1.0.dist-info"
FAILING = "SURFACES_TROUBLE"
"""In the environment: system calls and the error number that they end with after SIGUSR1, like `5:fsync,fdatasync`."""


def install(folder: Path) -> str:
    """Make the plugin known as `trouble` to programs that have the folder on their path; the folder."""
    info = folder / DISTRIBUTION
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surfaces-trouble\nVersion: 1.0\n", "utf8")
    (info / "entry_points.txt").write_text(f"[surfaces.hooks]\ntrouble = {__name__}\n", "utf8")
    return str(folder)


async def sleep(call: CommandCall) -> str:
    """Hold up the loop."""
    time.sleep(float(call.args[0]))  # noqa: ASYNC251 - that is the trouble
    return "slept"


def _say_that(name: str) -> None:
    structlog.get_logger().info("trouble.begun", command=name)


async def endless(_call: CommandCall) -> str:
    """Never return, but take a cancellation."""
    _say_that("endless")
    await asyncio.Event().wait()
    return "never"


async def deaf(_call: CommandCall) -> str:
    """Never return, and take no cancellation."""
    _say_that("deaf")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def leak(_call: CommandCall) -> str:
    """Leave a task behind."""
    asyncio.get_running_loop().create_task(endless(_call))
    return "left a task"


async def leak_deaf(_call: CommandCall) -> str:
    """Leave a task behind that takes no cancellation."""
    asyncio.get_running_loop().create_task(deaf(_call))
    return "left a deaf task"


async def leak_thread(_call: CommandCall) -> str:
    """Leave a thread behind that the interpreter waits for."""
    threading.Thread(target=threading.Event().wait, name="left-thread").start()
    return "left a thread"


async def block_thread(_call: CommandCall) -> str:
    """Wait for a thread of the loop's own pool that never ends."""
    _say_that("block_thread")
    await asyncio.to_thread(threading.Event().wait)
    return "never"


async def die(_call: CommandCall) -> str:
    """End the process without a word."""
    os._exit(3)


async def leave(_call: CommandCall) -> str:
    """End the process as if it were asked to, from a task of its own."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_leave())
    return "never"


async def _leave() -> None:
    raise SystemExit(0)


@hookimpl
def surfaces_commands() -> list[Command]:
    """All of it."""
    if FAILING in os.environ:
        signal.signal(signal.SIGUSR1, _fail)
    handlers = (sleep, endless, deaf, leak, leak_deaf, leak_thread, block_thread, die, leave)
    return [Command(name=handler.__name__, help="makes trouble", handler=handler) for handler in handlers]


def _fail(*_args: object) -> None:
    number, _, names = os.environ[FAILING].partition(":")
    broken_disk.from_now_on(int(number), names.split(","))
