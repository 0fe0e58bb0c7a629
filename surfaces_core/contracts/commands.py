"""Contract of commands that people give: what they are, and what their handlers are handed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from surfaces_core.contracts.driver import Section
from surfaces_core.events import Agent, AgentRequest, Binding, FileRef, Inbound
from surfaces_core.i18n import Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A file that waits for its conversation's next text."""

    file: FileRef
    staged_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What a conversation is right now."""

    binding: Binding
    agent_label: str
    messages: int
    """Turns answered by the agent in this context."""
    tokens: int
    """As the agent counts them, in this context; 0 when it doesn't say."""
    staged: int
    """Files that wait for the next message."""
    waiting: int
    """Messages behind this one."""
    last_active: float
    """Unix seconds."""
    question: str = ""
    """What the person is asked here and has not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that a command asks its person. It survives a restart.

    The next message that is one of `accepts`, give or take case and space around it, is the answer;
    whatever else is said meanwhile goes its usual way. `!cancel` leaves it.
    """

    text: str
    """Markdown; how to answer `yes` or `no`, and how to leave it, is added."""
    accepts: tuple[str, ...] = ("yes", "no")
    """With `yes` and `no` among them `!yes`, `!no`, 👍 and 👎 answer it too."""
    data: str = ""
    """The command's own: what it needs to go on."""
    expires_s: float = 600.0
    command: str = ""
    """Whose it is, set by the host; empty: the agent's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavePoint:
    """What an agent wrote down of a context."""

    name: str
    saved_at: float
    """Unix seconds."""
    summary: str


class Desk(Protocol):
    """What a command can do: the public door of the host, for our own commands and anybody's.

    Everything acts for the person and conversation of the call. Raises `CommandError` with a
    sentence for the person where the act makes no sense, `Unavailable` when it may work later.
    """

    async def overview(self) -> Overview:
        """This conversation."""
        ...

    async def chats(self) -> Sequence[Overview]:
        """The person's live conversations, by number."""
        ...

    async def open_chat(self, name: str = "") -> Binding:
        """Make the person's next conversation and invite them; without a name it is called by its label."""
        ...

    async def rename_chat(self, name: str) -> Binding:
        """Give this conversation another name, in the messenger too."""
        ...

    async def archive_chat(self, archived: bool = True) -> Binding:
        """Put this conversation away, or with False bring it back."""
        ...

    async def clear_context(self) -> Binding:
        """Give this conversation a new context; the old one is forgotten."""
        ...

    async def staged(self) -> Sequence[Staged]:
        """The person's files that wait here, oldest first."""
        ...

    async def unstage(self, number: int | None = None) -> Sequence[Staged]:
        """Drop the n-th staged file (from 1), or all; what was dropped."""
        ...

    async def stop_turn(self) -> bool:
        """Cancel the running turn of this conversation; False when none ran."""
        ...

    async def ask(self, question: Question) -> str:
        """Ask the person; what this gives is to be said. The answer goes to `Command.answered`.

        A command has one open question with a person in a conversation: a new one takes its place.
        """
        ...

    async def answer_question(self, approved: bool) -> Question | None:
        """Answer the newest question that takes a yes or no, the agent's or a command's; None when none waits."""
        ...

    async def cancel_question(self) -> Question | None:
        """Leave the newest question, for an agent with a no; None when none waits."""
        ...

    async def retry_turn(self) -> None:
        """Ask the agent the person's last question again."""
        ...

    async def consult(self, prompt: str) -> str:
        """Ask the agent something in this context; neither prompt nor answer shows or counts as a message."""
        ...

    async def save_points(self) -> Sequence[SavePoint]:
        """The person's save points with this agent, oldest first."""
        ...

    async def save_point(self, name: str) -> SavePoint:
        """Have the agent write down this context under a name; one of that name is replaced."""
        ...

    async def load_point(self, point: SavePoint) -> str:
        """Give a save point to the agent in this context; what it answers."""
        ...

    def agents(self) -> Sequence[Agent]:
        """Those that the person may use, in the order of the registry."""
        ...

    async def choose_agent(self, agent: str) -> bool:
        """Give this conversation the agent of that id, with a fresh context; under `per_person` all the person's.

        False when it had that agent already.
        """
        ...

    async def settings(self) -> Sequence[Section]:
        """What applies to the person here, and what the agent publishes of itself."""
        ...

    async def status(self) -> Sequence[Section]:
        """How the host is: for operators."""
        ...

    def language(self) -> str:
        """The code of the language that the person is spoken to in: a key of `LANGUAGES`."""
        ...

    async def choose_language(self, code: str) -> None:
        """Speak so to the person from now on, the answer to this call included."""
        ...

    def link(self, binding: Binding) -> str:
        """A Markdown link to a conversation, or its label where the surface has no links."""
        ...

    def commands(self) -> Sequence[Command]:
        """Those that this person may use, by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCall:
    """One use of a command."""

    name: str
    args: tuple[str, ...]
    """Split at white space, quotes kept together."""
    rest: str
    """Everything behind the command's name, as typed."""
    prefix: str
    message: Inbound
    desk: Desk


Handler = Callable[[CommandCall], Awaitable[str]]


Answered = Callable[[CommandCall, Question], Awaitable[str]]
"""Called with the answer as `CommandCall.rest`, spelt as in `Question.accepts`, and the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A `!command`. The handler's answer is Markdown and goes out through the outbox; empty says nothing.

    A handler may run again after a crash, so what it does must bear repeating; everything on the
    `Desk` does.
    """

    name: str
    help: str | Sentence
    """One line without a full stop at its end."""
    handler: Handler
    usage: str | Sentence = ""
    """The arguments, like `<name>` or `[undo]`."""
    aliases: tuple[str, ...] = ()
    who: Literal["owner", "anyone", "operator"] = "owner"
    """`owner` of the conversation, `anyone` in it, or `operator`."""
    urgent: bool = False
    """Does not wait behind the running turn."""
    answered: Answered | None = None
    """Goes on when a question of this command is answered (`Desk.ask`); in the conversation's line."""


Shaper = Callable[[AgentRequest, Inbound], AgentRequest]
"""Changes a request before the agent gets it; quick, without I/O."""

Companion = Callable[[], AbstractAsyncContextManager[object]]
"""Makes what lives beside a host: a block that is entered before the drivers are opened and left after they are closed.

What it raises as it is entered ends the start, as a `ConfigError` in one line. Leaving it may take two seconds.
"""
