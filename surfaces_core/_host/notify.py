"""Tells systemd how the host is (sd_notify): ready, alive, stopping. Elsewhere it tells nobody."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surfaces_core._config.sources import Source

MICROSECONDS = 1_000_000
MOST = 500
"""Characters of a line for people."""


def tell(state: str) -> None:
    """One line, like `READY=1`, where `NOTIFY_SOCKET` names somebody who wants to hear it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.sendall(state.encode())


def one_line(text: str) -> str:
    """Text as it may be told, whatever it is made of: a second line would be taken for an order."""
    return " ".join(text.split())[:MOST]


def tell_files(source: Source, registry: Source) -> None:
    """Say which files the host lives by, and their digests as it has read them: what a supervisor may bring back.

    Where the registry stands in the config itself, the config is as it was read for that, if nothing else in it is
    newer than what the host was started with.
    """
    if registry.file == source.file:
        if registry.settings != source.settings:
            return  # there is more in the file than was taken up
        source = registry
    found = {"config": source, "registry": registry}
    told = {
        name: [str(Path(one.file).resolve()), one.digest, one.settings] for name, one in found.items() if one.digest
    }
    tell(f"X_SURFACES_FILES={json.dumps(told)}")


@contextmanager
def beating(loop: asyncio.AbstractEventLoop, status: Callable[[], str]) -> Iterator[None]:
    """While the block lasts and the event loop turns, say so twice in each `WATCHDOG_USEC` (sd_watchdog_enabled).

    `status` is one line for people, which `systemctl status` shows.
    """
    interval_s, told = _interval_s(), ""
    handle: asyncio.TimerHandle | None = None

    def beat() -> None:
        nonlocal handle, told
        tell("WATCHDOG=1")
        handle = loop.call_later(interval_s, beat)  # first: the loop turns, whatever comes of what is said of it
        if (now := status()) != told:
            told = now
            tell(f"STATUS={one_line(now)}")

    if interval_s:
        beat()
    try:
        yield
    finally:
        if handle is not None:
            handle.cancel()


def _interval_s() -> float:
    wanted, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or whose not in ("", str(os.getpid())):
        return 0.0
    return int(wanted) / MICROSECONDS / 2
