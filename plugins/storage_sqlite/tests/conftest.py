"""What the tests of this plugin share: drivers on a path, and other processes that use one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from surfaces_core import Context
from surfaces_storage_sqlite import SqliteStorage

Child = subprocess.Popen[str]

_PREAMBLE = """
import asyncio, os, resource, sys
from pathlib import Path
import structlog
from surfaces_core import Context, StateError
from surfaces_storage_sqlite import SqliteStorage

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
path = Path(sys.argv[1])

def storage():
    return SqliteStorage(SqliteStorage.Settings(path=path), Context(name="storage", log=structlog.get_logger()))

async def put(store, *keys, value=b"v"):
    async with store.transaction() as tx:
        for key in keys:
            await tx.put(key, value)

def say(*words):
    print(*words, flush=True)

"""


@pytest.fixture
def storage_at() -> Callable[[Path], SqliteStorage]:
    """Makes an unopened storage on a path."""

    def make(path: Path) -> SqliteStorage:
        settings = SqliteStorage.Settings(path=path, busy_timeout_s=0.05)
        return SqliteStorage(settings, Context(name="storage", log=structlog.get_logger()))

    return make


@pytest.fixture
def child() -> Iterator[Callable[[str, Path], Child]]:
    """Starts a Python process that runs a text with `storage`, `put` and `say` at hand; killed at the end."""
    with ExitStack() as stack:

        def start(text: str, path: Path) -> Child:
            command = [sys.executable, "-c", _PREAMBLE + textwrap.dedent(text), str(path)]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            return process

        yield start
