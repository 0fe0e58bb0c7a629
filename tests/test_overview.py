"""The page and the command that say whether people are served: what each fault makes of the verdict."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from proof.house import House, Person
from proof.processes import AGENT, HOST, WORKSPACE, Agent, Program, write_config
from surfaces_core import Rejected
from surfaces_core._engine.gate import Trouble
from surfaces_core._engine.peers import Record
from surfaces_core._operating import looks
from surfaces_core._operating.health import Report, StorageState, SurfaceState
from surfaces_core._operating.looks import Look
from surfaces_core._operating.overview import MOST_AGENTS, AgentFacts, Facts, Standing, overview
from surfaces_core._operating.page import HEADERS, page
from surfaces_core._operating.queue import Waiting
from surfaces_core.cli import main
from surfaces_core.contracts import Condition, Health
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport
from surfaces_demo.children import free_port
from surfaces_testing.homeserver import FakeHomeserver, Status

NOW = 1_000_000.0
WELL = SurfaceState(connected=True, admits=True, decrypts=None, exchanged_s=3.0, outbox=0, reasons=())
REPORT = Report(
    ready=True,
    stopping=False,
    storage=StorageState(write_s=0.001),
    loop_lag_s=0.0,
    surfaces={"matrix": WELL},
    agents_down=(),
    inbox=0,
    outbox=0,
    dead_letters=0,
    reasons=(),
)
ANSWERED = AgentFacts(record=Record(answered_at=NOW - 60))
GONE = AgentFacts(look=Look(at=NOW, health=Health(reachable=False, code="AGENT_UNREACHABLE")))
FACTS = Facts(
    now=NOW,
    started_at=NOW - 3600,
    version="1",
    report=REPORT,
    inbox=(),
    outbox=(),
    agents={"agent-0": ANSWERED, "agent-1": ANSWERED},
    free_mib=5000,
    resident_mib=80,
    measured=True,
)
LANE = Waiting(
    box="in",
    surface="matrix",
    conversation="!secret:hs",
    depth=2,
    oldest_s=90.0,
    state="ready",
    tries=0,
    next_s=None,
    error="",
)
AWAY = replace(WELL, connected=False, reasons=("the messenger is away",))


def reported(**changes: Any) -> Facts:
    """The facts with another report."""
    return replace(FACTS, report=replace(REPORT, **changes))


def failing(times: int) -> AgentFacts:
    """An agent that greets and then fails."""
    trouble = Trouble(since=NOW, code="AGENT_ERROR")
    return AgentFacts(record=Record(answered_at=NOW - 60, trouble=trouble, in_row=times))


# The verdict ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "state", "said"),
    [
        (FACTS, "served", "Users are being served."),
        (replace(FACTS, agents={}), "served", "Users are being served."),
        (replace(FACTS, agents={"agent-0": AgentFacts()}), "served", "Users are being served."),
        (reported(dead_letters=7), "served", "Users are being served."),
        (reported(held="it crashed"), "not served", "the host is held: it crashed"),
        (reported(stopping=True), "not served", "the host is stopping"),
        (reported(storage=StorageState(writable=False, problem="full")), "not served", "cannot be written: full"),
        (reported(loop_lag_s=1.5), "degraded", "the event loop was 1.5 s late"),
        (
            reported(registry="a.yaml:3: no agent has the id x"),
            "degraded",
            "the registry was refused: a.yaml:3: no agent has the id x; the old one is in use",
        ),
        (reported(surfaces={"matrix": AWAY}), "not served", "matrix: the messenger is away"),
        (reported(surfaces={"matrix": AWAY, "other": WELL}), "degraded", "matrix: the messenger is away"),
        (reported(surfaces={"matrix": replace(AWAY, reasons=())}), "not served", "matrix: it is not connected"),
        (reported(surfaces={"m": replace(WELL, admits=False, reasons=("nobody",))}), "not served", "m: nobody"),
        (reported(surfaces={"m": replace(WELL, decrypts=False, reasons=("no keys",))}), "degraded", "m: no keys"),
        (replace(FACTS, free_mib=150), "degraded", "only 150 MiB"),
        (replace(FACTS, inbox=(LANE,)), "degraded", "a message waits for 90 s"),
        (replace(FACTS, inbox=(replace(LANE, oldest_s=30.0),)), "served", "Users"),
        (replace(FACTS, inbox=(replace(LANE, state="running"),)), "served", "Users"),
        (replace(FACTS, inbox=(replace(LANE, tries=3),)), "served", "Users"),
        (replace(FACTS, outbox=(replace(LANE, box="out"),)), "degraded", "an answer waits for 90 s"),
        (
            replace(FACTS, agents={"a": ANSWERED, "b": GONE}),
            "degraded",
            "agent b cannot be reached (AGENT_UNREACHABLE)",
        ),
        (replace(FACTS, agents={"b": GONE}), "not served", "agent b cannot be reached (AGENT_UNREACHABLE)"),
        (replace(FACTS, agents={str(n): GONE for n in range(9)}), "not served", "0 cannot be reached"),
        (replace(FACTS, agents={"a": ANSWERED, "b": failing(3)}), "degraded", "agent b fails every turn (AGENT_ERROR)"),
        (replace(FACTS, agents={"a": failing(2)}), "served", "Users"),
    ],
)
def test_a_verdict_says_whether_people_are_served(facts: Facts, state: str, said: str) -> None:
    """One sentence says it, with a remedy for each reason; what is nobody's fault of ours is none."""
    told = overview(facts)
    assert told.state == state
    assert said in told.verdict
    assert bool(told.reasons) == (state != "served")
    assert all(why.remedy for why in told.reasons)


def test_the_gravest_reason_is_the_verdict() -> None:
    """What leaves nobody served stands before what only makes it worse, and the rest is counted."""
    told = overview(replace(reported(storage=StorageState(writable=False, problem="full")), free_mib=1))
    assert told.verdict == "Not served: the state cannot be written: full (and 1 more)."


def test_news_of_an_agent_count_by_their_age() -> None:
    """A look after a failure clears it, an answer after a failed look too, and a failure after a look stands."""
    back = Look(at=NOW - 1, health=Health(reachable=True))
    down = Trouble(since=NOW - 50, code="AGENT_UNREACHABLE")
    late = Record(answered_at=NOW - 5)
    cases = [
        (AgentFacts(down=down, look=back), "yes"),
        (AgentFacts(record=late, look=replace(GONE.look or back, at=NOW - 9)), "yes"),
        (AgentFacts(record=Record(trouble=Trouble(since=NOW, code="X")), down=down, look=back), "no"),
        (AgentFacts(look=Look(at=NOW, health=Health(reachable=None))), "unknown"),
    ]
    rows = overview(replace(FACTS, agents={str(n): facts for n, (facts, _) in enumerate(cases)})).agents
    assert {row.id: row.answers for row in rows} == {str(n): wanted for n, (_, wanted) in enumerate(cases)}


def test_of_many_agents_the_worst_are_listed() -> None:
    """Those that cannot be reached come first, and how many are left out is said."""
    told = overview(replace(FACTS, agents={**{f"a{n:04}": ANSWERED for n in range(9999)}, "z": GONE}))
    assert told.agents[0].id == "z"
    assert (len(told.agents), told.agents_left_out) == (MOST_AGENTS, 10_000 - MOST_AGENTS)


# The page ---------------------------------------------------------------------------------------------


def test_the_page_stands_alone() -> None:
    """Nothing is fetched, nothing runs, its style is the one that its policy allows, and names are no markup."""
    hostile = "<script>alert(1)</script>\"'&"
    facts = replace(reported(surfaces={hostile: replace(AWAY, reasons=(hostile,))}), agents={hostile: GONE})
    answer = page(overview(facts))
    html = answer.body.decode()
    assert answer.status == 503
    assert hostile not in html
    assert html.count("&lt;script&gt;") >= 4
    assert not re.search(r"<(script|link|img|iframe|form)|\bsrc=|\bhref=|\bstyle=|url\(|@import", html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{allowed}'" in HEADERS["Content-Security-Policy"]
    assert HEADERS["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_names_nobody() -> None:
    """Neither people nor conversations show, whatever waits."""
    told = overview(replace(FACTS, inbox=(LANE,), outbox=(replace(LANE, box="out"),)))
    assert "!secret" not in page(told).body.decode() + json.dumps(told.as_json())


# A host in memory -------------------------------------------------------------------------------------


async def look(bot: TestBot) -> Standing:
    """What the host says of itself now."""
    assert bot.engine.operations.asked.overview is not None
    return await bot.engine.operations.asked.overview()


async def test_what_an_agent_did_is_told() -> None:
    """Its last answer, its last failure, and that its last turns all failed."""
    fails = Rejected("no", code="BROKEN")
    steps: list[Any] = [fails, None, fails, fails, fails]
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [step] if (step := steps.pop(0)) else []))
    async with bot.running():
        for turns in (2, 2, 1):
            assert (await look(bot)).state == "served"
            for _ in range(turns):
                await bot.push("hello")
                await bot.pop()
        told = await look(bot)
    assert (told.agents[0].answers, told.agents[0].failure) == ("failing", "BROKEN")
    assert told.verdict == "Not served: agent agent-0 fails every turn (BROKEN)."


async def test_an_agent_that_nobody_talks_to_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks sees it go and come back; what was found out just now is not found out again."""
    found = Health(reachable=False, code="AWAY")
    transport = ScriptedTransport()
    transport.health = lambda _agent: found
    bot = TestBot(transport=transport)
    async with bot.running():
        assert (await look(bot)).state == "not served"
        assert (await look(bot)).state == "not served"
        assert transport.checked == ["agent-0"]
        found = Health(reachable=True)
        monkeypatch.setattr(looks, "FRESH_S", 0.0)  # time passes
        assert (await look(bot)).state == "served"


async def test_a_look_that_fails_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport with a bug, and one that takes for ever, keep nobody from the rest of the page."""
    monkeypatch.setattr(looks, "WAIT_S", 0.02)  # the bound itself is what is tested
    bot = TestBot()
    forever = asyncio.Event()

    async def hangs(agent: Any) -> Health:
        await forever.wait()
        raise ZeroDivisionError

    bot.transport.check = hangs  # type: ignore[method-assign]
    async with bot.running():
        assert (await look(bot)).agents[0].answers == "unknown"
        forever.set()
        assert (await look(bot)).state == "served"


async def test_work_is_told_for_each_agent() -> None:
    """What runs and what waits behind it, with the age of the oldest."""
    gate = asyncio.Event()
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [gate]))

    async def working() -> tuple[int, int]:
        (row,) = (await look(bot)).agents
        return row.running, row.waiting

    async with bot.running():
        await bot.push("one")
        await bot.push("two")
        async with asyncio.timeout(5):
            while await working() != (1, 1):  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0)
        gate.set()
        await bot.pop()
        await bot.pop()
        assert await working() == (0, 0)


async def test_a_turn_that_was_stopped_says_nothing_of_the_agent() -> None:
    """Whoever stops an answer leaves the agent's record as it was."""
    bot = TestBot(transport=ScriptedTransport.answering(lambda _request: [asyncio.Event()]))
    async with bot.running():
        await bot.push("hello")
        async with asyncio.timeout(5):
            while not (await look(bot)).agents[0].running:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0)
        await bot.push("!stop")
        await bot.pop()
        row = (await look(bot)).agents[0]
    assert (row.answers, row.failure, row.answered_s) == ("unknown", "", None)


async def test_a_surface_that_admits_nobody_serves_nobody() -> None:
    """Its own reason is the verdict."""
    bot = TestBot()
    async with bot.running():
        bot.surface.condition = lambda: Condition(admits=False, reasons=("all are denied",))  # type: ignore[method-assign]
        assert (await look(bot)).verdict == "Not served: memory: all are denied."


# A host that runs -------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="function")
async def homeserver() -> AsyncIterator[FakeHomeserver]:
    """One for a test."""
    async with FakeHomeserver() as homeserver:
        yield homeserver


async def status(house: House, *options: str) -> tuple[int, str]:
    """Exit code and output of `surfaces status`."""
    words = (*HOST, "status", *options, "-c", str(house.config))
    async with Program(words, log=house.folder / "status.log") as program:
        printed = await program.rest()
        return await program.ended(), printed


class Watching:
    """Somebody who looks at the page."""

    def __init__(self, http: aiohttp.ClientSession, port: int) -> None:
        self._http = http
        self._address = f"http://127.0.0.1:{port}/"

    async def sees(self, code: int, verdict: str) -> str:
        """Look until the page says so; all of it."""
        async with asyncio.timeout(40):
            while True:
                async with self._http.get(self._address) as response:
                    html = await response.text()
                    said = re.findall(r"<h1>(.*?)</h1>", html)
                if response.status == code and said and verdict in said[0]:
                    return html
                await asyncio.sleep(0.05)


def test_without_a_host_nobody_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says so and ends with 69, in words and for programs; the state is left alone."""
    agent = Agent(base_url="http://127.0.0.1:9/", volume=tmp_path, workspace=tmp_path)
    config = write_config(tmp_path, "http://127.0.0.1:9", agent)
    assert main(["status", "-c", str(config)]) == os.EX_UNAVAILABLE
    assert capsys.readouterr().out.startswith("Not served: no host runs on this state")
    assert main(["status", "--json", "-c", str(config)]) == os.EX_UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["state"] == "not served"
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.slow
async def test_faults_show_on_the_page_of_a_real_host(homeserver: FakeHomeserver, tmp_path: Path) -> None:
    """A wrong registry, an agent that is gone, a homeserver that is away and a full disk each turn the verdict."""
    workspace, port = tmp_path / "agents" / WORKSPACE, free_port()
    workspace.mkdir(parents=True)
    program = Program((*AGENT, "--workspace", str(workspace)), log=tmp_path / "agent.log")
    async with aiohttp.ClientSession() as http, program:
        url = str((await program.ready())["base_url"])
        house = House(homeserver, Agent(base_url=url, volume=workspace.parent, workspace=workspace), tmp_path)
        house.configure(ops={"listen": f"127.0.0.1:{port}"}, host={"max_tries": 1})
        watching = Watching(http, port)
        async with house.host() as host:
            person = Person(house)
            await person.enter()
            person.say("hello")
            await person.hears("You said: hello. (message 1 in this context)")
            html = await watching.sees(200, "Users are being served.")
            assert "@ann" not in html
            assert person.room not in html
            code, printed = await status(house)
            assert (code, printed.splitlines()[0]) == (0, "Users are being served.")
            right = house.config.read_text()
            wrong = json.loads(right) | {"user_agents": {"@ann:hs.test": "nobody"}}
            house.config.write_text(json.dumps(wrong))
            host.signal(signal.SIGHUP)
            refused = f"the registry was refused: {house.config}:1: no agent has the id nobody; there are: reference"
            assert "@ann" not in await watching.sees(200, f"Degraded: {refused}; the old one is in use.")
            house.config.write_text(right)
            host.signal(signal.SIGHUP)
            await watching.sees(200, "Users are being served.")
            program.signal(signal.SIGKILL)
            person.say("are you there?")
            await watching.sees(503, "Not served: agent reference cannot be reached (AGENT_UNREACHABLE).")
            await homeserver.until(lambda: len(person.heard) == 2, 30)
            homeserver.faults.always("sync", Status(status=502, errcode="M_AWAY"))
            person.say("and you?")
            await watching.sees(503, "Not served: matrix: the homeserver does not answer")
            resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            html = await watching.sees(503, "Not served: the state cannot be written")
            assert "<code>surfaces dead list</code>" in html
            code, printed = await status(house, "--json")
            assert (code, json.loads(printed)["state"]) == (os.EX_UNAVAILABLE, "not served")
