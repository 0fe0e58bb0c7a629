"""Every way in which a model can fail: what it means, whether another is asked, and what a person reads."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httpx2
import openai
import pytest
from pydantic_ai import exceptions

from surfaces_core import Rejected, Unavailable
from surfaces_llm import failures
from surfaces_llm.choosing import order
from surfaces_llm.failures import CAUGHT, LIBRARY_ERRORS, PUBLIC, TRANSIENT, Failure, translate
from surfaces_llm.settings import LlmOptions, ModelSettings
from surfaces_testing.models import CUT, GARBLED, REFUSED, SILENT, ModelFault, Reply, busy, failing, waits

NEVER = {
    *(exceptions.ModelRetry, exceptions.ToolFailed, exceptions.CallDeferred, exceptions.ApprovalRequired),
    *(exceptions.SkipModelRequest, exceptions.RetryModelRequest, exceptions.SkipToolValidation),
    *(exceptions.SkipToolExecution, exceptions.FallbackExceptionGroup),
    *(httpx2.CookieConflict, openai.InvalidWebhookSignatureError),
}
"""What is raised only within the library's own agents, by reading cookies or by taking webhooks."""
WALKED = [
    error
    for module in (exceptions, httpx2, openai)
    for name in (module.__all__ if module is exceptions else dir(module))
    if name.lstrip("_")[:1].isupper()  # other names may be doors to more, which open when looked at
    and inspect.isclass(error := getattr(module, name))
    and issubclass(error, Exception)
    and not issubclass(error, Warning)
    and error not in NEVER
]
BOTH = {"model": ["small", "large"]}


@pytest.mark.parametrize("error", WALKED, ids=lambda error: f"{error.__module__}.{error.__name__}")
def test_library_errors(error: type[Exception]):
    """Each error class of the libraries that are asked is caught and has a code of its own or of a base class."""
    assert issubclass(error, CAUGHT)


def test_the_walk_finds_errors():
    """It goes over what the libraries have, and no special class stands behind its base."""
    assert {exceptions.ModelHTTPError, httpx2.ReadTimeout, openai.RateLimitError} <= set(WALKED)
    kinds = list(LIBRARY_ERRORS)
    for index, kind in enumerate(kinds):
        assert not any(issubclass(kind, before) and kind is not before for before in kinds[:index]), kind


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((500, "LLM_UNREACHABLE"), (503, "LLM_BUSY"), (408, "LLM_UNREACHABLE"), (429, "LLM_BUSY"), (529, "LLM_BUSY")),
        *((401, "LLM_SETUP"), (403, "LLM_SETUP"), (404, "LLM_SETUP"), (400, "LLM_REFUSED"), (402, "LLM_QUOTA")),
    ],
)
async def test_statuses(talking: Any, status: int, code: str):
    """What a provider's status means; none of it shows, and the sentence names no internals."""
    async with talking() as talk:
        talk.server.faults = [ModelFault(status=status)]
        heard = await talk.ask()
    assert (heard.code, heard.events) == (code, [])
    assert isinstance(heard.failure, Unavailable if code in TRANSIENT else Rejected)
    assert str(status) not in heard.failure.public


@pytest.mark.parametrize(("value", "wait"), [("7", 7), ("0", 0), ("", None), ("999999", 3600), ("x", None)])
async def test_retry_after(talking: Any, value: str, wait: float | None):
    """A wait that a provider names is passed on, bounded."""
    async with talking() as talk:
        talk.server.faults = [busy(value)]
        failure = (await talk.ask()).failure
    assert isinstance(failure, Unavailable)
    assert failure.retry_after == wait


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (SILENT, "LLM_UNREACHABLE"),
        (GARBLED, "LLM_UNREACHABLE"),
        (ModelFault(pieces=0, ends=True), "LLM_UNREACHABLE"),
        (ModelFault(pieces=0, error=True), "LLM_UNREACHABLE"),
    ],
    ids=["silent", "garbled", "ends", "error"],
)
async def test_what_breaks_before_any_text(talking: Any, fault: ModelFault, code: str):
    """Nothing showed, so it is a matter of later, or of another model."""
    async with talking() as talk:
        talk.server.faults = [fault]
        heard = await talk.ask()
        assert (heard.code, heard.events) == (code, [])
        assert (await talk.ask()).text.startswith("You said")


@pytest.mark.parametrize(
    "fault",
    [
        CUT,
        ModelFault(pieces=1, garbled=True),
        ModelFault(pieces=1, ends=True),
        ModelFault(pieces=1, error=True),
    ],
    ids=["cut", "garbled", "ends", "error"],
)
async def test_what_breaks_after_text_showed(talking: Any, fault: ModelFault):
    """What showed stays, no other model is asked, and the answer is said to be cut off."""
    async with talking(options=BOTH) as talk:
        talk.server.faults = [fault]
        heard = await talk.ask()
        assert (heard.text, heard.code) == ("You", "LLM_CUT_OFF")
        assert isinstance(heard.failure, Rejected)
        assert heard.failure.interrupted
        assert [asked.model for asked in talk.server.record.asked] == ["small"]


@pytest.mark.parametrize(
    "fault",
    [busy("9"), failing(500), failing(503), SILENT, GARBLED, ModelFault(status=401), ModelFault(status=404)],
    ids=["429", "500", "503", "cut", "garbled", "key", "unknown"],
)
async def test_another_model_is_asked(talking: Any, fault: ModelFault):
    """As long as nothing showed the next one gets the question, and the person sees nothing of that."""
    async with talking(options=BOTH) as talk:
        talk.server.faults = [fault]
        assert (await talk.ask()).text == "You said: hello. (question 1)"
        assert [asked.model for asked in talk.server.record.asked] == ["small", "large"]


async def test_a_model_that_cannot_be_connected_to(talking: Any):
    """The next one is asked."""
    async with talking(options=BOTH, models={"small": {"base_url": "http://127.0.0.1:1/v1"}}) as talk:
        assert (await talk.ask()).text.startswith("You said")


async def test_a_model_that_stays_silent(talking: Any):
    """The next one is asked when its time is up."""
    async with talking(options=BOTH, models={"small": {"first_timeout_s": 0.05}}) as talk:
        talk.server.faults = [waits(asyncio.Event())]
        assert (await talk.ask()).text.startswith("You said")
        assert [asked.model for asked in talk.server.record.asked] == ["small", "large"]


async def test_a_model_that_falls_silent(talking: Any):
    """In the middle of an answer it is cut off when its time is up."""
    async with talking(models={"small": {"idle_timeout_s": 0.05}}) as talk:
        talk.server.faults = [waits(asyncio.Event(), pieces=2)]
        heard = await talk.ask()
        assert (heard.text, heard.code) == ("You said:", "LLM_CUT_OFF")


async def test_an_answer_that_takes_too_long(talking: Any):
    """No model is asked after that."""
    async with talking(options={**BOTH, "turn_timeout_s": 0.05}) as talk:
        talk.server.faults = [waits(asyncio.Event())]
        heard = await talk.ask()
        assert heard.code == "LLM_OVERTIME"
        assert len(talk.server.record.asked) == 1


async def test_a_question_that_is_refused_is_not_asked_of_others(talking: Any):
    """The request itself was wrong."""
    async with talking(options=BOTH) as talk:
        talk.server.faults = [REFUSED]
        assert (await talk.ask()).code == "LLM_REFUSED"
        assert len(talk.server.record.asked) == 1


async def test_when_all_fail_the_most_hopeful_reason_counts(talking: Any):
    """One that passes, with the shortest wait, whatever failed last."""
    async with talking(options=BOTH) as talk:
        talk.server.faults = [busy("30"), ModelFault(status=401)]
        failure = (await talk.ask()).failure
        assert isinstance(failure, Unavailable)
        assert (failure.code, failure.retry_after) == ("LLM_BUSY", 30)


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (
            Reply(text="Once upon", finish="length"),
            "",
            "Once upon\n\n_(The answer was too long; the rest was left out.)_",
        ),
        (Reply(text="Well", finish="content_filter"), "", "Well\n\n_(The model's provider withheld the rest.)_"),
        (Reply(finish="content_filter"), "LLM_FILTERED", ""),
        (Reply(finish="length"), "LLM_TOO_LONG", ""),
        (Reply(), "", ""),
    ],
    ids=["long", "withheld", "all withheld", "no room", "empty"],
)
async def test_answers_that_end_early(talking: Any, reply: Reply, code: str, text: str):
    """The person is told; an answer that is just empty is for the host to name."""
    async with talking() as talk:
        talk.server.brain = lambda asked: reply
        heard = await talk.ask()
    assert (heard.code, heard.text) == (code, text)


async def test_a_model_that_nobody_configured(talking: Any):
    """An agent whose models are all unknown says so; with one that is known it works."""
    async with talking(options={"model": "huge"}) as talk:
        assert (await talk.ask()).code == "LLM_SETUP"
        assert (await talk.transport.check(talk.agent)).code == "LLM_SETUP"
    async with talking(options={"model": ["huge", "large"]}) as talk:
        assert (await talk.ask()).text.startswith("You said")


def test_sentences():
    """Every code has a sentence for people that names no internals."""
    for code, sentence in PUBLIC.items():
        assert code not in sentence()
        assert sentence().endswith(".")


def test_details_repeat_nothing():
    """What a provider says may repeat the question or the key: the log gets classes, statuses and codes."""
    error = exceptions.ModelHTTPError(401, "m", body={"error": {"message": "wrong key sk-secret"}})
    assert "secret" not in translate(error).detail
    assert "secret" not in translate(openai.OpenAIError("sk-secret")).detail


@pytest.mark.parametrize("code", sorted(PUBLIC))
def test_nothing_is_a_matter_of_later_once_something_came(code: str):
    """Then the host must not ask by itself what a person has seen the answer to."""
    assert isinstance(Failure(code=code, detail="x").error(came=True), Rejected)


# Which one is asked -------------------------------------------------------------------------------


def models(**weights: float) -> dict[str, ModelSettings]:
    """Models with these weights; those whose names begin with `s` see."""
    return {
        name: ModelSettings(provider="ollama", model=name, weight=weight, vision=name.startswith("s"))
        for name, weight in weights.items()
    }


def test_in_order():
    """As they stand in the agent's entry."""
    options = LlmOptions.model_validate({"model": ["b", "a", "gone"]})
    assert order(options, models(a=9, b=1), context="1") == ["b", "a"]


def test_by_weight():
    """Conversations spread as the weights say, and each stays with its model."""
    options = LlmOptions.model_validate({"model": ["a", "b"], "choose": "by_weight"})
    first = [order(options, models(a=3, b=1), context=str(number))[0] for number in range(1000)]
    assert first == [order(options, models(a=3, b=1), context=str(number))[0] for number in range(1000)]
    assert 700 < first.count("a") < 800


def test_pictures_go_to_those_that_see():
    """First to them, in their order."""
    options = LlmOptions.model_validate({"model": ["a", "s1", "s2"]})
    assert order(options, models(a=1, s1=1, s2=1), context="1", pictures=True) == ["s1", "s2", "a"]


def test_final_codes_are_known():
    """Every code that ends a turn at once has a sentence."""
    assert set(PUBLIC) >= failures.FINAL
