"""Owns the address of an agent's socket (spec: agent-api, Address)."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

_SOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_TAIL = re.compile(r"(/v1)?/agent_ws(/.*)?\Z", re.DOTALL)


def root_address(base_url: str) -> str:
    """The part before `v1/agent_ws/`, ending in one slash. Raises ValueError with a sentence for the operator."""
    if re.search(r"[\s\x00-\x1f\x7f]", base_url):
        raise ValueError("base_url must not contain spaces or control characters")
    parts = urlsplit(base_url)
    scheme = _SOCKET_SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ValueError("base_url must begin with http://, https://, ws:// or wss://")
    if not parts.hostname:
        raise ValueError("base_url names no host")
    if parts.port == 0:
        raise ValueError("base_url has port 0")
    if parts.query or parts.fragment:
        raise ValueError("base_url must not have a query (?…) or a fragment (#…)")
    path = _TAIL.sub("", parts.path).rstrip("/")
    return urlunsplit((scheme, parts.netloc, path + "/", "", ""))


def socket_address(base_url: str, context: str) -> str:
    """The address of one context's socket. Raises ValueError where either cannot be part of one."""
    if context in ("", ".", ".."):
        raise ValueError(f"a context cannot be called {context!r}")
    return f"{root_address(base_url)}v1/agent_ws/{quote(context, safe='')}/"


def without_login(address: str) -> str:
    """The address without a user and password in it, for logs."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
