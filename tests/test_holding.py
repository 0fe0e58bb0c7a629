"""A host that is held: operators see and change what waits, and nothing of it moves until it runs again."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from surfaces_core import ConfigError, Text, Unavailable
from surfaces_core._config.settings import Config, HostSettings
from surfaces_core._engine.journal import Journal
from surfaces_core._host.ending import say_why
from surfaces_core._host.holding import HeldHost, load
from surfaces_core._operating.requests import Request, answer
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.memory_storage import MemoryStorage
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step

REASON = "3 unclean ends in 12 s"
GONE = Unavailable("no agent there", code="AGENT_UNREACHABLE")
CONFIG = """\
storage: {use: memory}
surfaces: {memory: {}}
transports: {echo: {}}
agents: [{id: a, transport: echo}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One that is in order."""
    path = tmp_path / "surfaces.yaml"
    path.write_text(CONFIG)
    return load(path)


async def asked(host: HeldHost, do: str) -> dict[str, object]:
    """The end of what it answers its operator."""
    lines = [line async for line in answer(host.asked, Request.model_validate({"do": do}))]
    return dict(lines[-1]["end"])


async def test_a_held_host_lets_operators_look_and_act(config: Config) -> None:
    """It says that it is held and why, and a dead letter that is retried then is answered when the host runs again."""
    steps: list[Step] = [GONE, Text("at last")]
    transport = ScriptedTransport.answering(lambda _request: [steps.pop(0)])
    bot = TestBot(transport=transport, settings=HostSettings(max_tries=1, retry_base_s=0.001, retry_cap_s=0.002))
    async with bot.running():
        await bot.push("hello")
        assert "could not get an answer" in await bot.pop()
    async with MemoryStorage(disk=bot.disk) as storage:
        journal = Journal(storage)
        host = HeldHost(storage, journal, await journal.open(), config, REASON)
        assert (await asked(host, "retry"))["retried"] == 1
        queue = await asked(host, "queue")
        assert (queue["running"], queue["inbox"], queue["reasons"]) == (True, 1, [f"held: {REASON}"])
        whole = await host.overview()
        assert whole.verdict == f"Not served: the host is held: {REASON}."
        pages = host.pages()
        ready = await pages["/readyz"]()
        assert (ready.status, json.loads(ready.body)["held"]) == (503, REASON)
        assert json.loads(ready.body)["storage"]["writable"]
        assert (await pages["/livez"]()).status == 200
        measured = (await pages["/metrics"]()).body
        assert b"surfaces_held 1.0" in measured
        assert b"surfaces_inbox_depth 1.0" in measured
        assert REASON in (await pages["/"]()).body.decode()
        await journal.lease.release()
    assert len(steps) == 1, "a held host asked an agent"
    async with bot.running():
        assert await bot.pop() == "at last"


def test_what_is_wrong_elsewhere_is_no_obstacle(tmp_path: Path) -> None:
    """A config that cannot run may be held: that it cannot run may be why."""
    path = tmp_path / "surfaces.yaml"
    wrong = CONFIG.replace("agents: [{id: a, transport: echo}]", "agents_file: agents.yaml\nhooks: [1]\nnonsense: yes")
    path.write_text(wrong.replace("{memory: {}}", "3"))
    (tmp_path / "agents.yaml").write_text("agents: [")
    assert load(path).storage.use == "memory"


@pytest.mark.parametrize(
    "change",
    [
        ("{use: memory}", "{}"),
        ("storage: {use: memory}", "host: {locale: xx}"),
        ("memory}", "memory}\nhost: {lokale: en}"),
    ],
)
def test_a_state_that_cannot_be_found_is_not_held(tmp_path: Path, change: tuple[str, str]) -> None:
    """What a held host needs of the config must be right."""
    path = tmp_path / "surfaces.yaml"
    path.write_text(CONFIG.replace(*change))
    with pytest.raises(ConfigError):
        load(path)


def test_who_ends_a_host_at_once_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal is no bug."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        say_why(asyncio.CancelledError())
        with pytest.raises(BlockingIOError):
            notify.recv(1000)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("storage", "missing", file="s.yaml", line=1), "CONFIG: storage: missing (s.yaml:1)"),
        (RuntimeError("what somebody said"), "BUG: RuntimeError; its log has the rest"),
        (ExceptionGroup("two", [ValueError("x"), GONE]), "AGENT_UNREACHABLE: no agent there"),
    ],
)
def test_a_supervisor_is_told_why_a_host_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """In one line; of a bug only its kind, as its words may be anybody's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        say_why(error)
        assert notify.recv(1000).decode() == f"STATUS={said}\nX_SURFACES_END={said}"
