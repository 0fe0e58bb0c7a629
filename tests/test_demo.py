"""The demo as a stranger runs it: one program, real processes, exit code 0 only when every step was seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def demo(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `surfaces demo` without a terminal."""
    program = Path(sys.executable).with_name("surfaces")
    return subprocess.run(
        [program, "demo", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_every_step_is_seen(tmp_path: Path) -> None:
    """The whole conversation is played and seen, the plug pulled in the middle of an answer included."""
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "nothing is lost, nothing is doubled" in done.stdout


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    """Without a homeserver to start, the demo fails and names the remedy."""
    done = demo(tmp_path, "--once", SURFACES_SYNAPSE_PYTHON=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "make synapse" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
