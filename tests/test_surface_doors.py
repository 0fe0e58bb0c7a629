"""What a surface offers beside messages: commands of its own, and reports for its operator."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from surfaces_core import Command, CommandCall, ConfigError
from surfaces_core.testing.bot import TestBot

CONFIG = """\
storage: {{use: sqlite, path: {path}/s.db}}
surfaces:
  one: {{use: probe, word: "1"}}
  two: {{use: probe, word: "2"}}
transports:
  agent_api: {{}}
agents:
  - {{id: a, base_url: "http://127.0.0.1:1"}}
"""
PROBE = """
import asyncio
from surfaces_core import Receipt, Settings, Surface
class Probe(Surface):
    class Settings(Settings):
        word: str
    reports = {"word": "the word it keeps"}
    runs = False
    async def __aenter__(self):
        if await self.context.store.get("word") is None:
            await self.context.store.put("word", self.settings.word.encode())
        return self
    async def report(self, name):
        yield f"{(await self.context.store.get(name)).decode()} {'runs' if self.runs else 'rests'}"
    async def run(self, intake):
        self.runs = True
        intake.ready()
        await asyncio.Event().wait()
    async def send(self, message):
        return Receipt(remote_id="x")
"""


async def _shout(call: CommandCall) -> str:
    return call.rest.upper()


SHOUT = Command(name="shout", help="says it louder", handler=_shout)


async def test_a_command_of_a_surface_works_in_its_conversations() -> None:
    """It is parsed, listed and run as any other."""
    bot = TestBot(own=[SHOUT])
    async with bot.running():
        await bot.push("!shout hello")
        assert await bot.pop() == "HELLO"
        await bot.push("!help")
        assert "`!shout` – says it louder" in await bot.pop()


async def test_a_command_of_a_surface_is_none_elsewhere() -> None:
    """Another surface knows nothing of it."""
    bot = TestBot(own=[SHOUT])
    hooks = bot.build().hooks
    assert ["shout" in hooks.at(name) for name in (bot.surface.context.name, "another")] == [True, False]


def test_a_command_of_a_surface_that_is_there_already_stops_the_start() -> None:
    """The line says which surface it is."""
    with pytest.raises(ConfigError, match=r"surfaces\..*: the command help is there already"):
        TestBot(own=[Command(name="help", help="x", handler=_shout)]).build()


def surfaces(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program on the config there."""
    return subprocess.run(
        [sys.executable, "-m", "surfaces_core.cli", *arguments, "-c", str(folder / "surfaces.yaml")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config with two surfaces of a driver that is installed here."""
    (tmp_path / "probe.py").write_text(dedent(PROBE), "utf8")
    info = tmp_path / "probe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n", "utf8")
    (info / "entry_points.txt").write_text("[surfaces.surface]\nprobe = probe:Probe\n", "utf8")
    (tmp_path / "surfaces.yaml").write_text(CONFIG.format(path=tmp_path), "utf8")
    return tmp_path


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """A host on the config there."""
    host = subprocess.Popen(
        [sys.executable, "-m", "surfaces_core.cli", "run", "-c", str(folder / "surfaces.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    with host:
        assert host.stdout is not None
        assert host.stdout.readline().startswith(b"READY")
        try:
            yield
        finally:
            host.terminate()


@pytest.mark.slow
def test_a_report_is_told_whether_the_host_runs_or_rests(folder: Path) -> None:
    """By every surface of the driver, or the one that is named."""
    assert surfaces(folder, "probe", "word").returncode == 66
    with running(folder):
        assert surfaces(folder, "probe", "word").stdout == "one:\n1 runs\ntwo:\n2 runs\n"
    assert surfaces(folder, "probe", "word", "--surface", "two").stdout == "2 rests\n"


def test_what_cannot_report_says_so(folder: Path) -> None:
    """Wrong usage is one line."""
    runs = [surfaces(folder, "probe", "sword"), surfaces(folder, "probe", "word", "--surface", "three")]
    assert [run.returncode for run in runs] == [64, 78]
    assert "invalid choice: 'sword'" in runs[0].stderr
    assert "the config has no probe surface three" in runs[1].stderr
