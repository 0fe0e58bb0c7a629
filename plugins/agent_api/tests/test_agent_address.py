"""The address of an agent's socket, however the registry spells its base."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surfaces_agent_api.address import root_address, socket_address, without_login

TABLE = [
    ("http://agents.example:7000/agent_17", "41", "ws://agents.example:7000/agent_17/v1/agent_ws/41/"),
    ("http://agents.example:7000/agent_17/", "41", "ws://agents.example:7000/agent_17/v1/agent_ws/41/"),
    ("ws://agents.example:7000/agent_17/v1/agent_ws/0/", "41", "ws://agents.example:7000/agent_17/v1/agent_ws/41/"),
    ("https://a.example", "7", "wss://a.example/v1/agent_ws/7/"),
    ("wss://a.example/agent_ws/3", "7", "wss://a.example/v1/agent_ws/7/"),
    ("http://a.example/v1/agent_ws", "7", "ws://a.example/v1/agent_ws/7/"),
    ("http://a.example/x/agent_ws/", "7", "ws://a.example/x/v1/agent_ws/7/"),
    ("HTTP://a.example//x//", "7", "ws://a.example//x/v1/agent_ws/7/"),
    ("http://a.example/agent_wsx/", "7", "ws://a.example/agent_wsx/v1/agent_ws/7/"),
    ("http://a.example/v1/", "7", "ws://a.example/v1/v1/agent_ws/7/"),
    ("http://[::1]:80/p", "7", "ws://[::1]:80/p/v1/agent_ws/7/"),
    ("http://u:p@a.example", "7", "ws://u:p@a.example/v1/agent_ws/7/"),
    ("http://a.example", "a/../b?c", "ws://a.example/v1/agent_ws/a%2F..%2Fb%3Fc/"),
]


@pytest.mark.parametrize(("base_url", "context", "address"), TABLE)
def test_table(base_url: str, context: str, address: str):
    """Every spelling of a base leads to the one address of the spec."""
    assert address == socket_address(base_url, context)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "agents.example:7000",
        "//agents.example",
        "ftp://a.example",
        "http://",
        "http:///agent",
        "http://:80/",
        "http://a.example:port/",
        "http://a.example:99999/",
        "http://a.example:0/",
        "http://a.example/?token=1",
        "http://a.example/#top",
        "http://a .example/",
        "http://a.example/\n",
        "http://[::1/",
    ],
)
def test_bad_base(base_url: str):
    """A base that cannot be one is refused with a sentence."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        root_address(base_url)


@pytest.mark.parametrize("context", ["", ".", ".."])
def test_bad_context(context: str):
    """A context that would change the path is refused."""
    with pytest.raises(ValueError, match="context"):
        socket_address("http://a.example", context)


PARTS = st.text("abcxyz019_-.~", min_size=1, max_size=8).filter(lambda part: part not in ("agent_ws", ".", ".."))


@given(
    scheme=st.sampled_from(["http", "https", "ws", "wss"]),
    prefix=st.lists(PARTS, max_size=3),
    tail=st.sampled_from(
        ["", "/", "//", "/agent_ws", "/agent_ws/", "/v1/agent_ws/0/", "/v1/agent_ws/12", "/agent_ws/9"]
    ),
    context=st.integers(min_value=0).map(str),
)
def test_any_spelling(scheme: str, prefix: list[str], tail: str, context: str):
    """A tail never changes the address, and the address is a base of its own."""
    plain = f"{scheme}://a.example:81" + "".join(f"/{part}" for part in prefix)
    address = socket_address(plain + tail, context)
    assert address == f"{'wss' if scheme in ('https', 'wss') else 'ws'}{plain[len(scheme) :]}/v1/agent_ws/{context}/"
    assert address == socket_address(address, context)


@given(st.text(max_size=40), st.text(max_size=10))
def test_any_text(base_url: str, context: str):
    """Whatever the registry says, it is an address with exactly these ends or a ValueError."""
    try:
        address = socket_address(base_url, context)
    except ValueError:
        return
    assert urlsplit(address).scheme in ("ws", "wss")
    assert address.endswith("/")
    assert address.split("/")[-4:-2] == ["v1", "agent_ws"]


def test_without_login():
    """Logs see neither user nor password."""
    assert without_login("ws://user:secret@a.example:7/x/") == "ws://a.example:7/x/"
