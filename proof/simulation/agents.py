"""The agents of a simulated world, and the transport that reaches them, or not."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from proof.simulation.judge import Judge
from proof.simulation.life import InjectedBug, Life
from proof.simulation.story import Run, Said
from proof.simulation.trace import Trace
from proof.simulation.weather import Weather
from surfaces_core.contracts import Health, Settings, Transport
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Agent, AgentEvent, AgentRequest, Confirm, End, File, Text
from surfaces_core.testing.driver_contexts import transport_context

TRANSPORT = "simulated"
BROKE_OFF = "The agent broke off."
SILENT = "The agent fell silent."


@dataclass(kw_only=True, eq=False)
class Agents:
    """All agents; they outlive the host."""

    trace: Trace
    judge: Judge
    now: Callable[[], float]
    contents: defaultdict[str, dict[str, bytes]]
    """Their workspaces."""
    away_until: dict[str, float] = field(default_factory=dict)
    repeatable: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    """Whose reachability cannot be looked at."""
    turns: int = 0

    def away(self, agent: str) -> bool:
        """Nobody reaches it now."""
        return self.away_until.get(agent, 0.0) > self.now()


class SimulatedTransport(Transport):
    """One life's way to the agents."""

    def __init__(self, agents: Agents, life: Life, weather: Callable[[], Weather], chance: random.Random) -> None:
        super().__init__(Settings(), transport_context(TRANSPORT))
        self._agents = agents
        self._life = life
        self._weather = weather
        self._chance = chance

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn, as planned for its question, if nothing comes between."""
        self._life.step("ask")
        said = self._agents.judge.asked(request.text, request.turn)
        if said is None or said.plan is None:
            yield End()
            return
        run = Run(
            number=said.plan.before + len(said.plan.runs) + 1,
            life=self._agents.judge.ends,
            context=request.context,
            attachments=request.attachments,
        )
        said.plan.runs.append(run)
        await self._reach(said, run, request.agent)
        async for event in self._answer(said, run, request):
            yield event

    async def _reach(self, said: Said, run: Run, agent: Agent) -> None:
        """Until the agent has the question. Raises `Unavailable`."""
        chance, weather = self._chance, self._weather()
        await asyncio.sleep(chance.uniform(0.01, 0.2))
        away = self._agents.away(agent.id)
        if away or chance.random() < weather.agent_unavailable:
            if away and chance.random() < 0.3:  # it takes a while to see that nobody answers
                await asyncio.sleep(chance.uniform(0.0, 5.0))
            run.outcome = "refused"
            said.chat.failures += 1
            self._agents.trace.line(said.chat.name, f"#{said.number} run {run.number} does not reach {agent.id}")
            raise Unavailable("nobody answers", retry_after=chance.choice([None, None, 1.0, 5.0]))
        self._life.step("heard")
        self._hear(said, run, agent)

    def _hear(self, said: Said, run: Run, agent: Agent) -> None:
        run.heard = True
        self._agents.turns += 1
        self._agents.trace.line(said.chat.name, f"#{said.number} run {run.number} is heard by {agent.id}")
        self._agents.judge.heard(said)

    async def _answer(self, said: Said, run: Run, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        plan = said.plan
        assert plan is not None
        pieces, cut = plan.pieces(run.number), self._fate(len(plan.chunks) + 2)
        for number, piece in enumerate([*pieces, ""]):
            if number == cut:
                await self._break_off(said, run)
            if plan.pause_s:
                await asyncio.sleep(plan.pause_s)
            self._life.step("piece")
            if number < len(pieces):
                run.given = number + 1
                yield Text(piece)
            if number == 0 and plan.confirm:
                run.confirms = True
                yield Confirm(id=plan.token, text=plan.question(run.number), timeout_s=plan.patience_s)
        if plan.file:
            run.filed = True
            folder = self._agents.contents[request.agent.workspace]
            if plan.file != "missing":
                folder[plan.file_name] = plan.token.encode()
            yield File(path=plan.file_name, caption="")
            if plan.file == "fleeting":
                folder.pop(plan.file_name, None)
        run.outcome = "ended"
        self._agents.trace.line(said.chat.name, f"#{said.number} run {run.number} ends")
        yield End(tokens=3)
        if self._chance.random() < self._weather().agent_ends_twice:
            yield End(tokens=3)

    def _fate(self, pieces: int) -> int:
        """Before which piece it breaks off; -1 for none."""
        weather = self._weather()
        if self._chance.random() < weather.agent_cut + weather.agent_silent + weather.agent_chokes:
            return self._chance.randrange(pieces + 1)
        return -1

    async def _break_off(self, said: Said, run: Run) -> None:
        """The answer ends here: with an error, after a long silence, or by a bug."""
        weather, chance = self._weather(), self._chance
        kinds = [weather.agent_cut, weather.agent_silent, weather.agent_chokes]
        (kind,) = chance.choices(["cut", "silent", "choked"], kinds) if any(kinds) else ("cut",)
        if kind == "silent":
            await asyncio.sleep(chance.uniform(30.0, 200.0))
        run.outcome, run.line = ("choked" if kind == "choked" else "cut"), (SILENT if kind == "silent" else BROKE_OFF)
        self._agents.trace.line(said.chat.name, f"#{said.number} run {run.number} is {kind}")
        if kind == "choked":
            raise InjectedBug
        raise Rejected(f"the agent is {kind}", public=run.line)

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """The person's answer comes to the agent, or the turn is cut off."""
        self._life.step("answer")
        await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        self._life.step("answered")
        if self._chance.random() < self._weather().answer_fails:
            said = self._agents.judge.asked(request.text, request.turn)
            assert said is not None
            assert said.plan is not None
            run = said.plan.runs[-1]
            run.outcome, run.line = "cut", BROKE_OFF
            raise Rejected("the agent is gone", public=BROKE_OFF)

    async def check(self, agent: Agent) -> Health:
        """Whether it is there."""
        self._life.step("check")
        await asyncio.sleep(self._chance.uniform(0.0, 0.5))
        if agent.id in self._agents.unseen:
            return Health(reachable=None)
        away = self._agents.away(agent.id)
        return Health(reachable=not away, code="AGENT_AWAY" if away else "")

    async def forget(self, agent: Agent, context: str) -> None:
        """Nothing is kept open."""
        self._life.step("forget")

    def repeatable(self, agent: Agent) -> bool:
        """Half of them know a repeated question."""
        return agent.id in self._agents.repeatable
