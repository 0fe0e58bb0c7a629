"""Addresses to listen at, as the config says them."""

from __future__ import annotations

import socket


def check_listen(value: str) -> str:
    """A setting that says where to listen. Raises `ValueError`."""
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("must be address:port, like 127.0.0.1:9400")
    return value


def obstacle(listen: str) -> OSError | None:
    """What keeps us from listening there at this moment; nothing is taken for longer than the look."""
    host, port = parted(listen)
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as looking:
                looking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server does
                looking.bind(address)
    except OSError as error:
        return error
    return None


def parted(listen: str) -> tuple[str, int]:
    """Its host and port."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
