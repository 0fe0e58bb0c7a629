"""Owns the switch that keeps tests off the network: nothing but this machine may be looked up or connected to.

Python's audit events are what it listens to, so it sees every library and every thread of the
process; what other processes do it does not see.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from surfaces_core.testing import watching

_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENDING = ("socket.connect", "socket.sendto", "socket.sendmsg")


class NetworkForbidden(Exception):
    """A test reached for the network; no OSError, so that nobody takes it for a network that is down."""


class NoNetwork:
    """A pytest plugin: each test that reaches for the network fails, whatever its code makes of the refusal."""

    def __init__(self) -> None:
        self._reached: list[str] = []

    def pytest_sessionstart(self) -> None:
        """From now on."""
        watching.watch(self._forbid)

    def pytest_sessionfinish(self) -> None:
        """Until then."""
        watching.unwatch(self._forbid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Any:
        """A test whose code swallowed the refusal fails all the same."""
        report: pytest.TestReport = yield
        reached, self._reached = self._reached, []
        if reached and report.outcome == "passed":
            report.outcome = "failed"
            report.longrepr = "\n".join(dict.fromkeys(reached))
        return report

    def _forbid(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _LOOKUPS:
            host = arguments[0]
            if not (_is_here(host) or _is_number(host)):
                self._refuse(f"look up {_text(host)}")
        elif event in _SENDING:
            sock, address = arguments[:2]
            outside = sock.family in (socket.AF_INET, socket.AF_INET6) and address is not None
            if outside and not _is_here(address[0]):
                self._refuse(f"connect to {_text(address[0])} port {address[1]}")

    def _refuse(self, what: str) -> None:
        words = f"this test may not use the network, and tried to {what}"
        self._reached.append(words)
        raise NetworkForbidden(words)


def _text(host: Any) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host)


def _is_here(host: Any) -> bool:
    name = "" if host is None else _text(host)
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    if not _is_number(name):
        return False
    address = ipaddress.ip_address(name.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _is_number(host: Any) -> bool:
    try:
        ipaddress.ip_address(_text(host).partition("%")[0])
    except ValueError:
        return False
    return True
