"""The tracer: sees every call of every thread, and kills at exactly the one that it was told."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from proof.processes import PATH
from proof.trace import FORBIDDEN, Call, Kill, Trace, kernel, read, traced

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, **PATH}
THREADS = 8
ROUNDS = 20

BUSY = f"""
import os, sys, threading
folder = sys.argv[1]
def work(number):
    file = os.open(f"{{folder}}/part{{number}}", os.O_RDWR | os.O_CREAT)
    for turn in range({ROUNDS}):
        os.pwrite(file, b"x" * 10, turn * 13)
        os.lseek(file, turn * 13 + 10, os.SEEK_SET)
        os.writev(file, [b"a", b"bc"])
        os.fsync(file)
    os.rename(f"{{folder}}/part{{number}}", f"{{folder}}/whole{{number}}")
threads = [threading.Thread(target=work, args=(number,)) for number in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""
"""Threads that write, sync and rename at the same time."""

APPENDING = """
import os, sys
file = os.open(sys.argv[1] + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(10):
    os.write(file, b"%d\\n" % number)
    os.fdatasync(file)
"""

SENDING = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer:
    for number in range(10):
        peer.sendmsg([b"%d" % number, b"\\n"])
    peer.recv(1)
"""

WAITING = """
import signal, sys
def stop(*_):
    print("stopped", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
signal.pause()
"""

PARENT = """
import os, sys
if os.fork():
    os.write(1, b"%d\\n" % os.getpid())
    os._exit(4)
sys.stdin.read()
print("left", flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder that is of interest."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def run(program: str, files: Path, *args: str, kill: str = "") -> tuple[Trace, subprocess.CompletedProcess[str]]:
    """A Python program under the tracer: what was recorded and how it ended."""
    record = files.with_name("record.jsonl")
    command = traced(
        (sys.executable, "-c", program, *args),
        into=record,
        folders=[files],
        kill=Kill.parse(kill) if kill else None,
    )
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    return read(record), done


def replayed(calls: list[Call]) -> bytes:
    """A file as the recorded calls made it."""
    content = bytearray()
    for call in calls:
        assert call.offset is not None
        content[call.offset : call.offset + len(call.data)] = call.data
    return bytes(content)


def test_every_call_of_every_thread_is_counted(files: Path) -> None:
    """Eight threads that work at the same time are counted exactly."""
    trace, done = run(BUSY, files, str(files))
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert trace.summary.counts == {"write": 2 * THREADS * ROUNDS, "fsync": THREADS * ROUNDS, "name": THREADS}
    assert not trace.summary.killed


def test_a_record_has_what_was_written_and_where(files: Path) -> None:
    """The recorded bytes, put to their places, are the files."""
    trace, _ = run(BUSY, files, str(files))
    for number in range(THREADS):
        part = str(files / f"part{number}")
        writes = [call for call in trace.calls if call.path == part and call.kind == "write"]
        assert replayed(writes) == (files / f"whole{number}").read_bytes()
    assert {call.to for call in trace.calls if call.kind == "name"} == {
        str(files / f"whole{number}") for number in range(THREADS)
    }


def test_appended_bytes_are_placed_too(files: Path) -> None:
    """A file that is opened for appending knows its own place."""
    trace, _ = run(APPENDING, files, str(files))
    assert replayed([call for call in trace.calls if call.kind == "write"]) == (files / "log").read_bytes()


def test_calls_of_one_thread_follow_each_other(files: Path) -> None:
    """Each call of a thread ends before its next one begins, on the one clock of all threads."""
    trace, _ = run(BUSY, files, str(files))
    for thread in {call.tid for call in trace.calls}:
        calls = [call for call in trace.calls if call.tid == thread]
        for earlier, later in pairwise(calls):
            assert earlier.ended is not None
            assert earlier.ended < later.begun


@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_kill_lands_at_exactly_that_write(files: Path, count: int) -> None:
    """Before the n-th write there are n - 1 of them in the file, behind it n."""
    for side, written in (("before", count - 1), ("after", count)):
        trace, done = run(APPENDING, files, str(files), kill=f"write-{side}-{count}")
        assert done.returncode == -signal.SIGKILL
        assert trace.summary.killed
        assert (files / "log").read_bytes() == b"".join(b"%d\n" % number for number in range(written))
        (files / "log").unlink()


@pytest.mark.parametrize("count", [1, 10])
def test_a_kill_lands_at_exactly_that_sync(files: Path, count: int) -> None:
    """Before the n-th sync n lines are written and n - 1 syncs done, behind it n."""
    for side, synced in (("before", count - 1), ("after", count)):
        trace, _ = run(APPENDING, files, str(files), kill=f"fsync-{side}-{count}")
        assert len((files / "log").read_bytes().splitlines()) == count
        done = [call for call in trace.calls if call.kind == "fsync" and call.result == 0]
        assert len(done) == synced
        (files / "log").unlink()


@pytest.mark.parametrize("count", [1, 5])
def test_a_kill_lands_at_exactly_that_send(files: Path, count: int) -> None:
    """What a peer got is what was sent before the kill, and nothing else."""
    for side, sent in (("before", count - 1), ("after", count)):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            trace, done = run(SENDING, files, str(port), kill=f"send-{side}-{count}")
            peer, _ = server.accept()
            with peer, peer.makefile("rb") as received:
                assert received.read() == b"".join(b"%d\n" % number for number in range(sent))
        assert done.returncode == -signal.SIGKILL
        assert {call.peer for call in trace.calls if call.kind == "send"} == {f"127.0.0.1:{port}"}


def test_all_threads_die_with_the_one_that_is_killed(files: Path) -> None:
    """Nothing is written behind the kill: the files hold what ended, and at most what was under way."""
    trace, done = run(BUSY, files, str(files), kill="write-before-100")
    assert done.returncode == -signal.SIGKILL
    writes = [call for call in trace.calls if call.kind == "write"]
    ended = sum(len(call.data) for call in writes if call.ended is not None)
    under_way = sum(call.size for call in writes if call.ended is None)
    content = sum(len(path.read_bytes().replace(b"\0", b"")) for path in files.iterdir())
    assert ended <= content < ended + under_way
    assert 1 <= sum(call.ended is None for call in trace.calls) <= THREADS


def test_a_kill_that_is_never_reached_changes_nothing(files: Path) -> None:
    """A program that makes fewer calls ends as it wants, and the record says that it was not killed."""
    trace, done = run(APPENDING, files, str(files), kill="write-before-11")
    assert (done.returncode, trace.summary.killed) == (0, False)


def test_what_is_elsewhere_is_recorded_without_its_bytes(files: Path, tmp_path: Path) -> None:
    """Calls on other files are seen and of no kind."""
    (tmp_path / "other").mkdir()
    trace, _ = run(APPENDING, files, str(tmp_path / "other"))
    elsewhere = [call for call in trace.calls if call.path == str(tmp_path / "other" / "log")]
    assert Counter(call.name for call in elsewhere) == {"write": 10, "fdatasync": 10}
    assert {(call.kind, call.data) for call in elsewhere} == {(None, b"")}
    assert trace.summary.counts == {}


def test_the_tracer_passes_signals_and_exit_codes_on(files: Path) -> None:
    """Who starts and stops a traced program need not know that it is traced."""
    record = files.with_name("record.jsonl")
    command = traced((sys.executable, "-c", WAITING), into=record, folders=[files])
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.terminate()
        assert program.stdout.read() == "stopped\n"
        assert program.wait(timeout=60) == 3
    trace = read(record)
    assert trace.summary.asked_at is not None
    before = [call.size for call in trace.calls if call.fd == 1 and call.begun <= trace.summary.asked_at]
    assert sum(before) == len("ready\n")


def test_who_asks_too_late_does_no_harm(files: Path) -> None:
    """A program that has ended, and left a child behind, cannot be asked to end."""
    record = files.with_name("record.jsonl")
    command = traced((sys.executable, "-c", PARENT), into=record, folders=[files])
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        parent = Path("/proc", program.stdout.readline().strip())
        while parent.exists():
            os.sched_yield()
        program.terminate()
        program.stdin.close()
        assert program.stdout.read() == "left\n"
        assert program.wait(timeout=60) == 4


def test_where_tracing_is_forbidden_it_fails_in_one_line(files: Path) -> None:
    """A program has one tracer; a second one is refused by the kernel, and says so instead of running on."""
    inner = traced((sys.executable, "-c", "print('ran')"), into=files / "inner.jsonl", folders=[])
    outer = traced(inner, into=files / "outer.jsonl", folders=[])
    done = subprocess.run(outer, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == FORBIDDEN
    assert done.stdout == ""
    assert done.stderr.startswith("cannot trace: ptrace is forbidden here")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["fsync-before-", "fsync-3", "read-before-1", "send-after-x"])
def test_a_kill_is_written_in_one_way(text: str) -> None:
    """What is no KIND-SIDE-COUNT is refused."""
    with pytest.raises(ValueError, match="KIND-SIDE-COUNT"):
        Kill.parse(text)


def test_both_architectures_know_every_kind_of_call() -> None:
    """What one machine sees the other one sees; some names came before the second one was made."""
    older = {"rename", "link", "unlink"}
    assert kernel.NUMBERS["x86_64"].keys() - kernel.NUMBERS["aarch64"].keys() == older
    assert kernel.NUMBERS["aarch64"].keys() <= kernel.NUMBERS["x86_64"].keys()
    assert platform.machine() in kernel.NUMBERS
