"""The guide for one small machine: its commands are those that there are, and what they set up serves people."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proof.processes import BOT, PASSWORD, ROOT, Program, reference_agent
from surfaces_core.cli import parser
from surfaces_demo.children import free_port
from surfaces_testing.homeserver import FakeHomeserver

GUIDE = (ROOT / "docs/how-to/one-host.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", "", block).splitlines()]
UNITS = ("surfaces.service", "synapse.service", "surfaces-backup.service", "surfaces-backup.timer")
BIN = Path(sys.executable).parent


def test_every_command_of_the_program_is_one() -> None:
    """What the guide has typed after `surfaces` is understood."""
    typed = [re.sub(r"^runuser -u \w+ -- ", "", line) for line in COMMANDS]
    ours = [line.removeprefix("surfaces ") for line in typed if line.startswith("surfaces ")]
    assert len(ours) > 5
    for line in ours:
        words = [word.strip("'\"") for word in re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", line)]
        assert parser().parse_args(words).command == words[0]


def test_every_file_of_the_guide_is_there() -> None:
    """What it copies or runs from the checkout exists."""
    for line in COMMANDS:
        for name in re.findall(r"(?<![\w.-])(?:/opt/src/surfaces/)?((?:deploy|tools|requirements)/[\w./*-]+)", line):
            assert list(ROOT.glob(name)), line


@pytest.mark.parametrize("unit", UNITS)
def test_units_are_in_order(unit: str, tmp_path: Path) -> None:
    """systemd finds nothing wrong with them, but that the programs are not here."""
    text = re.sub(r"(?m)^(Exec\w+=)/opt/\S+", r"\1/bin/true", (ROOT / "deploy" / unit).read_text())
    for other in UNITS:
        (tmp_path / other).write_text(text if other == unit else (ROOT / "deploy" / other).read_text())
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / unit)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if unit in line and "/opt/" not in line] == []


def test_synapse_knows_what_is_laid_over_its_config() -> None:
    """The settings for small machines are few and plain."""
    settings = yaml.safe_load((ROOT / "deploy/synapse.yaml").read_text())
    assert settings["caches"]["global_factor"] < 0.5
    assert settings["presence"] == {"enabled": False}


def section(title: str) -> str:
    """The commands of one step, without what only root may do."""
    text = GUIDE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return re.sub(r"runuser -u surfaces -- |chown surfaces: .env && ", "", lines)


@pytest.mark.slow
async def test_what_the_guide_sets_up_serves_people(tmp_path: Path) -> None:
    """Its config is written by its own commands; the check finds all well, and the host that it starts serves."""
    agents = tmp_path / "agents"
    for name in ("agent-0", "agent-1", "one", "two"):
        (agents / name).mkdir(parents=True)
    (tmp_path / "var").mkdir()
    async with (
        FakeHomeserver() as homeserver,
        reference_agent(agents / "one") as one,
        reference_agent(agents / "two") as two,
    ):
        homeserver.register(BOT, PASSWORD)
        places = {
            "/etc/surfaces": tmp_path / "etc",
            "/var/lib/surfaces": tmp_path / "var",
            "files.root=/agents": f"files.root={agents}",
            "http://127.0.0.1:8008": homeserver.url,
            "@bot:matrix.example.org": BOT,
            "http://127.0.0.1:7000/": one.base_url,
            "http://127.0.0.1:7001/": two.base_url,
            "s|^# ops:|ops:|": f's|^# ops:.*|ops: {{listen: "127.0.0.1:{free_port()}"}}|',
            "a long password": PASSWORD,
            "surfaces agents add": "sed -i 's|# encryption: .*|encryption: false|' surfaces.yaml\nsurfaces agents add",
        }
        script = section("4. The config")
        for there, here in places.items():
            assert there in script
            script = script.replace(there, str(here))
        path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
        async with Program(("bash", "-ec", script), log=tmp_path / "setup.log", env=path) as setup:
            printed = await setup.rest()
            assert await setup.ended() == 0, setup.log() + printed
        assert f"{tmp_path}/etc/surfaces.yaml: all is well" in printed
        config = str(tmp_path / "etc/surfaces.yaml")
        surfaces = str(BIN / "surfaces")
        async with Program((surfaces, "run", "-c", config), log=tmp_path / "host.log") as host:
            await host.ready()
            async with Program((surfaces, "status", "-c", config), log=tmp_path / "status.log") as status:
                assert (await status.rest()).startswith("Users are being served.\n")
