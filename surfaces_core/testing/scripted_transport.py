"""A transport whose answers come from a script, for tests of the host, of commands and of surfaces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Self

from surfaces_core.contracts import Health, Settings, Transport, TransportContext
from surfaces_core.events import Agent, AgentEvent, AgentRequest, End, Text
from surfaces_core.testing.driver_contexts import transport_context

Step = AgentEvent | Exception | asyncio.Event
"""What a turn does next: yield an event, raise an exception, or wait at a gate until the test opens it."""
Script = Callable[[AgentRequest], Iterable[Step]]
"""Called once for each turn. A generator is read step by step, so it may look at what happened meanwhile."""


def echo(request: AgentRequest) -> Iterable[Step]:
    """Says what was asked."""
    return [Text(request.text), End()]


class ScriptedTransport(Transport):
    """Obeys the contract of `Transport` without an agent and without waiting.

    A script that does not end with `End` or an exception gets its `End` here. What the host did is
    recorded, oldest first.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        context: TransportContext | None = None,
        *,
        script: Script = echo,
        repeatable: bool = False,
    ) -> None:
        super().__init__(settings or Settings(), context or transport_context("scripted"))
        self.script = script
        self.takes_repeats = repeatable
        """What `repeatable` answers for every agent."""
        self.health: Callable[[Agent], Health] = lambda agent: Health(reachable=None)
        """What `check` finds; a script knows its agents only by their answers."""
        self.reads = 0
        """What `history` answers for every agent."""
        self.checked: list[str] = []
        """Agent id of each `check`."""
        self.requests: list[AgentRequest] = []
        self.stopped: list[AgentRequest] = []
        """Turns that were closed before their end."""
        self.answers: list[tuple[str, bool]] = []
        """Question id and decision of each `answer`."""
        self.forgotten: list[tuple[str, str]] = []
        """Agent id and context of each `forget`."""
        self.rested: list[tuple[str, str]] = []
        """The same of each `rest`."""

    @classmethod
    def answering(cls, script: Script, *, repeatable: bool = False) -> Self:
        """One whose turns do what `script` says."""
        return cls(script=script, repeatable=repeatable)

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn, as the script says."""
        self.requests.append(request)
        over = False
        try:
            for step in self.script(request):
                if isinstance(step, asyncio.Event):
                    await step.wait()
                    continue
                over = isinstance(step, (End, Exception))
                if isinstance(step, Exception):
                    raise step
                yield step
                if over:
                    return
            over = True
            yield End()
        finally:
            if not over:
                self.stopped.append(request)

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """Record it."""
        self.answers.append((question, approved))

    async def forget(self, agent: Agent, context: str) -> None:
        """Record it."""
        self.forgotten.append((agent.id, context))

    async def rest(self, agent: Agent, context: str) -> None:
        """Record it."""
        self.rested.append((agent.id, context))

    def history(self, agent: Agent) -> int:
        """What the test chose."""
        return self.reads

    async def check(self, agent: Agent) -> Health:
        """What the test chose; recorded."""
        self.checked.append(agent.id)
        return self.health(agent)

    def repeatable(self, agent: Agent) -> bool:
        """What the test chose."""
        return self.takes_repeats
