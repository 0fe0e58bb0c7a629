"""Owns the `surfaces-agent` program."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from surfaces_agent_api.reference.faults import FAULTS
from surfaces_agent_api.reference.server import ReferenceAgent


def main() -> None:
    """Serve until SIGTERM or SIGINT; says `READY {"port": …, "base_url": …}` when it can be called."""
    asyncio.run(_serve(_arguments()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="surfaces-agent", description="The reference agent of AgentApi.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--prefix", default="", metavar="PATH", help="path before v1/agent_ws, like /agent_17")
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="the agent's folder, shared with the host")
    parser.add_argument("--memory", type=Path, metavar="FILE", help="remember across restarts, in this file")
    parser.add_argument("--words-per-second", type=float, metavar="R", help="how fast it talks (default: at once)")
    parser.add_argument("--misbehave", choices=sorted(FAULTS), metavar="NAME", help="one of: %(choices)s")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    agent = ReferenceAgent(
        host=arguments.host,
        port=arguments.port,
        prefix=arguments.prefix,
        workspace=arguments.workspace,
        words_per_second=arguments.words_per_second,
        fault=FAULTS[arguments.misbehave] if arguments.misbehave else None,
        memory_file=arguments.memory,
    )
    async with agent:
        sys.stdout.write(f"READY {json.dumps({'port': agent.port, 'base_url': agent.base_url})}\n")
        sys.stdout.flush()
        await stopped.wait()
