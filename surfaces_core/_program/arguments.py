"""How the command lines of the programs look; imports nothing that takes a while."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn

from surfaces_core._config.plain import printable

DEFAULT_CONFIG = "surfaces.yaml"
LOUDER = (("-v", "--verbose"), "say more, and what was behind an error")
LOUDEST = (("--debug",), "show tracebacks and log everything")
LOUD = frozenset((*LOUDER[0], *LOUDEST[0]))
"""What may stand before any command."""


class Parser(argparse.ArgumentParser):
    """One whose complaints fit on a line, and that takes `-v` and `--debug`; only the `top` one lists them."""

    def __init__(self, *, top: bool = False, **keys: Any) -> None:
        super().__init__(**keys)
        if not self.add_help:  # what is behind its name belongs to another program
            return
        for flags, about in (LOUDER, LOUDEST):
            if top:
                self.add_argument(*flags, action="store_true", help=about)
            else:  # unsaid here, it must not undo what was said before
                self.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        """End with the exit code for wrong usage."""
        self.exit(os.EX_USAGE, f"surfaces: USAGE: {printable(message)}; see {self.prog} --help\n")


def add_config(command: argparse.ArgumentParser) -> None:
    """Let a command take the config's place."""
    command.add_argument(
        "-c", "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help="default: %(default)s"
    )


def log_level(options: argparse.Namespace, usual: str = "error") -> str:
    """The least that a command logs."""
    if options.debug:
        return "debug"
    return "info" if options.verbose else usual
