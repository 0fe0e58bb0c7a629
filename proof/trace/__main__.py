"""The program `python -m proof.trace`: runs a command, records its calls and passes its end on as its own."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from proof.trace.calls import Kill
from proof.trace.command import FORBIDDEN
from proof.trace.kernel import Forbidden
from proof.trace.tracer import Tracer


def main(argv: Sequence[str]) -> int:
    """Run it; its exit code. A program that died by a signal takes the tracer with it by the same one."""
    parser = argparse.ArgumentParser(prog="python -m proof.trace", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="the record: one JSON line for each call")
    parser.add_argument("--folder", action="append", default=[], help="files in it are of interest")
    parser.add_argument("--kill", type=Kill.parse, help="KIND-SIDE-COUNT, such as fsync-before-3")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(argv)
    try:
        with chosen.into.open("w") as record:
            code = Tracer(folders=chosen.folder, kill=chosen.kill, record=record).run(chosen.command)
    except Forbidden as error:
        print(f"cannot trace: {error}", file=sys.stderr)
        return FORBIDDEN
    if code < 0:
        _die_by(-code)
    return code


def _die_by(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
