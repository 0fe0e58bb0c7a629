"""`/metrics`: what it counts is what happened, in a format that its readers know, with few labels."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proof.house import House, Person
from proof.processes import reference_agent
from surfaces_core import Address, Kind, Rejected, Text, Unavailable
from surfaces_core._config.settings import HostSettings, OpsSettings
from surfaces_core._host.lifecycle import Engine
from surfaces_core._operating.metrics import CODES, READINGS, Metrics, View
from surfaces_core._operating.pulse import Pulse
from surfaces_core.events import Accepted, Inbound, Observed, Postponed, TurnEnded
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport, Step
from surfaces_testing.homeserver import FakeHomeserver, Status

HERE = Address(surface="memory", conversation="a-conversation-that-must-not-show")
Values = Mapping[str, float]
"""By name, with the labels that it has in braces."""


def parsed(text: str) -> Values:
    """The samples of a page."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values


def some(values: Values, prefix: str) -> Values:
    """Those samples of a metric that are not nothing, by what stands behind its name."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix) and value}


async def page(engine: Engine) -> Values:
    """What a host says of itself."""
    answer = await engine.operations.pages()["/metrics"]()
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.body.decode())


@asynccontextmanager
async def measured(bot: TestBot) -> AsyncIterator[Engine]:
    """One life of a host whose config has `ops:`."""
    bot.engine = engine = replace(bot.build(), ops=OpsSettings(listen="127.0.0.1:0"))
    ready = asyncio.Event()
    engine.on_ready = ready.set
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run())
        await ready.wait()
        yield engine
        engine.stop()


async def until(condition: Any) -> None:
    """Let the host go on until something is so."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0)


# What is counted -------------------------------------------------------------------------------------


async def test_a_scripted_run_is_counted_as_it_was() -> None:
    """Turns by how they ended, what was put off and why, what was passed over, what came and what shows."""
    gone = Unavailable("no", code="AGENT_UNREACHABLE")
    steps: list[Step] = [Text("one"), gone, gone, gone, Rejected("no", code="AGENT_ERROR"), Text("two")]
    bot = TestBot(
        transport=ScriptedTransport.answering(lambda _request: [steps.pop(0)]),
        settings=HostSettings(max_tries=3, retry_base_s=0.001, retry_cap_s=0.002),
    )
    async with measured(bot) as engine:
        await bot.push("hello")
        await bot.pop()
        await bot.push("!help")
        await bot.pop()
        await bot.messenger.say("I missed some.", kind=Kind.GAP)
        await bot.pop()
        for _ in range(2):
            await bot.push("hello")
            await bot.pop()
        bot.messenger.faults += [Unavailable("no", code="BUSY"), Rejected("no")]
        await bot.push("hello")
        await bot.pop()
        await until(lambda: not len(engine.deliveries["memory"].lanes))
        values = await page(engine)
    assert some(values, "surfaces_turns_total") == {
        "{outcome=answered}": 2,
        "{outcome=command}": 1,
        "{outcome=dead}": 2,
        "{outcome=failed}": 1,
    }
    assert values["surfaces_turn_seconds_count"] == 6
    assert some(values, "surfaces_retries_total") == {"{reason=AGENT_UNREACHABLE}": 2, "{reason=BUSY}": 1}
    assert some(values, "surfaces_received_total") == {"{kind=gap}": 1, "{kind=message}": 5}
    assert some(values, "surfaces_gaps_total") == {"{cause=PASSED_OVER}": 1}
    assert values["surfaces_delivered_total"] == 6
    assert values["surfaces_dead_letters"] == 3
    assert values["surfaces_ready"] == values["surfaces_surface_connected{surface=memory}"] == 1


async def test_what_waits_is_measured_when_somebody_asks() -> None:
    """Depth and age of the oldest, on both sides; nothing when nothing waits."""
    now = 1000.0
    gate = asyncio.Event()
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [gate, Text("done")]), now=lambda: now)
    async with measured(bot) as engine:
        before = await page(engine)
        await bot.push("hello")
        await bot.push("hello again")
        await bot.push("hello", conversation="other")
        await until(lambda: len(engine.turns.lanes) == 3)
        now = 1042.5
        waiting = await page(engine)
        bot.messenger.held.add("home")
        gate.set()
        await until(lambda: len(engine.deliveries["memory"].lanes) == 2 and not len(engine.turns.lanes))
        now = 1050.0
        held = await page(engine)
        engine.settings = bot.settings.model_copy(update={"shutdown_grace_s": 0})
    names = ["inbox_depth", "inbox_oldest_seconds", "outbox_depth", "outbox_oldest_seconds"]
    found = [[values[f"surfaces_{name}"] for name in names] for values in (before, waiting, held)]
    assert found == [[0, 0, 0, 0], [3, 42.5, 0, 0], [0, 0, 2, 7.5]]


async def test_agents_and_surfaces_that_are_away_are_counted() -> None:
    """How many agents, and which surface."""
    away = Unavailable("no", code="AGENT_UNREACHABLE")
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [away]))
    async with measured(bot) as engine:
        assert (await page(engine))["surfaces_agents_down"] == 0
        await bot.push("hello")
        await until(lambda: engine.peers.down)
        engine.operations.health.lost("memory", Unavailable("no"))
        values = await page(engine)
    assert values["surfaces_agents_down"] == 1
    assert values["surfaces_ready"] == values["surfaces_surface_connected{surface=memory}"] == 0


# The shape -------------------------------------------------------------------------------------------


def nothing() -> View:
    """A host with nothing in it."""
    engine = TestBot().build()
    return View(report=engine.operations.health.report(), inbox=[], outbox=[], pulse=Pulse())


async def test_labels_have_few_values() -> None:
    """However many codes far sides make up, only so many are told apart; no conversation is ever named."""
    metrics = Metrics(nothing)
    events: list[Observed] = [
        Postponed(turn="t", address=HERE, part=None, reason=f"CODE_{number}", tries=1, wait_s=1.0)
        for number in range(10 * CODES)
    ]
    message = Inbound(address=HERE, event_id="$1", sender="@ann", sent_at=1.0, kind=Kind.GAP)
    events += [Accepted(message=replace(message, cause=f"a cause {number}"), turn="t") for number in range(100)]
    for event in events:
        metrics.observe(event)
    text = metrics.text().decode()
    values = parsed(text)
    assert len(some(values, "surfaces_retries_total")) == CODES + 1
    assert values["surfaces_retries_total{reason=OTHER}"] == 9 * CODES
    assert some(values, "surfaces_gaps_total") == {"{cause=OTHER}": 100}
    assert HERE.conversation not in text
    assert len(text) < 30_000


async def test_every_metric_says_what_it_is() -> None:
    """Each family has its type and its help, and the process stands beside ours."""
    metrics = Metrics(nothing)
    metrics.observe(TurnEnded(turn="t", address=HERE, outcome="answered", seconds=0.3))
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    assert all(family.documentation and family.type != "unknown" for family in families.values())
    assert families["surfaces_turn_seconds"].type == "histogram"
    assert families["surfaces_turns"].type == families["surfaces_loop_stalled_seconds"].type == "counter"
    assert {reading.name for reading in READINGS} <= families.keys()
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_info"} <= families.keys()


async def test_a_host_that_nobody_may_ask_has_no_metrics() -> None:
    """Without `ops:` nothing is counted."""
    bot = TestBot()
    async with bot.running():
        assert "/metrics" not in bot.engine.operations.pages()


def test_who_needs_no_metrics_does_not_wait_for_them() -> None:
    """The library is imported only for a host whose config has `ops:`."""
    code = "import sys, surfaces_core._program.commands; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_a_loop_that_is_held_up_is_measured() -> None:
    """Its worst lateness is remembered for a while, and the time lost adds up."""
    pulse = Pulse()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(pulse.run())
        await asyncio.sleep(0)
        assert (pulse.lag_s, pulse.stalled_s) == (0.0, 0.0)
        time.sleep(0.5)  # noqa: ASYNC251 - this is the stall
        await until(lambda: pulse.stalled_s)
        beating.cancel()
    assert pulse.lag_s >= 0.2
    assert pulse.stalled_s >= 0.2


# The program -----------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that is free right now."""
    with socket.socket() as some_socket:
        some_socket.bind(("127.0.0.1", 0))
        return int(some_socket.getsockname()[1])


async def fetched(port: int) -> Values:
    """What a real host answers to a real client."""

    def fetch() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return str(answer.read().decode())

    return parsed(await asyncio.to_thread(fetch))


@pytest.mark.slow
async def test_a_real_run_is_counted_as_people_saw_it(tmp_path: Path) -> None:
    """With a homeserver that fails now and then, what is counted is what was said and shown."""
    port = free_port()
    (tmp_path / "agents").mkdir()
    async with reference_agent(tmp_path / "agents") as agent, FakeHomeserver() as homeserver:
        house = House(homeserver, agent, tmp_path)
        house.configure(ops={"listen": f"127.0.0.1:{port}"})
        async with house.host() as host:
            person = Person(house)
            await person.enter()
            for number in range(1, 4):
                person.say(f"m{number}")
                await person.hears(f"You said: m{number}. (message {number} in this context)")
            house.hs.fault("send", Status(status=403, errcode="M_FORBIDDEN"))
            person.say("m4")
            await person.hears("A part of this answer could not be shown here.")
            values = await _when_delivered(port, 6)
            assert await host.stop() == 0
    assert some(values, "surfaces_turns_total") == {"{outcome=answered}": 4, "{outcome=done}": 1}
    assert some(values, "surfaces_received_total") == {"{kind=message}": 4, "{kind=start}": 1}
    assert (values["surfaces_dead_letters"], values["surfaces_ready"]) == (1, 1)
    assert values["surfaces_turn_seconds_count"] == 5
    assert values["process_resident_memory_bytes"] > 20e6


async def _when_delivered(port: int, count: int) -> Values:
    """The metrics as soon as so many parts show, and nothing waits."""
    async with asyncio.timeout(30):
        while True:
            values = await fetched(port)
            if values["surfaces_delivered_total"] >= count and not values["surfaces_outbox_depth"]:
                return values
