"""What an agent that behaves answers, and what it remembers of each context."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from surfaces_testing.agent.wire import Json

STATUS: Json = {"type": "STATUS"}
END: Json = {"type": "AGENT_EVENT_END"}


def chunk(text: str) -> Json:
    """A piece of an answer."""
    return {"type": "AGENT_EVENT_TEXT_CHUNK", "text": text}


class Memory:
    """Answers each question once: one that comes again under its message id gets the answer it got before."""

    def __init__(self, work: Counter[tuple[str, str]]) -> None:
        self._work = work
        self._answers: dict[tuple[str, str], str] = {}
        """By context and message id."""
        self._heard: Counter[str] = Counter()
        """How many questions were asked in a context."""

    def answer(self, context: str, question: Json) -> Iterator[Json]:
        """The frames of an answer. The work is done when this is called, not while they are sent."""
        return words(self._answer(context, question))

    def _answer(self, context: str, question: Json) -> str:
        message_id = question.get("message_id")
        if message_id is None:
            return self._new(context, str(question["text"]))
        key = (context, str(message_id))
        if key not in self._answers:
            self._answers[key] = self._new(context, str(question["text"]))
        return self._answers[key]

    def _new(self, context: str, text: str) -> str:
        self._heard[context] += 1
        self._work[context, text] += 1
        count = re.fullmatch(r"count to (\d+)", text)
        if count is not None:
            return " ".join(map(str, range(1, int(count[1]) + 1)))
        return f"You said: {text}. (message {self._heard[context]} in this context)"


def words(text: str) -> Iterator[Json]:
    """A text, word by word, and the end."""
    for word in re.findall(r"\S+\s*", text):
        yield chunk(word)
    yield END
