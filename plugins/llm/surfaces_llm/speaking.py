"""Owns what a running driver has: its models, what is kept, and the turns that run. It imports the model libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

from surfaces_core import Agent, AgentEvent, AgentRequest, End, Health, Rejected, Text, TransportContext
from surfaces_llm import failures, words
from surfaces_llm.attachments import Attachments, Picture
from surfaces_llm.choosing import order
from surfaces_llm.failures import Failure
from surfaces_llm.kept import KeptTurn, Memory, fingerprint
from surfaces_llm.providers import Speaker, speaker
from surfaces_llm.reach import look
from surfaces_llm.settings import LlmOptions, LlmSettings
from surfaces_llm.toolbox.box import Toolbox
from surfaces_llm.turn import Asking, Failed, Turn, Waits


class Speaking:
    """Talks to models, between `open` and `close`."""

    def __init__(self, settings: LlmSettings, context: TransportContext, toolbox: Toolbox) -> None:
        self._settings = settings
        self._attachments = Attachments(context.files, settings)
        self._memory = Memory(context.store, settings.max_kept_turns)
        self._files = context.files
        self._log = context.log
        self._waits = Waits()
        self._toolbox = toolbox
        self._asking = Asking(self._waits, context.log)
        self._stack = AsyncExitStack()
        self._speakers: dict[str, Speaker] = {}
        self._running: dict[tuple[str, str], set[Turn]] = {}
        """By agent and context."""
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Make the models; nothing is asked yet."""
        for name, settings in self._settings.models.items():
            self._speakers[name] = await self._stack.enter_async_context(speaker(name, settings))
        self._stack.push_async_callback(self._toolbox.close)
        await self._toolbox.open()

    async def close(self) -> None:
        """End the turns that run, and hang up."""
        self._waits.end()
        await self._stack.aclose()

    # Turns ----------------------------------------------------------------------------------------

    async def run(self, request: AgentRequest, options: LlmOptions) -> AsyncGenerator[AgentEvent, None]:
        """One turn. Raises `Unavailable` and `Rejected`."""
        kept = await self._memory.turns(request) if options.mode == "kept" else {}
        known = kept.pop(request.turn, None)
        if known is not None and known.asked == fingerprint(request):  # the host was cut off after it was answered
            yield Text(known.answer)
            yield End(tokens=known.tokens)
            return
        turn, notes = await self._begun(request, options, list(kept.values()))
        running = self._running.setdefault((request.agent.id, request.context), set())
        running.add(turn)
        try:
            async with aclosing(self._events(turn, notes)) as events:
                async for event in events:
                    yield event
            await self._keep(turn, running)
            await turn.tools.ledger.close(answered=options.mode == "kept")
            yield End(tokens=turn.tokens)
        finally:
            self._toolbox.over(turn.tools)
            running.discard(turn)
            if not running:
                self._running.pop((request.agent.id, request.context), None)
            await turn.tools.ledger.clear()

    async def _events(self, turn: Turn, notes: Sequence[str]) -> AsyncGenerator[AgentEvent, None]:
        try:
            async with aclosing(self._asking.run(turn)) as events:
                async for event in events:
                    yield event
        except Failed as error:
            raise error.failure.error(came=bool(turn.answer) or turn.acted) from error
        for line in notes:
            turn.answer += words.note(line)
            yield Text(words.note(line))

    async def _begun(
        self, request: AgentRequest, options: LlmOptions, kept: Sequence[KeptTurn]
    ) -> tuple[Turn, Sequence[str]]:
        """A turn with what the model is to see, and what the person is to be told of the rest."""
        models = self._settings.models
        speakers = self._order(request.agent, options, request.context)
        sees = any(models[each.name].vision for each in speakers)
        brought = await self._attachments.read(request.agent.workspace, request.attachments, sees=sees)
        images = brought.images
        if images:
            speakers = self._order(request.agent, options, request.context, pictures=True)
        turn = Turn(
            request=request,
            tools=await self._toolbox.of_turn(request, options, fingerprint(request)),
            options=options,
            speakers=speakers,
            until=asyncio.get_running_loop().time() + options.turn_timeout_s,
            text="\n\n".join(part for part in (brought.text, request.text) if part),
            images=images,
            kept=kept,
            pictures=await self._pictures(request.agent, kept, images) if sees else {},
        )
        return turn, brought.notes

    def _order(self, agent: Agent, options: LlmOptions, context: str, *, pictures: bool = False) -> list[Speaker]:
        names = order(options, self._settings.models, context=context, pictures=pictures)
        missing = [name for name in options.model if name not in self._settings.models]
        if missing:
            self._log.warning("llm.no_model", agent=agent.id, models=missing)
        if not names:
            raise Failure(code=failures.SETUP, detail=f"no model {', '.join(missing)} is configured").error(came=False)
        return [self._speakers[name] for name in names]

    async def _pictures(self, agent: Agent, kept: Sequence[KeptTurn], images: Sequence[str]) -> dict[str, Picture]:
        """The latest pictures of a conversation, those of the question among them."""
        paths = dict.fromkeys([*images, *(path for turn in reversed(kept) for path in turn.images)])
        found: dict[str, Picture] = {}
        for path in list(paths)[: self._settings.max_images]:
            picture = await self._attachments.picture(agent.workspace, path)
            if picture is not None:
                found[path] = picture
        return found

    async def _keep(self, turn: Turn, running: set[Turn]) -> None:
        """Write a turn that is over, unless its context was forgotten meanwhile."""
        if turn.options.mode != "kept":
            return
        async with self._writing:  # what is kept of a context is read to give the next number
            if turn in running:
                kept = KeptTurn(
                    number=0,
                    asked=fingerprint(turn.request),
                    text=turn.text,
                    images=tuple(turn.images),
                    messages=turn.fresh,
                    answer=turn.answer,
                    tokens=turn.tokens,
                )
                await self._memory.keep(turn.request, kept)

    async def forget(self, agent: Agent, context: str) -> None:
        """Remove what is kept of a context; a turn that runs there keeps nothing."""
        self._running.get((agent.id, context), set()).clear()
        async with self._writing:
            await self._memory.forget(agent, context)
            await self._toolbox.forget(agent.id, context)

    def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """A person's answer to whether a tool may be used. Raises `Rejected`."""
        self._toolbox.answer(request, question, approved)

    # Agents ---------------------------------------------------------------------------------------

    async def check(self, agent: Agent, options: LlmOptions) -> Health:
        """Whether one of an agent's models is there."""
        try:
            speakers = self._order(agent, options, "")
        except Rejected as error:
            return Health(reachable=False, code=error.code, detail=str(error))
        for each in speakers:
            health = await look(each)
            if health.reachable is not False:
                return health
        return health

    def models(self, options: LlmOptions) -> Mapping[str, str]:
        """What the models of an agent are called by their providers, by the operator's names."""
        return {name: self._settings.models[name].model for name in options.model if name in self._settings.models}
