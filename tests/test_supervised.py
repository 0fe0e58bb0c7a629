"""What a host tells whoever supervises it while it lives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from surfaces_core._host.notify import beating, one_line, tell


@pytest.fixture
def notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Hears what the host tells."""
    name = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(name)
        ear.setblocking(False)
        yield ear


def test_a_status_is_one_line(notify: socket.socket) -> None:
    """What a reason is made of cannot tell a supervisor anything else."""
    tell("STATUS=" + one_line("held: bad\nWATCHDOG_USEC=0\n" + "a" * 1000))
    told = notify.recv(4096)
    assert told.startswith(b"STATUS=held: bad WATCHDOG_USEC=0 a")
    assert b"\n" not in told
    assert len(told) == len("STATUS=") + 500


async def test_a_loop_that_turns_lives_whatever_is_wrong_with_its_status(
    notify: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A status that a plugin's mistake keeps from being told does not look like a host that hangs."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    loop, bugs = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: bugs.append(context["exception"]))
    tells = iter(["Ready"])
    async with asyncio.timeout(10):
        with beating(loop, lambda: next(tells)):
            heard = [await loop.sock_recv(notify, 100) for _ in range(4)]
    assert heard == [b"WATCHDOG=1", b"STATUS=Ready", b"WATCHDOG=1", b"WATCHDOG=1"]
    assert isinstance(bugs[0], StopIteration)
