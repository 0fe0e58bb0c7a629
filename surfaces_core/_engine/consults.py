"""Prompts that the host itself puts to a conversation's agent: what is answered nobody sees but who asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from surfaces_core._engine import words
from surfaces_core._engine.drafts import show
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.history import History
from surfaces_core._engine.journal import storable
from surfaces_core._engine.spots import Spot
from surfaces_core.contracts import Shaper, Surface, Transport
from surfaces_core.errors import CommandError, Rejected, Unavailable
from surfaces_core.events import Agent, AgentRequest, Binding, Confirm, Draft, End, Inbound, Text

LONGEST_CHARS = 100_000
"""More of an answer is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent said to the host."""

    text: str
    tokens: int


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A prompt that is with an agent, or waits for the next try of the command that puts it."""

    turn: str
    task: asyncio.Task[Answer] | None = None
    unwanted: bool = False


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
        self._asked: dict[Spot, _Asked] = {}

    def stop(self, spot: Spot) -> bool:
        """Have a lane's prompt given up, for its person wants no answer any more; False where there is none."""
        asked = self._asked.get(spot)
        if asked is None:
            return False
        asked.unwanted = True
        return asked.task is None or asked.task.cancel()

    async def ask(self, turn: str, message: Inbound, binding: Binding, prompt: str) -> Answer:
        """What the agent answers, as a turn of its own in the conversation's context.

        Raises `Unavailable`, also when it was cut off in the middle, `Rejected`, and `CommandError` when it is stopped.
        """
        spot = Spot.of(message)
        asked = self._asked.get(spot)
        if asked is None or asked.turn != turn:
            asked = self._asked[spot] = _Asked(turn=turn)
        try:
            answer = await self._answer(asked, message, binding, prompt)
        except Unavailable:
            asked.task = None  # the command is tried again
            raise
        except BaseException:
            self._forget(spot, asked)
            raise
        self._forget(spot, asked)
        return answer

    def _forget(self, spot: Spot, asked: _Asked) -> None:
        if self._asked.get(spot) is asked:
            del self._asked[spot]

    async def _answer(self, asked: _Asked, message: Inbound, binding: Binding, prompt: str) -> Answer:
        if asked.unwanted:
            raise CommandError(words.STOPPED())
        request = await self._request(asked.turn, message, binding, prompt)
        try:
            async with self._typing(asked.turn, message):
                return await self._heard(asked, request)
        except Rejected as error:
            if error.interrupted:
                raise Unavailable(str(error), code=error.code, public=error.public) from error
            raise

    async def _heard(self, asked: _Asked, request: AgentRequest) -> Answer:
        try:
            async with asyncio.TaskGroup() as group:
                task = asked.task = group.create_task(_listen(self._transports[request.agent.transport], request))
        except ExceptionGroup as several:
            raise several.exceptions[0] from several.exceptions[0].__cause__
        if task.cancelled():
            raise CommandError(words.STOPPED())
        return task.result()

    async def _request(self, turn: str, message: Inbound, binding: Binding, prompt: str) -> AgentRequest:
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
        return request

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


async def _listen(transport: Transport, request: AgentRequest) -> Answer:
    pieces: list[str] = []
    spent = 0
    with contained():
        async with aclosing(transport.run(request)) as events:
            async for event in events:
                match event:
                    case Text(text):
                        pieces.append(storable(text))
                    case Confirm(id=question):  # nobody is there who could agree
                        await transport.answer(request, question, False)
                    case End(tokens=tokens):
                        spent = tokens or 0
                    case _:
                        pass
    return Answer(text="".join(pieces).strip()[:LONGEST_CHARS], tokens=spent)
