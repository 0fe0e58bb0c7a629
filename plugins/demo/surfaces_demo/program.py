"""Owns the command line of `surfaces demo`; all else is imported when it is needed, so that `--help` is quick."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("var/demo")


def main(argv: Sequence[str]) -> int:
    """Run the demo; the exit code: 0 when every step was seen, 1 when not, 130 when interrupted."""
    options = _parser().parse_args(argv)
    stays = not options.once and sys.stdin.isatty() and sys.stdout.isatty()
    from surfaces_demo import play
    from surfaces_demo.report import Report

    report = Report(sys.stdout)
    with tempfile.TemporaryDirectory(prefix="surfaces-demo-") as temporary:
        folder = options.folder or (FOLDER if stays else Path(temporary))
        try:
            return asyncio.run(play.run(folder, report, stays=stays))
        except KeyboardInterrupt:
            report.line("\nStopped.")
            return 0 if stays else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="surfaces demo",
        description="Starts a real Matrix homeserver, an agent and the host on this machine, and shows a person "
        "talking to their agent. On a terminal it then stays up to be talked to.",
    )
    parser.add_argument("--once", action="store_true", help="end after the conversation; 0 only if all of it was seen")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help=f"where state is kept (default: {FOLDER}; with --once nowhere)"
    )
    return parser
