"""`python -m surfaces_testing.agent`: the agent as a process of its own, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from aiohttp import web

from surfaces_testing.agent.control import Control
from surfaces_testing.agent.server import FakeAgent


async def _serve(port: int, gap_s: float, always: list[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with FakeAgent(port=port, gap_s=gap_s) as agent:
        for name in always:
            agent.faults.always(name)
        door = web.AppRunner(Control(agent).app, access_log=None)
        await door.setup()
        await web.TCPSite(door, "127.0.0.1", 0).start()
        ready = {"base_url": agent.base_url, "control": f"http://127.0.0.1:{door.addresses[0][1]}"}
        sys.stdout.write(f"READY {json.dumps(ready)}\n")
        sys.stdout.flush()
        await stop.wait()
        await door.cleanup()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="surfaces_testing.agent", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--gap", type=float, default=0.0, metavar="S", help="seconds between two words")
    parser.add_argument("--always", action="append", default=[], metavar="FAULT", help="misbehave so from the start")
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.gap, options.always))


if __name__ == "__main__":
    main()
