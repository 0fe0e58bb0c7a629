"""The simulation: thousands of turns under faults keep the promise, alike every time, and bugs are caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from proof.simulation import Result, simulate
from proof.simulation.agents import SimulatedTransport
from proof.simulation.disk import SimulatedStorage
from proof.simulation.isolation import isolation
from proof.simulation.judge import Judge
from proof.simulation.life import Life
from proof.simulation.lives import PACE
from proof.simulation.planted import BUGS, DELAYS, planted
from proof.simulation.stage import AGENTS, Stage
from proof.simulation.story import Act, Chat, Plan, Said
from proof.simulation.surface import SimulatedSurface
from proof.simulation.weather import CALM, DEADLY, ROUGH, Weather, stream
from surfaces_core import Address, Agent, Inbound
from surfaces_core.contracts import SurfaceContext
from surfaces_core.testing import virtual_time
from surfaces_core.testing.checks.storage import STORAGE_CHECKS, StorageCheck
from surfaces_core.testing.checks.surface import SURFACE_CHECKS, SurfaceBench, SurfaceCheck
from surfaces_core.testing.checks.transport import TRANSPORT_CHECKS, TransportBench, TransportCheck
from surfaces_core.testing.memory_surface import memory_context

ROOT = Path(__file__).parents[1]


# What the simulation says of the host --------------------------------------------------------------


@pytest.mark.parametrize(("seed", "weather"), [(1, ROUGH), (3, ROUGH), (4, DEADLY), (5, DEADLY)])
def test_thousands_of_turns_under_faults_keep_the_promise(seed: int, weather: Weather) -> None:
    """Nothing is lost, doubled, out of order or torn, whatever fails and whenever the host dies; nothing grows."""
    result = simulate(seed, 2500, weather=weather)
    assert not result.failures, result.summary() + result.report()
    assert result.turns >= 2500
    assert result.deaths["killed"] >= 3
    assert result.endings["answered"] >= 1000
    assert result.left_rows == 0
    early, late = result.objects
    assert late < 1.2 * early


def test_agents_that_are_away_delay_nobody_else() -> None:
    """Who talks to another agent waits no longer than on a day when all are there."""
    found = isolation(1, 1200)
    assert not found.failures
    assert found.delayed == (), (found.calm_s, found.away_s)


# That it is what it says -----------------------------------------------------------------------------


def digest(seed: int, turns: int, hash_seed: str) -> str:
    """Of a simulation in a process of its own."""
    command = [sys.executable, "-m", "proof.simulation", "--seed", str(seed), "--turns", str(turns), "--json"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: str = json.loads(done.stdout)["digest"]
    return found


def test_the_same_seed_is_the_same_world() -> None:
    """To the byte: here, and in processes in which sets of texts have another order; another seed is another world."""
    here = simulate(7, 600)
    assert here.digest == digest(7, 600, "1") == digest(7, 600, "2")
    assert here.digest != simulate(8, 600).digest


def test_a_result_is_a_value() -> None:
    """It goes through JSON and comes back."""
    result = simulate(5, 50, weather=CALM)
    assert json.loads(json.dumps(asdict(result)))["digest"] == result.digest


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str) -> None:
    """Within a few thousand turns, with what a developer needs to see it."""
    result = first_failure(bug, [10, 5, 6, 7])
    failure = result.failures[0]
    assert failure.conversation in result.report()
    assert f"seed {result.seed}" in result.report()
    assert failure.trace
    assert sum(f" {failure.conversation} " in line for line in failure.trace) <= 40


def first_failure(bug: str, seeds: Sequence[int]) -> Result:
    """The first world in which a bug shows."""
    with planted(bug):
        for seed in seeds:
            result = simulate(seed, 2200, weather=DEADLY)
            if result.failures:
                return result
    raise AssertionError(f"{bug} went unnoticed")


@pytest.mark.parametrize("bug", DELAYS)
def test_a_planted_delay_is_caught(bug: str) -> None:
    """Others wait longer, which shows."""
    with planted(bug):
        assert isolation(1, 1200).delayed


# That its doubles keep the contracts that they stand in for ------------------------------------------


def calm() -> Stage:
    """A world in which nothing happens by itself."""
    return Stage(1, CALM, (), None)


def life() -> Life:
    """One that never ends."""
    return Life(1, steps=None, only=None, died=lambda _where: None)


def fair() -> Weather:
    """Nothing goes wrong."""
    return CALM


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
async def test_the_storage_keeps_the_contract(check: StorageCheck) -> None:
    """Each promise of a storage holds while nothing fails."""
    stage = calm()
    await check(lambda: SimulatedStorage(stage.disk, life(), fair, stream(1, "disk"), stage.trace))


def chat(name: str) -> Chat:
    """A conversation."""
    return Chat(
        name=name,
        surface="alpha",
        person="@ann",
        agent=AGENTS[0],
        once=False,
        interruptible=True,
        steady=True,
    )


NOT_PLAYED = ("check_fetch_refused", "check_replaces")
"""What the story of the simulation has no use for."""


@pytest.mark.parametrize(
    "check", [check for check in SURFACE_CHECKS if check.__name__ not in NOT_PLAYED], ids=lambda check: check.__name__
)
def test_the_surface_keeps_the_contract(check: SurfaceCheck) -> None:
    """Each promise of a surface holds while nothing fails."""
    stage = calm()
    messenger = stage.messengers["alpha"]
    messenger.chats["home"] = chat("home")
    address = Address(surface="alpha", conversation="home")

    async def push(text: str) -> None:
        number = messenger.end + 1
        messenger.take(Inbound(address=address, event_id=f"${number}", sender="@ann", sent_at=number, text=text))

    async def shown() -> list[str]:
        return [message.text for message in messenger._shown.values()]

    def make() -> SimulatedSurface:
        context: SurfaceContext = memory_context("alpha")
        return SimulatedSurface(messenger, context, life(), fair, stream(1, "alpha"), rooms=False, pace=PACE)

    async def nothing() -> None:  # it never forgets a key, and has no devices
        return

    async def main() -> None:
        await check(
            SurfaceBench(make=make, address=address, push=push, shown=shown, forget=nothing, other_device=nothing)
        )

    virtual_time.run(main())


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__)
def test_the_transport_keeps_the_contract(check: TransportCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise of a transport holds while nothing fails."""
    stage = calm()
    here = chat("home")

    # the judge knows what was asked; here anybody may ask anything
    def asked(_self: Judge, text: str, _request: str) -> Said:
        plan = Plan(token="home", chunks=("a ", "b ", "c "), pause_s=0.1)
        return Said(chat=here, number=1, turn="t", act=Act.QUESTION, text=text, at=0.0, ends=0, failures=0, plan=plan)

    monkeypatch.setattr(Judge, "asked", asked)
    agents = [Agent(id=name, label=name, transport="simulated", workspace="/") for name in AGENTS[:3:2]]
    stage.agents.away_until[AGENTS[2]] = float("inf")
    bench = TransportBench(
        make=lambda: SimulatedTransport(stage.agents, life(), fair, stream(1, "agents")),
        agent=agents[0],
        unreachable=agents[1],
    )

    async def main() -> None:
        await check(bench)

    virtual_time.run(main())
