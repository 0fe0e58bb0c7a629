"""The example to start a deployment from is the very file that the demo runs, and it is valid as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "plugins/demo/surfaces_demo/surfaces.yaml"


def test_the_example_is_valid_with_a_password_alone(tmp_path: Path) -> None:
    """Copied anywhere, with its volume there and nothing but the password set, the example is in order."""
    (tmp_path / "var/agents").mkdir(parents=True)
    copy = tmp_path / "surfaces.yaml"
    copy.write_text(EXAMPLE.read_text())
    program = Path(sys.executable).with_name("surfaces")
    command = [str(program), "check", "--offline", "-c", str(copy)]
    done = subprocess.run(command, env={"MATRIX_PASSWORD": "secret"}, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "reference" in done.stdout


def test_the_example_says_which_secret_is_missing(tmp_path: Path) -> None:
    """Without the password the check fails in one line that names it."""
    program = Path(sys.executable).with_name("surfaces")
    done = subprocess.run([program, "check", "-c", EXAMPLE], env={}, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "MATRIX_PASSWORD" in done.stderr
