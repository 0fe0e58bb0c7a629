"""How soon a host is back at work after a kill with a thousand questions waiting, and whether each is answered once."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from proof.agents import watched_agent
from proof.lives import Outcome, Run
from proof.processes import BOT, Program
from proof.stage import PATIENCE_S, Stage
from proof.verdict import begins, echo
from surfaces_testing.homeserver import FakeHomeserver

PEOPLE = 50
EACH = 20
"""Questions that everybody asks; fewer than wait in one conversation at most."""
LIMIT_S = 1.5
"""How long it may take, on a machine that does nothing else."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What was measured, in seconds from the start of the process, and what came of it."""

    outcome: Outcome
    questions: int
    ready_s: float
    """Until it says READY."""
    first_answer_s: float
    """Until the first answer is sent."""
    work_s: float
    """Processor time of the host until then."""
    all_answers_s: float
    """Until the last one shows."""

    def figures(self) -> dict[str, object]:
        """For the report."""
        return {
            "questions": self.questions,
            "ready_s": round(self.ready_s, 2),
            "first_answer_s": round(self.first_answer_s, 2),
            "first_answer_work_s": round(self.work_s, 2),
            "all_answers_s": round(self.all_answers_s, 2),
            "limit_s": LIMIT_S,
            "within_limit": self.first_answer_s <= LIMIT_S,
        }


class Crowd(Stage):
    """Many people who each ask a lot at one instant."""

    def __init__(self, homeserver: FakeHomeserver, folder: Path, people: int, each: int) -> None:
        super().__init__(homeserver, folder / "state")
        self.people = [homeserver.person(f"@p{number}:hs.test", f"P{number}") for number in range(people)]
        self.questions = people * each
        self._each = each

    async def play(self) -> None:
        """Get a conversation for everybody, then ask everything."""
        entries = [person.create_dm(BOT) for person in self.people]
        for entry in entries:
            self.owe(entry, begins("Your conversation is ready: "))
        said = []
        for person, entry in zip(self.people, entries, strict=True):
            room = await self.enter(person, 1, entry, lambda: None)
            texts = [f"question {number}" for number in range(1, self._each + 1)]
            self.owe(room, *(echo(text, number) for number, text in enumerate(texts, 1)))
            said += [(person.user_id, room, text) for text in texts]
        self.hs.say_many(said)
        self.over = True

    async def all_stored(self) -> None:
        """Wait until every question is in the host's state."""
        async with asyncio.timeout(PATIENCE_S):
            while self.outstanding().count("in") < self.questions:  # noqa: ASYNC110 - a file has no event for this
                await asyncio.sleep(0.05)


async def measure(people: int = PEOPLE, each: int = EACH) -> Restart:
    """Kill a host that holds that many questions, and watch the next one."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        async with FakeHomeserver() as homeserver, watched_agent(folder / "agents", None) as agent:
            crowd = Crowd(homeserver, folder, people, each)
            run = Run(agent, folder, homeserver, stage=crowd)
            agent.moments.answering.clear()
            await _filled(run, crowd)
            agent.moments.answering.set()
            return await _watched(run, crowd)


async def _filled(run: Run, crowd: Crowd) -> None:
    async with run.host("filled") as host:
        await host.ready()
        await crowd.play()
        await crowd.all_stored()
        host.signal(signal.SIGKILL)
        await host.ended()


async def _watched(run: Run, crowd: Crowd) -> Restart:
    began, earlier = time.monotonic(), len(crowd.hs.requests)

    def sends() -> list[float]:
        return [request.at for request in crowd.hs.requests[earlier:] if request.route == "send"]

    async with run.host("restarted") as host:
        await host.ready()
        ready = time.monotonic()
        await crowd.hs.until(sends, PATIENCE_S)
        work_s = host.work_s()
        await run.settle()
        ended = time.monotonic()
        trouble = await _stopped(host)
    return Restart(
        outcome=Outcome(kills=1, landed=1, verdict=crowd.verdict(), trouble=trouble),
        questions=crowd.questions,
        ready_s=ready - began,
        first_answer_s=min(sends()) - began,
        work_s=work_s,
        all_answers_s=ended - began,
    )


async def _stopped(host: Program) -> str:
    code = await host.stop()
    return f"exit code {code}\n{host.log()}" if code else ""
