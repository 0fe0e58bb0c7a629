"""Owns the command line of `surfaces chat`; all else is imported when it is needed, so that `--help` is quick."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path("surfaces.yaml")


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
        from surfaces_terminal import sitting

        config = options.config or (CONFIG if CONFIG.exists() else None)
        asyncio.run(sitting.chat(options, config))
    except KeyboardInterrupt:
        return 130
    return os.EX_OK
