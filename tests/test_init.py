"""`surfaces init` writes a config that is in order, made of what is installed and of a few answers."""

from __future__ import annotations

import os
import pty
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from surfaces_core._config.config import load
from surfaces_core._host.host import check
from surfaces_core.cli import main

ANSWERS = [
    "surfaces.matrix.homeserver=https://matrix.example.org",
    "surfaces.matrix.user_id=@bot:example.org",
    "agent.id=helper",
    "agent.base_url=http://127.0.0.1:7000/",
]

DRIVERS = ("storage=sqlite", "files=volume", "surface=matrix", "transport=agent_api")
USE = [part for driver in DRIVERS for part in ("--use", driver)]


def init(config: Path, *arguments: str) -> int:
    """Run it."""
    return main(["init", "-c", str(config), "--yes", *arguments])


def test_what_is_said_makes_a_config_that_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its answers as flags nothing but the password is left, and the config is in order with it."""
    path = tmp_path / "new/surfaces.yaml"
    assert init(path, *(part for answer in ANSWERS for part in ("--set", answer))) == 0
    assert path.with_name(".env.example").read_text() == "MATRIX_PASSWORD=\n"
    config = load(path, {"MATRIX_PASSWORD": "secret"})
    assert check(config) == []
    assert config.registry.agents["helper"].options == {"base_url": "http://127.0.0.1:7000/"}
    assert "surfaces run" in capsys.readouterr().out


def test_every_comment_can_be_taken_up(tmp_path: Path) -> None:
    """The settings that stand there as comments, with their defaults, are in order when they are no comments."""
    path = tmp_path / "surfaces.yaml"
    init(path, *(part for answer in ANSWERS for part in ("--set", answer)))
    text = path.read_text()
    lines = [
        line.replace("# ", "", 1) if line.startswith("  ") and "# " in line[:8] else line for line in text.split("\n")
    ]
    path.write_text("\n".join(line for line in lines if ": null" not in line))
    assert yaml.safe_load(path.read_text())["surfaces"]["matrix"]["stream_interval_s"] == 1.0
    assert check(load(path, {"MATRIX_PASSWORD": "secret"})) == []


def test_what_is_not_said_is_left_to_the_environment(tmp_path: Path) -> None:
    """Without answers each missing value has a variable of its own."""
    path = tmp_path / "surfaces.yaml"
    assert init(path) == 0
    names = path.with_name(".env.example").read_text().split()
    assert names == ["MATRIX_HOMESERVER=", "MATRIX_USER_ID=", "MATRIX_PASSWORD=", "AGENT_BASE_URL="]


def test_what_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A config is never written over."""
    path = tmp_path / "surfaces.yaml"
    path.write_text("mine")
    assert init(path) == os.EX_CONFIG
    assert path.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "surfaces.matrix.user_id=nobody"], "surfaces.matrix.user_id: "),
        (["--set", "surfaces.matrix.usr=x"], "nothing here is called surfaces.matrix.usr"),
        (["--use", "storage=nowhere"], "no installed plugin offers surfaces.storage:nowhere"),
        (["--use", "starage=x"], "there is no kind starage"),
        (["--set", "x"], "write NAME=VALUE instead of x"),
    ],
)
def test_a_slip_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """What cannot be so is said in one line, and nothing is written."""
    assert init(tmp_path / "surfaces.yaml", *arguments) == os.EX_CONFIG
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def typed(folder: Path, text: bytes) -> tuple[int, str, str]:
    """What a person types on a terminal: the exit code, and what it said on both."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "surfaces_core.cli", "init", *USE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=pipe, stderr=pipe, text=True) as program:
        os.close(theirs)
        os.write(ours, text)
        said = program.communicate()
    os.close(ours)
    return program.returncode, *said


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    """A person is asked for what has no default, and again where that cannot be; Enter takes what is suggested."""
    address = b"\n\nmatrix.example.org\nhttps://matrix.example.org\n"
    code, said, _ = typed(tmp_path, address + b"bot\n@bot:example.org\nhelper\nhttp://127.0.0.1:7000/\n")
    assert code == 0, said
    assert said.count("is not of this form") == 2
    config = load(tmp_path / "surfaces.yaml", {"MATRIX_PASSWORD": "secret"})
    assert config.surfaces["matrix"].options["user_id"] == "@bot:example.org"
    assert list(config.registry.agents) == ["helper"]


def test_who_hangs_up_gets_nothing(tmp_path: Path) -> None:
    """Ctrl-D in the middle stops it."""
    code, _, said = typed(tmp_path, b"\n\nhttps://matrix.example.org\n\x04")
    assert (code, said) == (os.EX_CONFIG, "surfaces: CONFIG: stopped; nothing was written\n")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is there as a whole or not at all."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        code = init(tmp_path / "surfaces.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == os.EX_IOERR
    assert "surfaces.yaml: File too large" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
