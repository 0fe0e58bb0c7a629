"""`surfaces chat` as a person has it: the real program on a pseudo-terminal, and in a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .pseudo_terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("terminal")]
SLOW_CONFIG = """
storage: {use: sqlite, path: ./state.db}
files: {use: volume, root: ./agents}
surfaces: {terminal: {socket: ./chat.sock}}
transports: {echo: {delay_s: 0.1}}
agents: [{id: echo, label: Echo, transport: echo}]
hooks: [context, chats, staging]
host: {on_interrupt: retry}
"""
SURFACES = (sys.executable, "-m", "surfaces_core.cli")
LONG = " ".join(f"w{number}" for number in range(25))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config whose agent takes its time."""
    (tmp_path / "surfaces.yaml").write_text(SLOW_CONFIG)
    (tmp_path / "agents/echo").mkdir(parents=True)
    return tmp_path


def piped(folder: Path, *lines: str) -> str:
    """What `surfaces chat` answers to some lines in a pipe."""
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        [*SURFACES, "chat"], cwd=folder, input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """A host that is ready, and ends well with the block."""
    with subprocess.Popen([*SURFACES, "run"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as host:
        try:
            assert host.stdout is not None
            assert host.stdout.readline().startswith(b"READY")
            yield
        finally:
            host.terminate()
            code = host.wait(30)
    assert code == 0


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The host that a client started."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def is_half_shown(shown: str) -> bool:
    """The answer to `LONG` is being written: its own line shows all words, the answer some."""
    return shown.count("w3") > 1 and shown.count("w24") == 1


def test_the_first_minute(tmp_path: Path):
    """In an empty folder: greeted, answered, in a second conversation and back, helped by Tab, and out."""
    with Terminal.chat(cwd=tmp_path) as chat:
        assert "var/chat/surfaces.yaml" in chat.until("C1 ›")
        chat.enter("say **this** back")
        assert "say this back" in chat.until("say this back")
        chat.enter("!new work")
        chat.until("now in C2 work")
        chat.enter("/chat 1")
        chat.until("now in C1")
        chat.type("!ren\t")
        chat.until("C1 › !rename")
        chat.type("\x15")
        chat.enter("!language ru")
        chat.until("Русский")
        chat.enter("/help")
        chat.until("отправляет файл")
        chat.type("\x04")
        assert chat.ended() == 0


def test_a_host_that_is_killed_in_the_middle_of_an_answer(folder: Path):
    """It is started again, and its answer shows once, whole."""
    with Terminal.chat(cwd=folder) as chat:
        chat.until("C1 ›")
        chat.enter(LONG)
        chat.until(is_half_shown)
        os.kill(child_of(chat.process), signal.SIGKILL)
        chat.until("started again")
        chat.until(lambda shown: shown.count("w24") > 1)
        chat.enter("!mark end")
        shown = chat.until("\nend")
        assert [shown.count(f"w{number}") for number in (5, 15, 24)] == [2, 2, 2]


def test_a_client_that_is_killed_in_the_middle_of_an_answer(folder: Path):
    """The answer goes on without it, is shown to the next client, and to no other after that."""
    with running(folder):
        with Terminal.chat(cwd=folder) as chat:
            chat.until("C1 ›")
            chat.enter(LONG)
            chat.until(is_half_shown)
        with Terminal.chat(cwd=folder) as chat:
            chat.until("w24")
            chat.enter("!mark end")
            assert chat.until("\nend").count("w24") == 1
            chat.type("\x04")
            assert chat.ended() == 0
        assert "w24" not in piped(folder, "anything")


def test_ctrl_c_and_files(folder: Path):
    """An answer stops where it is; a file is sent by its name and by dragging it in, and the agent has it."""
    (folder / "my notes.txt").write_text("remember the milk")
    with Terminal.chat(cwd=folder) as chat:
        chat.until("C1 ›")
        chat.enter(LONG)
        chat.until(is_half_shown)
        chat.type("\x03")
        chat.until("topped")
        chat.enter("/send 'my notes.txt' what is this")
        assert chat.until("• my notes.txt").count("w24") == 1
        chat.enter(f"'{folder}/my notes.txt'")
        chat.until(lambda shown: shown.count("sent: my notes.txt") == 2)
        chat.enter("!list")
        chat.until("my notes (1).txt")
    assert (folder / "agents/echo/my notes.txt").read_text() == "remember the milk"


def test_nothing_an_agent_says_is_obeyed(folder: Path):
    """Escape sequences reach neither a terminal nor a pipe."""
    evil = "red \x1b[31m title \x1b]0;owned\x07 one \x9b31m \u202edrow"
    with running(folder), Terminal.chat(cwd=folder) as chat:
        chat.until("C1 ›")
        answer = piped(folder, evil)
        assert answer.count("\N{REPLACEMENT CHARACTER}") == 5
        assert not set(answer) & set("\x1b\x07\x9b\u202e")
        chat.until("drow")
        assert b"\x1b]0;owned" not in chat.raw
        assert "\x9b".encode() not in chat.raw
        assert "\u202e".encode() not in chat.raw


def test_a_pipe_is_answered_line_by_line(folder: Path):
    """Answers come in order, all of them, and the program ends by itself and leaves no host."""
    assert piped(folder, "one", "two", "!rename work").splitlines()[-3:-1] == ["one", "two"]
    assert not (folder / "chat.sock").exists()


def test_bytes_that_are_no_letters(folder: Path):
    """What a pipe brings need be no UTF-8: it is said as well as it can be."""
    done = subprocess.run([*SURFACES, "chat"], cwd=folder, input=b"a\xffb\n", capture_output=True, timeout=60)
    assert (done.returncode, "a\N{REPLACEMENT CHARACTER}b" in done.stdout.decode()) == (0, True), done.stderr


def test_a_host_of_another_folder_is_not_to_be_stopped(folder: Path):
    """Who chats with its config from elsewhere learns where to call it, and where nobody listens."""
    config, elsewhere = folder / "surfaces.yaml", folder / "elsewhere"
    config.write_text(config.read_text().replace("./state.db", f"{folder}/state.db"))
    elsewhere.mkdir()
    with running(folder):
        command = [*SURFACES, "chat", "-c", str(config)]
        done = subprocess.run(command, cwd=elsewhere, input="", capture_output=True, text=True, timeout=60)
    assert done.returncode == os.EX_TEMPFAIL
    assert "call this with its config in the folder in which it was started" in done.stderr
    assert f"does not listen at {elsewhere}/chat.sock" in done.stderr


def test_ctrl_c_in_a_pipe_that_stays_open(folder: Path):
    """It ends at once, and its host with it: nobody has to close the pipe or write a line first."""
    command = [*SURFACES, "chat"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write(b"".join(b"%d\n" % number for number in range(20)))
        chat.stdin.flush()
        while not chat.stdout.readline().endswith(b"19\n"):
            pass
        chat.send_signal(signal.SIGINT)
        assert chat.wait(20) == 130
    assert not (folder / "chat.sock").exists()
