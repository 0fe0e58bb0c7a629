"""Child processes say when they are ready, why they failed, and never outlive their parent."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from surfaces_demo.children import Child, DemoError, free_port

SAYS_READY = """
import sys, time
print("starting")
print('READY {"port": 7}', flush=True)
time.sleep(60)
"""
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("READY {}", flush=True)
time.sleep(60)
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from surfaces_demo.children import Child

async def main():
    child = "import os, time; print('READY {\\"pid\\": %d}' % os.getpid(), flush=True); time.sleep(60)"
    started = await Child.start("child", [sys.executable, "-c", child], folder=Path(sys.argv[1]))
    print((await started.ready())["pid"], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_the_ready_line_is_read(tmp_path: Path) -> None:
    """The JSON behind READY is handed over, whatever else is printed."""
    child = await Child.start("child", python(SAYS_READY), folder=tmp_path)
    assert await child.ready() == {"port": 7}
    assert child.running
    assert await child.stop() == -signal.SIGTERM


async def test_a_child_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    """Waiting for a program that ended raises with the exit code and the end of its log."""
    code = "import sys; sys.stderr.write('no such thing\\n'); sys.exit(3)"
    child = await Child.start("child", python(code), folder=tmp_path)
    with pytest.raises(DemoError, match=r"child ended with exit code 3\nno such thing"):
        await child.ready()


async def test_a_child_that_is_late_is_given_up_on(tmp_path: Path) -> None:
    """Without a READY line in time, waiting ends."""
    child = await Child.start("child", python("import time; time.sleep(60)"), folder=tmp_path)
    with pytest.raises(DemoError, match="not ready"):
        await child.ready(timeout_s=0.05)
    await child.kill()
    assert not child.running


async def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    """After the grace, stopping is no longer a question."""
    child = await Child.start("child", python(IGNORES_SIGTERM), folder=tmp_path)
    await child.ready()
    assert await child.stop(grace_s=0.05) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """Nothing is left behind when the parent gets no chance to tidy up."""
    with subprocess.Popen([*python(PARENT), str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            # Readable once the process has ended.
            assert select.select([pidfd], [], [], 10)[0] == [pidfd]
        finally:
            os.close(pidfd)


def test_a_free_port_is_the_wanted_one_unless_it_is_taken() -> None:
    """The wanted port is kept when nobody has it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    wanted = free_port()
    assert free_port(wanted) == wanted
