"""One turn: a model is asked, another where it fails, tools are used, until there is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings as LibrarySettings
from pydantic_ai.tools import ToolDefinition
from structlog.typing import FilteringBoundLogger

from surfaces_core import AgentEvent, AgentRequest, Text
from surfaces_llm import failures, words
from surfaces_llm.attachments import Picture
from surfaces_llm.failures import CAUGHT, Failure, translate
from surfaces_llm.kept import IMAGE_TOKENS, KeptTurn, fitting, reckoned, tokens_of
from surfaces_llm.prompting import earlier, fitted, question, reread
from surfaces_llm.providers import Speaker
from surfaces_llm.settings import LlmOptions
from surfaces_llm.toolbox.box import Stopped, TurnTools

ANSWER_TOKENS = 2000
"""What is left free for an answer whose length nobody limits."""
LEAST_SHARE = 1 / 1024
"""With less of what was said before it is not tried."""
NOTES = {"length": words.ANSWER_TOO_LONG, "content_filter": words.ANSWER_FILTERED}
"""By the reason for which an answer ended before its end: what the person is told."""


CLOSED = Failure(code=failures.CLOSED, detail="the driver ends")


class Failed(Exception):
    """A model gave no answer, or not all of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class Waits:
    """The waits for models, which the end of the driver cuts short."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()
        self._over = False

    def end(self) -> None:
        """Cut all short, now and from now on."""
        self._over = True
        for wait in self._running:
            if not wait.expired():
                wait.reschedule(0)

    @asynccontextmanager
    async def atmost(self, seconds: float, turn: Turn) -> AsyncIterator[None]:
        """Wait no longer than so, nor than the turn may last. Raises `Failed` and `TimeoutError`."""
        if self._over:
            raise Failed(CLOSED)
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(min(now() + seconds, turn.until)) as wait:
                self._running.add(wait)
                try:
                    yield
                finally:
                    self._running.discard(wait)
        except TimeoutError as error:
            if self._over:
                raise Failed(CLOSED) from error
            if now() >= turn.until:
                raise Failed(Failure(code=failures.OVERTIME, detail="the turn took too long")) from error
            raise


@dataclass(kw_only=True, eq=False)
class Turn:
    """What is known of a turn while it runs."""

    request: AgentRequest
    options: LlmOptions
    speakers: list[Speaker]
    """Whom to ask, the first first; those that failed are dropped."""
    until: float
    """When it has taken too long, in the loop's time."""
    text: str
    tools: TurnTools
    images: Sequence[str] = ()
    kept: Sequence[KeptTurn] = ()
    """What was said before, where it is kept."""
    pictures: dict[str, Picture] = field(default_factory=dict)
    """By path: what of the conversation's pictures is shown again, and those of the question."""
    fresh: list[ModelMessage] = field(default_factory=list)
    """What came of the question so far: answers, and what tools gave."""
    answer: str = ""
    """All that was passed on."""
    shown: bool = False
    """Something of the answer that is being given was passed on."""
    acted: bool = False
    """A tool was used."""
    tokens: int = 0
    share: float = 1.0
    """How much of what was said before still goes along, for models that take less than is believed."""

    def messages(self, speaker: Speaker) -> list[ModelMessage]:
        """All that a model is told."""
        asked = question(self.text, self.images, self.pictures if speaker.settings.vision else {})
        room = int(self._room(speaker) * self.share)
        fresh = fitted(self.fresh, room)
        budget = room - reckoned(fresh)
        if self.options.mode == "stateless":
            before = reread(self.request.history, budget)
        else:
            before = earlier(fitting(self.kept, budget), self.pictures if speaker.settings.vision else {})
        return [*before, replace(asked, instructions=self.options.system_prompt or None), *fresh]

    def lessened(self, speaker: Speaker) -> bool:
        """Whether a model is told less than it was, from now on."""
        before = _length(self.messages(speaker))
        while self.share > LEAST_SHARE:
            self.share /= 2
            if _length(self.messages(speaker)) < before:
                return True
        return False

    def definitions(self, speaker: Speaker) -> list[ToolDefinition]:
        """The tools that a model is told of."""
        return list(self.tools.definitions()) if speaker.settings.tools else []

    def _room(self, speaker: Speaker) -> int:
        """Tokens left for what was said before, and for what came of the question."""
        most = min(speaker.settings.context_tokens, self.options.max_context_tokens or speaker.settings.context_tokens)
        answer = self.options.max_output_tokens or min(ANSWER_TOKENS, most // 4)
        own = tokens_of(self.text) + tokens_of(self.options.system_prompt) + IMAGE_TOKENS * len(self.images)
        return most - answer - own - sum(tokens_of(str(tool)) for tool in self.definitions(speaker))


class Asking:
    """Asks models."""

    def __init__(self, waits: Waits, log: FilteringBoundLogger) -> None:
        self._waits = waits
        self._log = log

    async def run(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """The events of a turn but for its `End`. Raises `Failed`."""
        async with aclosing(self._resumed(turn)) as events:
            async for event in events:
                yield event
        for step in range(1, turn.options.max_steps + 1):
            async with aclosing(self._step(turn, last=step == turn.options.max_steps)) as pieces:
                async for piece in pieces:
                    yield piece
            response = cast(ModelResponse, turn.fresh[-1])
            if not _calls(response):
                break
            if step == turn.options.max_steps:  # a call without a result would cost every later question its answer
                turn.fresh[-1] = replace(response, parts=[p for p in response.parts if not isinstance(p, ToolCallPart)])
                break
            async with aclosing(self._use(turn)) as events:
                async for event in events:
                    yield event
        note = NOTES.get(response.finish_reason or "")
        if note is not None:
            if not turn.answer:
                code = failures.FILTERED if response.finish_reason == "content_filter" else failures.TOO_LONG
                raise Failed(Failure(code=code, detail=f"no answer: {response.finish_reason}"))
            yield self._said(turn, words.note(note()))

    async def _resumed(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """What an earlier life of the turn had said, and the use of tools in which it was cut off."""
        turn.fresh = turn.tools.before()
        if not turn.fresh:
            return
        parts = [part for message in turn.fresh if isinstance(message, ModelResponse) for part in message.parts]
        said = "\n\n".join(part.content for part in parts if isinstance(part, TextPart) and part.content)
        if said:
            yield self._said(turn, said)
        async with aclosing(self._use(turn)) as events:
            async for event in events:
                yield event

    async def _use(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """The tools that the last answer calls. How long people take to allow them is not the turn's time."""
        turn.acted, now = True, asyncio.get_running_loop().time
        began = now()
        try:
            async with aclosing(turn.tools.run(_calls(turn.fresh[-1]), turn.fresh)) as events:
                async for event in events:
                    if isinstance(event, list):
                        turn.fresh.append(ModelRequest(parts=event, instructions=turn.options.system_prompt or None))
                    else:
                        yield event
        except Stopped as error:
            raise Failed(CLOSED) from error
        turn.until += now() - began

    # One answer of a model ------------------------------------------------------------------------

    async def _step(self, turn: Turn, *, last: bool) -> AsyncGenerator[AgentEvent, None]:
        """One answer, of the first model that gives one. Raises `Failed` with the most hopeful reason."""
        failed: list[Failure] = []
        turn.shown = False
        while True:
            speaker = turn.speakers[0]
            try:
                async with aclosing(self._heard(turn, speaker, last=last)) as pieces:
                    async for piece in pieces:
                        yield piece
            except Failed as error:
                failed.append(error.failure)
                self._log.warning("llm.failed", model=speaker.name, code=error.failure.code, error=error.failure.detail)
                if turn.shown or not error.failure.passes_on:
                    raise
                if len(turn.speakers) == 1:
                    raise Failed(_hopeful(failed)) from error
                turn.speakers = turn.speakers[1:]
            else:
                return

    async def _heard(self, turn: Turn, speaker: Speaker, *, last: bool) -> AsyncGenerator[AgentEvent, None]:
        """One model's answer; with less of what was said before where that was too much. Raises `Failed`."""
        while True:
            try:
                async with aclosing(self._asked(turn, speaker, last=last)) as pieces:
                    async for piece in pieces:
                        yield piece
            except Failed as error:
                if error.failure.code != failures.TOO_LONG or turn.shown or not turn.lessened(speaker):
                    raise
            else:
                return

    async def _asked(self, turn: Turn, speaker: Speaker, *, last: bool) -> AsyncGenerator[AgentEvent, None]:
        try:
            async with self._opened(turn, speaker, last=last) as response:
                async with aclosing(self._texts(turn, response, speaker)) as texts:
                    async for text in texts:
                        yield self._said(turn, self._apart(turn) + text)
                turn.fresh.append(response.get())
                turn.tokens += response.usage.total_tokens
        except CAUGHT as error:
            raise Failed(translate(error)) from error

    @asynccontextmanager
    async def _opened(self, turn: Turn, speaker: Speaker, *, last: bool) -> AsyncIterator[StreamedResponse]:
        """A model's answer from its head on, which is waited for no longer than the model may be silent at first."""
        tools = turn.definitions(speaker)
        stream = model_request_stream(
            speaker.model,
            turn.messages(speaker),
            model_settings=_settings(turn.options, last=last and bool(tools)),
            model_request_parameters=ModelRequestParameters(function_tools=tools),
        )
        async with AsyncExitStack() as stack:
            async with self._waits.atmost(speaker.settings.first_timeout_s, turn):
                response = await stack.enter_async_context(stream)
            yield response

    async def _texts(self, turn: Turn, response: StreamedResponse, speaker: Speaker) -> AsyncGenerator[str, None]:
        events, patience = aiter(response), speaker.settings.first_timeout_s
        while True:
            async with self._waits.atmost(patience, turn):
                event = await anext(events, None)
            if event is None:
                return
            patience = speaker.settings.idle_timeout_s
            text = _text(event)
            if text:
                yield text

    def _apart(self, turn: Turn) -> str:
        """What parts the texts that stand before and after the use of tools."""
        return "\n\n" if turn.answer and not turn.shown else ""

    def _said(self, turn: Turn, text: str) -> Text:
        turn.shown = True
        turn.answer += text
        return Text(text)


def _settings(options: LlmOptions, *, last: bool) -> LibrarySettings:
    settings = LibrarySettings()
    if options.temperature is not None:
        settings["temperature"] = options.temperature
    if options.max_output_tokens is not None:
        settings["max_tokens"] = options.max_output_tokens
    if last:  # it has used enough of them: now it is to say something
        settings["tool_choice"] = "none"
    return settings


def _calls(message: ModelMessage) -> Sequence[ToolCallPart]:
    """The tools that an answer calls."""
    return [part for part in message.parts if isinstance(part, ToolCallPart)]


def _length(messages: Sequence[ModelMessage]) -> int:
    """How much a model is told: messages, and characters of their texts."""
    contents = [getattr(part, "content", "") for message in messages for part in message.parts]
    return len(messages) + sum(len(content) for content in contents if isinstance(content, str))


def _text(event: ModelResponseStreamEvent) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _hopeful(failed: Sequence[Failure]) -> Failure:
    """Of several reasons the one that passes soonest: one that passes at all, and the least to wait."""
    passing = [failure for failure in failed if failure.code in failures.TRANSIENT]
    return min(passing, key=lambda failure: failure.retry_after or 0.0) if passing else failed[-1]
