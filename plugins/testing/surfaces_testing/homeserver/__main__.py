"""`python -m surfaces_testing.homeserver`: the homeserver as a process of its own, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import orjson

from surfaces_testing.homeserver.server import FakeHomeserver


async def _serve(port: int, server_name: str, room_version: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with FakeHomeserver(server_name, room_version, port=port) as homeserver, homeserver.door as control:
        ready = {
            "url": homeserver.url,
            "control": control,
            "server_name": server_name,
            "room_version": room_version,
        }
        sys.stdout.write(f"READY {orjson.dumps(ready).decode()}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="surfaces_testing.homeserver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--server-name", default="hs.test")
    parser.add_argument("--room-version", default="12", choices=("11", "12"))
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.server_name, options.room_version))


if __name__ == "__main__":
    main()
