"""The switch that keeps tests off the network: what it stops, and what it lets pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = '''
import asyncio
import socket
import threading


def outcome(attempt):
    """Code that takes whatever happens for bad luck."""
    try:
        attempt()
    except Exception:
        pass


def test_forbidden_connect():
    socket.create_connection(("192.0.2.1", 80), timeout=0.1)


def test_forbidden_connect_of_a_library():
    async def main():
        try:
            await asyncio.open_connection("2001:db8::1", 443)
        except Exception:
            pass
    asyncio.run(main())


def test_forbidden_lookup_that_is_swallowed():
    outcome(lambda: socket.getaddrinfo("example.org", 443))


def test_forbidden_lookup_in_a_thread():
    thread = threading.Thread(target=outcome, args=[lambda: socket.gethostbyname("example.org")])
    thread.start()
    thread.join()


def test_forbidden_datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        outcome(lambda: sock.sendto(b"x", ("192.0.2.1", 53)))


def test_this_machine_is_no_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
    assert socket.getaddrinfo("192.0.2.1", 80)
'''


def run(folder: Path, *arguments: str) -> str:
    """What pytest says of these tests."""
    (folder / "test_reaching.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.slow
def test_what_reaches_out_fails_with_a_line(tmp_path: Path) -> None:
    """Each way out is stopped and named, also where the code that tried takes it for bad luck."""
    said = run(tmp_path, "--surfaces-no-network")
    assert "5 failed, 1 passed" in said, said
    for tried in (
        "connect to 192.0.2.1 port 80",
        "connect to 2001:db8::1 port 443",
        "look up example.org",
        "connect to 192.0.2.1 port 53",
    ):
        assert f"this test may not use the network, and tried to {tried}" in said


def test_this_repository_says_it(pytestconfig: pytest.Config) -> None:
    """Our own tests run without a network, by the setting alone."""
    assert pytestconfig.getini("surfaces_no_network")
    assert pytestconfig.pluginmanager.has_plugin("surfaces-no-network")
