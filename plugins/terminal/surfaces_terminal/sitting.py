"""Owns one sitting of `surfaces chat`: who is talked with, where it shows, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
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
"""Which one to write."""
LAST_S = 5.0
"""How long what was said last may take to the host."""


async def chat(options: argparse.Namespace, named: Path | None) -> None:
    """Talk until the person leaves, by a config, or by one that is made for an echo."""
    config = named or own_host.first_config()
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
        if named is None:
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
