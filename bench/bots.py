"""The bots that are compared, and how each is started."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """One of the compared programs; `socket` says that it needs the echo agent beside it."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    socket: bool = False
    agents: int = 1
    """How many its config lists."""


def person_id(number: int) -> str:
    """Who talks to the bot."""
    return f"@ann{number}:hs.test"


def agent_id(number: int) -> str:
    """What an agent of the config is called; a person has the one of their number, or the only one."""
    return f"echo{number}"


def nio() -> Bot:
    """The yardstick, in an environment of its own where `make bench` made one."""
    own = CHECKOUT / ".bench/bin/python"
    python = str(own if own.exists() else sys.executable)
    return Bot(name="nio", command=[python, str(PROGRAMS / "nio_echo.py")], env={})


def bare() -> Bot:
    """The least."""
    return Bot(name="bare", command=[sys.executable, str(PROGRAMS / "bare_echo.py")], env={})


def surfaces(folder: Path, *, transport: str = "bench_echo", agents: int = 1) -> Bot:
    """The host with Matrix, SQLite and one transport; `folder` gets its config."""
    _install_transports(folder)
    config = folder / f"{transport}-{agents}.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(_config(transport, agents)))
    command = [str(Path(sys.executable).with_name("surfaces")), "run", "-c", str(config)]
    socket = transport == "agent_api"
    name = "surfaces_agent" if socket else "surfaces"
    env = {"PYTHONPATH": str(folder / "path")}
    return Bot(name=name, command=command, env=env, socket=socket, agents=agents)


def _config(transport: str, agents: int) -> Mapping[str, object]:
    account = {
        "homeserver": "${MATRIX_HOMESERVER}",
        "user_id": "${MATRIX_USER_ID}",
        "password": {"env": "MATRIX_PASSWORD"},
    }
    where = {"base_url": "${AGENT_URL}"} if transport == "agent_api" else {}
    return {
        "storage": {"use": "sqlite", "path": "${STATE}/surfaces.db"},
        "surfaces": {"matrix": account},
        "transports": {transport: {}},
        "agents": [{"id": agent_id(number), "transport": transport, **where} for number in range(agents)],
        "user_agents": {person_id(number): agent_id(number) for number in range(agents)},
        # A lane deeper than the burst, so that nothing is refused; all else as it comes.
        "host": {"log_level": "warning", "max_lane_depth": 5000},
    }


def _install_transports(folder: Path) -> None:
    """A distribution that offers the transports of the bench, on a path of its own."""
    meta = folder / "path/surfaces_bench-0.dist-info"
    meta.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROGRAMS / "bench_transports.py", folder / "path")
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: surfaces-bench\nVersion: 0\n")
    points = "bench_echo = bench_transports:Echo\nbench_mute = bench_transports:Mute\n"
    (meta / "entry_points.txt").write_text(f"[surfaces.transport]\n{points}")
