"""How the command lines of the programs look; imports nothing that takes a while."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

DEFAULT_CONFIG = "surfaces.yaml"


class Parser(argparse.ArgumentParser):
    """One whose complaints fit on a line."""

    def error(self, message: str) -> NoReturn:
        """End with the exit code for wrong usage."""
        self.exit(os.EX_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def add_config(command: argparse.ArgumentParser) -> None:
    """Let a command take the config's place."""
    command.add_argument(
        "-c", "--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help="default: %(default)s"
    )
