"""How a program is started under the tracer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from proof.trace.calls import Kill

FORBIDDEN = os.EX_OSERR
"""Exit code of the tracer where it may not trace; it has said so in one line on standard error."""


def traced(command: Sequence[str], *, into: Path, folders: Iterable[Path], kill: Kill | None = None) -> tuple[str, ...]:
    """The command that runs another one under the tracer, with what it says and its exit code.

    Of files those in `folders` are of interest. It needs this package's root in `PYTHONPATH`.
    """
    named = [word for folder in folders for word in ("--folder", str(folder.resolve()))]
    killed = ["--kill", str(kill)] if kill is not None else []
    return (sys.executable, "-m", "proof.trace", "--into", str(into), *named, *killed, "--", *command)
