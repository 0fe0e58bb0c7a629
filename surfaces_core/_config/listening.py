"""Addresses to listen at, as the config says them."""

from __future__ import annotations


def check_listen(value: str) -> str:
    """A setting that says where to listen. Raises `ValueError`."""
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isdecimal() and int(port) < 65536):
        raise ValueError("must be address:port, like 127.0.0.1:9400")
    return value


def parted(listen: str) -> tuple[str, int]:
    """Its host and port."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
