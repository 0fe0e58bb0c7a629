"""The supervisor with a real host under it that dies, hangs, is misconfigured and is brought back.

The messenger is a file of what people said and one of what they were told, so that nothing else has to run.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import site as python_site
import socket
import sys
import venv
import zipfile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from proof.processes import HOST, Program

pytestmark = pytest.mark.slow
PATIENCE_S = 120.0
"""Several hosts start one after the other, on a machine that may have much else to do."""
MARKER = "xylophone"
"""Said by people, and nowhere else."""

FEED = """
import asyncio, json
from pathlib import Path
from surfaces_core import Address, Inbound, Receipt, Settings, Surface

class FeedSettings(Settings):
    folder: Path

class Feed(Surface):
    Settings = FeedSettings

    async def run(self, intake):
        while (self.settings.folder / "away").exists():
            await asyncio.sleep(0.02)
        intake.ready()
        done = int(await intake.cursor() or 0)
        while True:
            lines = (self.settings.folder / "said").read_text().splitlines()
            for line in lines[done:]:
                done += 1
                message = Inbound(
                    address=Address(surface=self.context.name, conversation="home"),
                    event_id=f"e{done}", sender="@ann", sent_at=float(done), text=line,
                )
                await intake.accept([message], str(done))
            await asyncio.sleep(0.02)

    async def send(self, message):
        path = self.settings.folder / "told"
        told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if message.key not in [key for key, _ in told]:
            with path.open("a") as file:
                file.write(json.dumps([message.key, message.text]) + "\\n")
        return Receipt(remote_id=message.key)
"""
DEADLY = """
import os, signal
from surfaces_core import hookimpl

seen = []

@hookimpl
def surfaces_refuse(message):
    seen.append(message.event_id)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""
HANGING = """
import time
from surfaces_core import hookimpl

@hookimpl
def surfaces_refuse(message):
    time.sleep(600)
"""
QUIET = """
from surfaces_core import hookimpl

@hookimpl
def surfaces_refuse(message):
    return None
"""
FRAGILE = {"1.0": "", "2.0": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}
"""A plugin by its versions."""


def wheel(folder: Path, version: str) -> Path:
    """The plugin in one of its versions, as an installer takes it."""
    info = f"fragile-{version}.dist-info"
    files = {
        "fragile.py": f"{QUIET}\n{FRAGILE[version]}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: fragile\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[surfaces.hooks]\nfragile = fragile\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = folder / f"fragile-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


class Site:
    """A config with its state, distributions of its own, and the supervisor of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "surfaces.yaml"
        self.python = sys.executable
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "said").touch()
        self.install("feed", FEED, "surfaces.surface", "feed:Feed")
        self.install("deadly", DEADLY, "surfaces.hooks", "deadly")
        self.configure()

    def install(self, module: str, source: str, group: str, target: str) -> None:
        """Install one module as a distribution with one entry point."""
        (self.folder / f"{module}.py").write_text(dedent(source))
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{module} = {target}\n")

    def configure(self, **changes: Any) -> None:
        """Write the config anew."""
        config = {
            "storage": {"use": "sqlite", "path": str(self.folder / "state" / "s.db")},
            "surfaces": {"feed": {"folder": str(self.folder)}},
            "transports": {"echo": {}},
            "agents": [{"id": "a", "transport": "echo"}],
            "ops": {"listen": f"127.0.0.1:{self.port}"},
            "hooks": [],
        }
        self.config.write_text(json.dumps(config | changes))

    def program(self, *words: str, name: str = "", **env: str) -> Program:
        """A command of the `surfaces` program, not started yet."""
        path = os.pathsep.join([str(self.folder), str(Path(__file__).parents[3])])
        command = (self.python, *HOST[1:], *words, "-c", str(self.config))
        return Program(command, log=self.folder / f"{name or words[0]}.log", env={"PYTHONPATH": path, **env})

    def supervisor(self, *words: str, name: str = "supervise", **env: str) -> Program:
        """A supervisor that loses no time."""
        quick = ("--wait-s", "0.01", "--longest-wait-s", "0.05", "--settle-s", "0.01")
        return self.program("supervise", *quick, *words, name=name, **env)

    async def run(self, *words: str) -> tuple[int, str]:
        """The exit code of a command, and everything that it says."""
        async with self.program(*words, name="command") as program:
            said = await program.rest()
            return await program.ended(PATIENCE_S), said + program.log()

    async def status(self) -> dict[str, Any]:
        """How the supervisor is."""
        code, said = await self.run("supervise", "status", "--json")
        return dict(json.loads(said)) if code == 0 else {}

    def say(self, *texts: str) -> None:
        """A person says something."""
        with (self.folder / "said").open("a") as file:
            file.writelines(f"{text}\n" for text in texts)

    @property
    def told(self) -> list[str]:
        """What the person was told, but for the greeting."""
        path = self.folder / "told"
        texts = [json.loads(line)[1] for line in path.read_text().splitlines()] if path.exists() else []
        return [text for text in texts if not text.startswith("Hello")]

    async def until(self, condition: Any) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - a file has no event for this
                await asyncio.sleep(0.02)

    async def get(self, path: str) -> tuple[int, str]:
        """What the host answers over HTTP."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A place with a host that is well."""
    return Site(tmp_path)


def words(first: int, last: int) -> list[str]:
    """What people say."""
    return [f"{MARKER} {number}" for number in range(first, last + 1)]


async def test_a_host_that_dies_every_second_message(site: Site) -> None:
    """Nothing is lost, doubled or out of order, through deaths, a hold after a crash loop, and a resume."""
    site.configure(hooks=["deadly"])
    site.say(*words(1, 2))
    async with site.supervisor("--crashes", "100", "--settle-s", "600", name="patient") as supervisor:
        await site.until(lambda: len(site.told) == 2)
        assert supervisor.log().count('"how": "killed by SIGKILL"') == 1
        assert await supervisor.stop() == 0
    assert site.told == words(1, 2)

    site.say(*words(3, 6))
    async with site.supervisor() as supervisor:
        await supervisor.logged("host.held", PATIENCE_S)
        told = list(site.told)
        assert await site.get("/livez") == (200, '{"live": true}\n')
        code, ready = await site.get("/readyz")
        assert (code, json.loads(ready)["held"]) == (503, (await site.status())["reason"])
        assert "3 unclean ends" in json.loads(ready)["reasons"][0]
        assert "surfaces_held 1.0" in (await site.get("/metrics"))[1]
        code, queue = await site.run("queue")
        assert code == 0
        assert "held: 3 unclean ends" in queue
        assert "killed by SIGKILL" in queue
        assert site.told == told, "a held host said something"

        lines = [await supervisor.line() for _ in range(4)]
        assert [line.split(" ")[0] for line in lines] == ["READY", "READY", "READY", "HELD"]

        site.configure()
        assert (await site.run("resume"))[0] == 0
        await site.until(lambda: len(site.told) == 6)
        assert "s ago: killed by SIGKILL" in (await site.run("supervise", "status"))[1]
        assert (await site.run("releases"))[1].startswith("none in "), "what dies was recorded as good"
        assert await supervisor.stop() == 0
    assert site.told == words(1, 6)
    written = [*site.folder.rglob("*.log"), *(site.folder / "surfaces.supervisor").rglob("*")]
    assert [path for path in written if path.is_file() and MARKER in path.read_text()] == []


async def test_a_bad_config_is_rolled_back(site: Site) -> None:
    """What cannot start is held with its reason; the last config that ran comes back, and the bad one is kept."""
    good = site.config.read_text()
    async with site.supervisor() as supervisor:
        await supervisor.logged("supervise.started", PATIENCE_S)
        supervisor.signal(signal.SIGHUP)  # before the host can listen for it
        await supervisor.logged("supervise.recorded", PATIENCE_S)
        assert "supervise.ended" not in supervisor.log()
        assert await supervisor.stop() == 0
    site.config.write_text(good.replace('"echo"}', '"nobody"}'))
    async with site.supervisor(name="bad") as supervisor:
        await supervisor.logged("supervise.held", PATIENCE_S)
        code, said = await site.run("supervise", "status")
        assert code == 0
        assert "exit code 78 (configuration or revoked credentials): CONFIG: agents[0].transport" in said
        code, said = await site.run("rollback", "--dry-run")
        assert (code, f"{site.config}: 1 lines in, 1 out" in said) == (0, True), said
        code, said = await site.run("rollback")
        assert (code, "ready since" in said) == (0, True), said
        assert site.config.read_text() == good
        (rejected,) = site.folder.glob("surfaces.yaml.rejected-*")
        assert "nobody" in rejected.read_text()
        await supervisor.logged("supervise.recorded", PATIENCE_S)
        code, listed = await site.run("releases")
        assert (code, "  runs" in listed, len(listed.splitlines())) == (0, True, 1), listed
        assert await supervisor.stop() == 0


async def test_a_bad_version_is_rolled_back(site: Site) -> None:
    """The version that ran is installed again, exactly, and what is new in the environment may stay."""
    env = site.folder / "env"
    venv.create(env, symlinks=True)
    (packages,) = env.glob("lib/python*/site-packages")
    (packages / "rest.pth").write_text(f"import site; site.addsitedir({python_site.getsitepackages()[0]!r})\n")
    site.python = str(env / "bin/python")
    wheels = {version: wheel(site.folder, version) for version in FRAGILE}
    zipfile.ZipFile(wheels["1.0"]).extractall(packages)
    site.configure(hooks=["fragile"])
    old = site.folder / "old"
    old.mkdir()
    async with site.supervisor("--crashes", "2") as supervisor:
        await supervisor.logged("supervise.recorded", PATIENCE_S)
        site.configure(hooks=["fragile"], agents=[{"id": name, "transport": "echo"} for name in ("a", "newcomer")])
        supervisor.signal(signal.SIGHUP)
        recorded = site.folder / "surfaces.supervisor/releases"
        await site.until(lambda: any("newcomer" in path.read_text() for path in recorded.glob("*.json")))
        for path in packages.glob("fragile*"):
            path.rename(old / path.name)
        zipfile.ZipFile(wheels["2.0"]).extractall(packages)
        os.kill((await site.status())["host_pid"], signal.SIGKILL)
        await supervisor.logged("host.held", PATIENCE_S)
        local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(site.folder)}
        async with site.program("rollback", name="rollback", **local) as rollback:
            said = await rollback.rest()
            assert await rollback.ended(PATIENCE_S) == 0, said + rollback.log()
        assert "fragile 2.0 -> 1.0" in said
        assert "ready since" in said
        assert "newcomer" in site.config.read_text(), "an agent of the meantime is gone"
        assert [path.name for path in packages.glob("fragile-*")] == ["fragile-1.0.dist-info"]
        assert await supervisor.stop() == 0


async def test_a_hung_host_is_ended_and_its_supervisor_leaves_none_behind(site: Site) -> None:
    """A hang says where it was; and however a supervisor ends, the host ends with it."""
    site.install("hanging", HANGING, "surfaces.hooks", "hanging")
    site.configure(hooks=["hanging"])
    async with site.supervisor("--watchdog-s", "5", "--crashes", "1") as supervisor:
        site.say(MARKER)
        await supervisor.logged("supervise.hung", PATIENCE_S)
        await supervisor.logged("killed by SIGABRT: it hung", PATIENCE_S)
        assert "hanging.py" in supervisor.log()
        await supervisor.logged("host.held", PATIENCE_S)
        host = (await site.status())["host_pid"]
        assert resident_mib(supervisor.pid) < 24
        second = site.supervisor(name="second")
        async with second:
            assert await second.ended() == os.EX_TEMPFAIL
            assert f"process {supervisor.pid} supervises" in second.log()
        supervisor.signal(signal.SIGKILL)
        await supervisor.ended()
        await site.until(lambda: not _lives(host))
    assert MARKER not in supervisor.log()


async def test_a_supervisor_without_a_host_waits_for_a_config(site: Site) -> None:
    """Where not even a held host can start it stays, says why, and tries again what has changed."""
    good = site.config.read_text()
    site.config.write_text("storage: [")
    name = f"{site.folder}/notify"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(name)
        notify.setblocking(False)
        async with site.supervisor(NOTIFY_SOCKET=name, WATCHDOG_USEC="60000000") as supervisor:
            await supervisor.logged("supervise.alone", PATIENCE_S)
            found = await site.status()
            assert (found["state"], found["host_pid"]) == ("held", None)
            assert "is no valid YAML" in found["reason"]
            (site.folder / "away").touch()
            site.config.write_text(good)
            await supervisor.logged("host.open", PATIENCE_S)
            assert (await site.status())["state"] == "starting"
            assert (await site.run("releases"))[1].startswith("none in ")
            assert "recorded" not in supervisor.log()
            (site.folder / "away").unlink()
            await supervisor.logged("supervise.recorded", PATIENCE_S)
            assert await supervisor.stop() == 0
        heard = list[bytes]()
        while heard[-1:] != [b"STOPPING=1"]:
            heard.append(await loop.sock_recv(notify, 1000))
    assert heard[:2] == [b"STATUS=starting", b"WATCHDOG=1"]
    (held,) = [number for number, line in enumerate(heard) if line.startswith(b"STATUS=held: exit code 78")]
    assert heard[held + 1] == b"READY=1", "`systemctl start` would wait for a person"
    start = [b"STATUS=starting", b"STATUS=ready", b"READY=1"]
    assert [line for line in heard[held + 2 :] if line in start] == start
    assert b"STATUS=Opening the state" in heard


def resident_mib(pid: int) -> float:
    """What a process keeps in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
