"""Owns what lies below a socket: how its TCP connection is made, whether it still takes anything, how it is dropped."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds of quiet, seconds between probes, and how many stay unanswered, until an agent whose machine has gone is
given up: an idle socket doesn't notice by itself. What the platform doesn't know is left out."""


class AgentSocket(aiohttp.ClientWebSocketResponse):
    """aiohttp's socket, with a door to its transport."""

    def __init__(
        self,
        reader: Any,
        writer: Any,
        protocol: str | None,
        response: aiohttp.ClientResponse,
        /,
        *rest: Any,
        **options: Any,
    ) -> None:
        super().__init__(reader, writer, protocol, response, *rest, **options)
        self._answer = response
        self._below = None if response.connection is None else response.connection.transport

    @property
    def takes(self) -> bool:
        """What is sent now goes out; False when the connection is over, whether that was read already or not."""
        return self._below is not None and not self._below.is_closing()

    def drop(self) -> None:
        """End the connection at once, with what was not sent yet; more than once does nothing."""
        self._answer.close()
        if self._below is not None:
            self._below.abort()


def tcp_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices when the other machine has gone."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
