"""What the command lines of the supervisor have in common."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from surfaces_supervisor.lines import plain


class Parser(argparse.ArgumentParser):
    """One whose complaints fit on a line, and which knows the config and the supervisor's folder."""

    def __init__(self, name: str, about: str) -> None:
        super().__init__(prog=f"surfaces {name}", description=about)
        self.add_argument(
            "-c", "--config", type=Path, default=Path("surfaces.yaml"), metavar="FILE", help="default: %(default)s"
        )
        self.add_argument(
            "--folder",
            type=Path,
            metavar="DIR",
            help="where the supervisor keeps its socket and its list; default: beside the config, NAME.supervisor",
        )

    def error(self, message: str) -> NoReturn:
        """End with the exit code for wrong usage."""
        self.exit(os.EX_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def complain(text: str, code: int) -> int:
    """One line on standard error; the exit code."""
    sys.stderr.write(f"surfaces: SUPERVISOR: {plain(text)}\n")
    return code
