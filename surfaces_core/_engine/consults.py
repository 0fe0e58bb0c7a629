"""Prompts that the host itself puts to a conversation's agent: what is answered nobody sees but who asked for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.drafts import show
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.history import History
from surfaces_core._engine.journal import storable
from surfaces_core.contracts import Shaper, Surface, Transport
from surfaces_core.errors import Rejected, Unavailable
from surfaces_core.events import Agent, AgentRequest, Binding, Confirm, Draft, Inbound, Text

LONGEST_CHARS = 100_000
"""More of an answer is not kept."""


class Consults:
    """Puts prompts to agents."""

    def __init__(
        self,
        *,
        agents: Callable[[str], Agent | None],
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        shapers: Sequence[Shaper],
        history: History,
        log: FilteringBoundLogger,
    ) -> None:
        self._agents = agents
        """The agent of an id, if there is one now."""
        self._surfaces = surfaces
        self._transports = transports
        self._shapers = shapers
        self._history = history
        self._log = log

    async def ask(self, turn: str, message: Inbound, binding: Binding, prompt: str) -> str:
        """What the agent answers, as a turn of its own in the conversation's context.

        Raises `Unavailable`, also when it was cut off in the middle, and `Rejected`.
        """
        agent = self._agents(binding.agent)
        if agent is None:
            raise Rejected(f"there is no agent {binding.agent}", code="NO_AGENT", public=words.AGENT_GONE())
        request = AgentRequest(
            turn=turn,
            agent=agent,
            context=binding.context,
            text=prompt,
            history=await self._history.before(message, agent),
            sender=message.sender,
            conversation=message.address.conversation,
        )
        for shape in self._shapers:
            request = shape(request, message)
        try:
            async with self._typing(turn, message):
                return await _answer(self._transports[agent.transport], request)
        except Rejected as error:
            if error.interrupted:
                raise Unavailable(str(error), code=error.code, public=error.public) from error
            raise

    @asynccontextmanager
    async def _typing(self, turn: str, message: Inbound) -> AsyncIterator[None]:
        """Show that something is done, as long as the block lasts."""
        surface = self._surfaces[message.address.surface]
        pace = surface.pace
        if pace is None:
            yield
            return
        draft = Draft(
            key=f"{turn}.0", turn=turn, part=0, address=message.address, attempt=1, version=0, thread=message.thread
        )
        await show(surface, draft, pace, self._log)
        try:
            yield
        finally:
            await show(surface, replace(draft, done=True), pace, self._log)


async def _answer(transport: Transport, request: AgentRequest) -> str:
    pieces: list[str] = []
    with contained():
        async with aclosing(transport.run(request)) as events:
            async for event in events:
                match event:
                    case Text(text):
                        pieces.append(storable(text))
                    case Confirm(id=question):  # nobody is there who could agree
                        await transport.answer(request, question, False)
                    case _:
                        pass
    return "".join(pieces).strip()[:LONGEST_CHARS]
