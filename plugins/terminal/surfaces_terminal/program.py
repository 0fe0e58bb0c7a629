"""Owns the command line of `surfaces chat`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from surfaces_terminal import own_host, words
from surfaces_terminal.client import Client
from surfaces_terminal.plain import Plain
from surfaces_terminal.talk import Talk

if TYPE_CHECKING:
    from surfaces_terminal.screen import Screen

CONFIG = Path("surfaces.yaml")
LAST_S = 5.0
"""How long what was said last may take to the host."""


def parser() -> argparse.ArgumentParser:
    """What `surfaces chat` takes."""
    made = argparse.ArgumentParser(prog="surfaces chat", description="Talk to the agents of a config in this terminal.")
    made.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help=f"default: {CONFIG}, or an echo where there is none"
    )
    made.add_argument("--agent", metavar="ID", help="talk to this agent")
    made.add_argument(
        "--save", type=Path, default=Path("received"), metavar="FOLDER", help="where files go; default: %(default)s"
    )
    made.add_argument("--plain", action="store_true", help="lines in, lines out, as in a pipe")
    return made


def main(rest: Sequence[str]) -> int:
    """Talk; the exit code. Raises what no talk is possible with."""
    options = parser().parse_args(rest)
    os.umask(0o077)  # what is written here is for this person
    try:
        config = options.config or (CONFIG if CONFIG.exists() else own_host.first_config())
        asyncio.run(_chat(options, config))
    except KeyboardInterrupt:
        return 130
    return os.EX_OK


async def _chat(options: argparse.Namespace, config: Path) -> None:
    place = own_host.find(config)
    talk = Talk(options.save)
    viewer = _viewer(talk, place.socket, plain=options.plain)
    talk.tell = viewer.tell
    talk.client = client = Client(place.socket, viewer)

    async def restarted() -> None:
        await viewer.tell(talk.word(words.STOPPED_HOST))

    async with own_host.reached(place, options.agent, restarted) as own:
        if not own and options.agent:
            talk.say(f"{client.prefix}agent {options.agent}")
        if options.config is None and config != CONFIG:
            await viewer.tell(words.FIRST_STEPS(config=CONFIG, made=config))
        async with asyncio.TaskGroup() as group:
            attached = group.create_task(client.run())
            await viewer.run()
            await left(client, talk)
            attached.cancel()


async def left(client: Client, talk: Talk) -> None:
    """Let the host have what was said last, and say what it will never have."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_S):
            await client.taken()
    if client.unsaid:
        sys.stderr.write(f"{talk.word(lambda: words.UNSAID(client.unsaid))}\n")


def _viewer(talk: Talk, socket: Path, *, plain: bool) -> Plain | Screen:
    if plain or not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # what the locale cannot show
        return Plain(talk, sys.stdin.fileno(), sys.stdout)
    from surfaces_terminal.screen import Screen  # a pipe needs none of it

    return Screen(talk, socket.with_suffix(".history"))
