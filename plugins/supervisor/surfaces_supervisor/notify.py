"""The two ends of sd_notify(3): where the host tells the supervisor how it is, and where that tells systemd."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
NAME = "notify"
LONGEST = 64 * 1024
LONGEST_ADDRESS = 100
"""Bytes of a path that surely fit into the address of a socket (unix(7): 108)."""
MICROSECONDS = 1_000_000


class Ear:
    """Hears one process, and no other, for the kernel says who speaks. Other users cannot even reach it, and so not
    drown what the host says.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        path = folder / NAME
        if len(os.fsencode(path)) > LONGEST_ADDRESS:
            path = Path(f"/proc/{os.getpid()}/fd/{self._folder}/{NAME}")
        path.unlink(missing_ok=True)  # of a supervisor that was killed
        self.address = str(path)
        self.socket.bind(self.address)
        path.chmod(0o600)

    def clear(self) -> None:
        """Forget what was said: nobody should speak now."""
        for _ in self.heard(0):
            pass

    def heard(self, pid: int) -> Iterator[Mapping[str, str]]:
        """What a process has said since, message by message."""
        while True:
            try:
                data, extra, _, _ = self.socket.recvmsg(LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            speaker = next((_CREDENTIALS.unpack(raw)[0] for _, kind, raw in extra if kind == socket.SCM_CREDENTIALS), 0)
            if speaker == pid:
                pairs = (line.partition("=") for line in data.decode("utf8", "replace").splitlines())
                yield {key: value for key, _, value in pairs}


class Voice:
    """Tells whoever started the supervisor; elsewhere it tells nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.beat_s = _beat_s(environ) if address else 0.0
        """How often it wants a sign of life; 0: never."""

    def tell(self, state: str) -> None:
        """One line, like `READY=1`."""
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
            notify.connect(self._address)
            notify.sendall(state.encode())


def _beat_s(environ: Mapping[str, str]) -> float:
    wanted, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or whose not in ("", str(os.getpid())):
        return 0.0
    return int(wanted) / MICROSECONDS / 2
