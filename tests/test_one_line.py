"""What an operator reads when something is not as it should be: one line with a code, a place and what to do."""

from __future__ import annotations

import errno
import io
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from surfaces_core._config.config import load
from surfaces_core._engine import log
from surfaces_core._host.ending import explain
from surfaces_core._host.host import _built
from surfaces_core._program.whole import whole
from surfaces_core.cli import main
from surfaces_core.errors import ConfigError

CONFIG = """
storage: {use: sqlite, path: var/state.db}
surfaces: {terminal: {socket: var/terminal.sock}}
transports: {echo: {}}
agents: [{id: parrot, transport: echo}]
"""

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs the program in a folder with a config: the exit code, and what it said on both."""
    monkeypatch.chdir(tmp_path)
    Path("surfaces.yaml").write_text(CONFIG)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("arguments", [("-v", "check"), ("check", "-v"), ("check", "--verbose")], ids=" ".join)
def test_a_line_more_for_each_cause(said: Said, arguments: Sequence[str]) -> None:
    """`-v` stands before the command or behind it, and adds what was behind an error; without it there is one line."""
    Path("surfaces.yaml").unlink()
    code, _, short = said("check")
    assert (code, len(short.splitlines())) == (os.EX_CONFIG, 1)
    code, _, long = said(*arguments)
    assert code == os.EX_CONFIG
    assert long.startswith(short)
    assert "because: FileNotFoundError" in long.removeprefix(short)


@pytest.mark.parametrize("arguments", [("-v", "chat", "--help"), ("--debug", "-v", "matrix", "doctor", "--help")])
def test_what_others_bring_is_found_behind_a_flag(said: Said, arguments: Sequence[str]) -> None:
    """`-v` before a program or a report of another distribution."""
    code, printed, line = said(*arguments)
    assert (code, line) == (0, "")
    assert printed.startswith(f"usage: surfaces {' '.join(arguments[arguments.index('-v') + 1 : -1])}")


def test_the_line_more_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library says of a value stays with the library."""
    error = ConfigError("surfaces.work.password", "must be text")
    error.__cause__ = ValueError("input_value='hunter2'")
    assert explain(error, verbose=True) == os.EX_CONFIG
    assert capsys.readouterr().err.endswith("must be text\n  because: ValueError\n")


def test_a_traceback_only_when_asked(said: Said) -> None:
    """`--debug` too is taken behind a command."""
    Path("surfaces.yaml").unlink()
    assert "Traceback" not in said("check")[2]
    assert "Traceback" in said("check", "--debug")[2]


@pytest.mark.parametrize("arguments", [("frob",), ("check", "--frob"), ("dead", "show", "\x1b[2Jx")], ids=ascii)
def test_wrong_usage_has_its_code(said: Said, arguments: Sequence[str]) -> None:
    """One line that names the help, and nothing in it that a terminal obeys."""
    code, _, line = said(*arguments)
    assert code == os.EX_USAGE
    assert line.startswith("surfaces: USAGE: ")
    assert line.endswith("--help\n")
    assert "\x1b" not in line


def test_a_start_tells_all_that_is_wrong(said: Said) -> None:
    """A line each, the same as `surfaces check` says, and none twice."""
    broken = CONFIG.replace("storage:", "storaje:").replace("{socket:", "{colour: red, socket:")
    Path("surfaces.yaml").write_text(f"{broken}hooks: [nobody]\n")
    code, _, lines = said("run")
    assert code == os.EX_CONFIG
    assert [line.split(": ")[2] for line in lines.splitlines()] == ["storaje", "surfaces.terminal.colour", "hooks[0]"]
    assert lines == said("check")[2]


def test_a_start_tells_all_that_is_wrong_with_plugins(said: Said) -> None:
    """Also where the config itself is in order."""
    text = CONFIG.replace("{socket:", "{colour: red, socket:") + "hooks: [nobody, nothing]\n"
    Path("surfaces.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        _built(load(Path("surfaces.yaml")))
    assert explain(refused.value) == os.EX_CONFIG
    lines = said("check")[2].splitlines()
    assert lines[:3] == lines[3:]
    assert len(lines) == 6


def test_a_terminal_that_cannot_show_a_letter(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows a question mark there, and the command goes on."""
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", narrow)
    assert said("init", "--help")[0] == 0
    narrow.seek(0)
    assert "like surfaces.matrix.user_id=?" in " ".join(narrow.read().split())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_log_without_colours(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that wants none there are none."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in logged()
    monkeypatch.setenv(name, value)
    assert "\x1b[" not in logged()


def logged() -> str:
    """A line of the log on a terminal."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    log.configure("info", terminal)
    log.logger().info("tea.made")
    return terminal.getvalue()


def test_what_the_system_refuses(said: Said) -> None:
    """A place, the system's words and a remedy."""
    code, _, line = said("init", "--yes", "-c", "/proc/nowhere/surfaces.yaml")
    assert code == os.EX_IOERR
    assert line == "surfaces: FILE: /proc/nowhere: No such file or directory; make it, or name another place\n"


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(errno.ECONNRESET, "reset by peer")], ids=repr)
def test_a_network_that_nobody_reckoned_with_is_a_bug(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no matter of files and rights leaves a trace to report."""
    assert explain(error) == os.EX_SOFTWARE
    said = capsys.readouterr().err
    assert said.startswith(type(error).__name__)
    assert "surfaces: BUG: " in said


@pytest.mark.parametrize("broken", [None, "a: [", "storage: 1"], ids=["absent", "no-yaml", "wrong"])
def test_a_program_hears_of_every_problem_as_json(said: Said, broken: str | None) -> None:
    """`--json` says it where a program reads, though there is no config at all."""
    Path("surfaces.yaml").unlink() if broken is None else Path("surfaces.yaml").write_text(broken)
    code, printed, line = said("check", "--json")
    assert (code, line) == (os.EX_CONFIG, "")
    assert json.loads(printed)["ok"] is False
    assert json.loads(printed)["problems"]


def test_secrets_that_everybody_may_read(said: Said) -> None:
    """A warning names the file of a secret, and the config that holds one."""
    Path("word").write_text("marmalade")
    Path("word").chmod(0o644)
    matrix = "{use: matrix, homeserver: 'http://x', user_id: '@a:b', password: %s, pickle_key: {file: word}}"
    Path("surfaces.yaml").write_text(CONFIG.replace("{socket: var/terminal.sock}", matrix % "marmalade"))
    Path("surfaces.yaml").chmod(0o644)
    warned = said("check", "--offline")[1]
    assert "word may be read by everybody" in warned
    assert "surfaces.yaml holds surfaces.terminal.password and may be read by everybody" in warned
    assert "marmalade" not in warned
    Path("word").chmod(0o600)
    Path("surfaces.yaml").write_text(CONFIG.replace("{socket: var/terminal.sock}", matrix % "{file: word}"))
    assert "by everybody" not in said("check", "--offline")[1]


def test_what_is_no_database_is_seen_before_a_start(said: Said) -> None:
    """`check` says so, as a start would."""
    Path("var").mkdir()
    Path("var/state.db").write_text("shopping list")
    code, printed, _ = said("check", "--offline")
    assert code == os.EX_UNAVAILABLE
    assert "is not a database; name another file" in printed


def test_a_newer_state_is_seen_before_a_start(said: Said) -> None:
    """`check` names it with the two ways out, and holds nobody up to look."""
    Path("var").mkdir()
    with closing(sqlite3.connect("var/state.db")) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("CREATE TABLE kv (key BLOB)")
        database.commit()
    code, printed, _ = said("check", "--offline")
    assert code == os.EX_UNAVAILABLE
    assert "written by a newer version of Surfaces; upgrade, or restore a backup" in printed


def test_a_backup_that_fails_leaves_nothing(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the archive's name and the remedy stand in one line."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("surfaces_core._program.backups.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device: 'a'"), whole(Path("a")) as file:
        file.write(b"a")
    assert [path.name for path in Path().iterdir()] == ["surfaces.yaml"]


# Reset ----------------------------------------------------------------------------------------------


def test_a_reset_takes_what_surfaces_keep_beside_the_state(said: Said) -> None:
    """Files on their way go too, and nothing is said of rooms where no messenger has any."""
    files = Path("var/terminal.sock.files")
    files.mkdir(parents=True)
    (files / "a").write_text("a")
    code, pretended, _ = said("reset", "--mode", "local-only", "--dry-run")
    assert (code, files.exists()) == (0, True)
    assert f"would remove {files.resolve()}\n" in pretended
    assert str(Path("var/state.db").resolve()) in pretended
    code, done, _ = said("reset", "--mode", "local-only", "--yes")
    assert (code, files.exists()) == (0, False)
    assert "Rooms" not in done
    assert "removed the state: nothing" in done


@pytest.mark.parametrize("socket", ["${NOBODY_SET_THIS}", "${NOBODY_SET_THIS}/terminal.sock"])
def test_a_reset_leaves_what_an_empty_value_may_name(said: Said, socket: str) -> None:
    """Where the environment names no place nothing is removed, and it says why."""
    Path("surfaces.yaml").write_text(CONFIG.replace("var/terminal.sock", f'"{socket}"'))
    code, pretended, line = said("reset", "--mode", "local-only", "--dry-run")
    assert (code, line) == (0, "")
    assert pretended.count("would remove") == 1
    assert "by hand: Files of terminal beside the state are still there: nothing gave surfaces.terminal" in pretended


def test_who_hangs_up_does_not_agree(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at the question is a no."""
    keyboard = io.StringIO("")
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", keyboard)
    code, _, line = said("reset", "--mode", "local-only")
    assert (code, line) == (os.EX_CONFIG, "surfaces: CONFIG: nothing was done\n")


def test_programs_have_versions_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Distributions that offer no driver and no hook are told with the others, each once."""
    assert main(["version"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"surfaces-core", "surfaces-supervisor", "surfaces-matrix"} <= set(names)
    assert len(names) == len(set(names))
