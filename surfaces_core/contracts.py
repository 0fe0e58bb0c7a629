"""What plugins implement (base classes) and what they are handed (protocols).

A driver's lifetime is its `async with` block; `__init__` must do no I/O. Required methods are
abstract and few; everything optional has a default, so a contract can grow without breaking
anybody. A driver may name the version of its kind's contract that it was built for as
`surfaces_contract = 1` on its class (a hooks module: at module level); without it 1 is meant.

Which checks a driver must pass stands in `surfaces_core.testing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

import structlog
from pydantic import BaseModel, ConfigDict

from surfaces_core.errors import Rejected
from surfaces_core.events import (
    Address,
    Agent,
    AgentEvent,
    AgentRequest,
    Attachment,
    Binding,
    Draft,
    FileRef,
    Inbound,
    Opening,
    Outbound,
    Progress,
    Receipt,
    Said,
)
from surfaces_core.i18n import Catalogue, Sentence

_ = Catalogue("surfaces_core")
NO_FILES = _("I can't take files here.")
CONTRACTS: Mapping[str, int] = MappingProxyType({"surface": 1, "transport": 1, "storage": 1, "files": 1, "hooks": 1})
"""The version of each kind's contract in this host; a start refuses a plugin that was built for another one."""


class Settings(BaseModel):
    """Base of every driver's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# What drivers are handed -------------------------------------------------------------------------


class Store(Protocol):
    """A small durable namespace of one driver's own, kept in the host's storage.

    Keys are text without NUL. Each call is one committed transaction; raises `StateError`.
    """

    async def get(self, key: str) -> bytes | None:
        """A value, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a key; removing one that is not there is no error."""
        ...

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        """Every value whose key begins so, by key."""
        ...

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set, and with None remove, several keys together."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every driver is handed beside its settings."""

    name: str
    """The operator's name for this instance."""
    log: structlog.typing.FilteringBoundLogger
    """Bound to the instance; events and keys, never message text or secrets."""


def _as_it_is(person: str) -> AbstractContextManager[None]:
    """Whoever it is, sentences are in the language that they are in anyway."""
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceContext(Context):
    """What a surface is handed beside its settings."""

    store: Store
    files: Files
    """To open the file of an `Outbound`."""
    prefix: str = "!"
    """What commands begin with."""
    speaking: Callable[[str], AbstractContextManager[None]] = _as_it_is
    """Within it sentences are in a person's language, by their native id: for what a surface says by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportContext(Context):
    """What a transport is handed beside its settings."""

    store: Store
    """Durable; what is kept for one context is removed in `Transport.forget`."""
    files: Files
    """To open the attachments of a request in `agent.workspace`."""
    tools: Mapping[str, AgentTool] = field(default_factory=dict)
    """What plugins contributed for agents to use, by name."""


class Intake(Protocol):
    """A surface's way into the host."""

    async def cursor(self) -> str | None:
        """The last cursor that was stored with `accept`, or None on the first start."""
        ...

    async def accept(self, batch: Sequence[Inbound], cursor: str) -> None:
        """Store a batch and the cursor behind it in one transaction; those seen before are dropped.

        Only when this returns may the cursor be used. Raises `StateError` when nothing could be stored.
        """
        ...

    async def restore(
        self, found: Sequence[Binding], *, rooms_seen: int | None = None, skipped: Mapping[str, str] | None = None
    ) -> Reconciled:
        """Tell the host every binding that the messenger's own state shows, before live messages.

        One whose agent and context are empty is completed by the host, and comes back in the answer
        for the messenger to keep. `rooms_seen` and `skipped` (native id to a stable word) are for
        whoever watches.
        """
        ...

    def ready(self) -> None:
        """Say that the first exchange with the messenger went well; more than once does nothing."""
        ...

    def commands(self, address: Address, person: str) -> Sequence[Command]:
        """Those that a person may use in a conversation, by name, for surfaces that offer them while people type."""
        ...

    def language(self, person: str) -> str:
        """The code of the language that a person is spoken to in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What a reconciliation changed in the host's record; counts of conversations."""

    restored: int = 0
    """Known to the messenger alone before."""
    repaired: int = 0
    """Known otherwise before, or no longer there."""
    unchanged: int = 0
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """Why a binding contradicts another or could not be completed, as a stable word by native id."""
    completed: tuple[Binding, ...] = ()
    """Bindings that came without agent and context, as the host completed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at a driver found (`Driver.examine`)."""

    what: str
    """What was looked at, in a word: `folder`, `login`, `clock`."""
    said: str
    """One line for an operator, with the remedy where it is not well; no secrets."""
    level: Literal["well", "doubtful", "wrong"] = "well"
    """`wrong`: the host would not work. `doubtful`: it would, but somebody should know."""


# What plugins implement --------------------------------------------------------------------------


class Driver(ABC):
    """Base of all drivers: settings in, one `async with` block, nothing else in common.

    A driver with settings gives its own inner `class Settings(surfaces_core.Settings)`. What only the context
    can tell of them, as whether a tool is there, `__init__` may refuse with a `ConfigError` that names the setting.
    """

    Settings: ClassVar[type[BaseModel]] = Settings

    settings: Any
    context: Any
    surfaces_contract: ClassVar[int] = 1
    """The version of its kind's contract that it was built for."""

    def __init__(self, settings: Any, context: Any) -> None:
        self.settings = settings
        self.context = context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def examine(self, agents: Sequence[Agent]) -> Sequence[Finding]:
        """What an operator should know before a start, for `surfaces check`.

        Asked of a driver that is not opened, perhaps while another process runs with the same settings:
        it changes nothing. `agents` are those of the config. Raises nothing but bugs.
        """
        return ()


class Conversations(ABC):
    """How a surface that can hold several conversations with one person manages them.

    Every method may be repeated after a crash and must then end in the same state.
    Raises `Unavailable` or `Rejected`.
    """

    @abstractmethod
    async def enter(self, entry: Address, person: str) -> bool:
        """Come to the place a person called from; False when the call is not one to answer."""

    async def is_shared(self, address: Address) -> bool:
        """Whether several people talk at a place that is no conversation yet: it then belongs to the place itself."""
        return False

    def manages(self, address: Address, person: str) -> bool:
        """Whether a person may change a shared conversation; without I/O."""
        return False

    @abstractmethod
    async def open(self, opening: Opening) -> Address:
        """Make a conversation, let its owner in and record its binding there."""

    @abstractmethod
    async def find(self, address: Address) -> Binding | None:
        """The binding that the messenger itself shows at an address, if one does.

        Its agent and context are empty where those are lost. `Rejected` with the code
        `LOST_CONVERSATION` where it is a conversation but nobody can say whose.
        """

    async def follow(self, address: Address, target: Address) -> Binding | None:
        """Go on at `target`, where a conversation's place was moved to; the binding there, None where that is wrong."""
        return None

    @abstractmethod
    async def record(self, binding: Binding) -> None:
        """Write a changed binding (name, context, archived) where `find` will see it, and show it."""

    @abstractmethod
    async def recall(self, person: str, live: Sequence[Binding]) -> Collection[Address]:
        """Let a person in again wherever they are neither in nor invited; where the bot itself no longer is."""

    @abstractmethod
    def link(self, address: Address) -> str:
        """The address (URL) that leads a person to a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a surface wants to be shown drafts, all in seconds but the counts."""

    typing_after_s: float = 0.3
    """A turn shorter than this is never announced."""
    first_s: float = 1.0
    first_chars: int = 40
    """The first text waits for this much time or this many characters, whichever is later reached."""
    interval_s: float = 1.0
    """Between two drafts at first; it widens so that `budget` is never passed."""
    budget: int = 30
    """The most drafts with text that one answer may cost."""
    heartbeat_s: float = 20.0
    """Shown again at least this often while a turn runs, so that typing does not lapse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a surface is right now, for whoever watches the host."""

    connected: bool = True
    """The last exchange with the messenger went well."""
    admits: bool = True
    """People can come in and be answered."""
    decrypts: bool | None = None
    """What people say encrypted can be read; None where nothing is encrypted."""
    reasons: tuple[str, ...] = ()
    """A sentence for each of these that is not so; no secrets, no message text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a look at an agent found."""

    reachable: bool | None
    """None: this transport cannot tell without asking a question."""
    code: str = ""
    """Why not, as a stable word like `AGENT_UNREACHABLE`."""
    detail: str = ""
    """The same for whoever reads the log; no secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A piece of a snapshot for people to read."""

    title: str
    lines: tuple[str, ...] = ()
    """Markdown, one line each."""

    def markdown(self) -> str:
        """The section as it is said."""
        return "\n".join([f"**{self.title}**", *(f"- {line}" for line in self.lines)])


class Surface(Driver):
    """Connects one messenger account. It never learns that there is an agent."""

    context: SurfaceContext
    conversations: Conversations | None = None
    """None: each native conversation is bound to its first sender as it comes."""
    pace: Pace | None = None
    """None: `show` is never called."""

    reports: ClassVar[Mapping[str, str]] = {}
    """What an operator may ask by `surfaces DRIVER REPORT`, each with what it tells, like `the state of …`."""

    @classmethod
    def account(cls, settings: Any) -> str:
        """Which account these settings speak for: two surfaces of one config may not share it; empty, they may."""
        return ""

    @property
    def device(self) -> str:
        """Under which name (a device, a session) the messenger recognises a repeated key; stable over restarts."""
        return ""

    def condition(self) -> Condition:
        """How it is right now; asked often, so without I/O."""
        return Condition()

    def commands(self) -> Sequence[Command]:
        """Commands that are there in this surface's own conversations alone; asked once, at start."""
        return ()

    async def report(self, name: str) -> AsyncIterator[str]:
        """One of `reports`, line by line; asked of an open surface, whether it runs or not. `Unavailable`."""
        raise Rejected(f"{self.context.name} has no report {name}")
        yield ""

    async def depart(self, *, pretend: bool) -> AsyncIterator[str]:
        """Leave and forget every place where the bot is, for `surfaces reset`: a line for each.

        Asked of an open surface that does not run; with `pretend` it only says what it would leave.
        Raises `Unavailable`, or `Rejected` where nothing can be left.
        """
        raise Rejected(f"{self.context.name} has no places that it could leave")
        yield ""

    @abstractmethod
    async def run(self, intake: Intake) -> None:
        """Receive until cancelled. `Unavailable` = start me again later; `ConfigError` ends the host."""

    @abstractmethod
    async def send(self, message: Outbound) -> Receipt:
        """Say something for good; the same key twice shows once. `Unavailable` or `Rejected`.

        That holds for ever: where the messenger may have forgotten the key, because too much time
        has passed since `message.frozen_at` or `message.device` is no longer ours, look first.
        """

    async def show(self, draft: Draft) -> None:
        """Show a running turn. `Unavailable` only slows the next one; anything it shows may vanish."""

    async def acknowledge(self, message: Inbound, *, waiting: bool) -> None:
        """Show that a message was taken up, or that it is `waiting` behind others; may be dropped at any time."""

    def fetch(self, attachment: Attachment) -> AsyncIterator[bytes]:
        """The bytes of a file that a person sent, in pieces. `Unavailable` or `Rejected`."""
        raise Rejected(f"{self.context.name} has no files", public=NO_FILES())

    async def history(self, address: Address, *, before: str, limit: int, thread: str = "") -> Sequence[Said]:
        """The last `limit` things that people and the agent said ahead of the event `before`, oldest first.

        Commands and what the host said are none of them. `Unavailable` or `Rejected`; empty where the
        messenger keeps nothing that can be read again.
        """
        return ()

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into parts that each fit one message; the same text is always cut alike."""
        return [text]


class Transport(Driver):
    """Talks to agents. It never learns which surface asked."""

    context: TransportContext

    AgentSettings: ClassVar[type[BaseModel]] = Settings
    """What the registry entry of an agent of this transport may say beside id, label and workspace.

    The host checks `Agent.options` against it at start; parse it again with
    `self.AgentSettings.model_validate(agent.options)`.
    """

    @abstractmethod
    def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn; ends with `End`. Closing it early stops the agent's work.

        `Unavailable` only while the agent has seen nothing of the request; afterwards every failure
        is `Rejected`, and what came before it stays said.
        """

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """Answer a `Confirm` of a running turn. `Rejected` when it can't; its turn is then cut off."""
        raise Rejected("this transport asks nothing")

    async def forget(self, agent: Agent, context: str) -> None:
        """The context is over and never comes back: close what is kept open for it, and remove what is stored."""

    async def rest(self, agent: Agent, context: str) -> None:
        """The conversation was put away or left, and may come back with this context: close what is open."""
        await self.forget(agent, context)

    async def check(self, agent: Agent) -> Health:
        """Whether an agent can be reached, without asking it anything; raises nothing but bugs."""
        return Health(reachable=None)

    async def describe(self, agent: Agent) -> Sequence[Section]:
        """What an agent publishes of itself (skills, persona), for `!settings`. `Unavailable` or `Rejected`."""
        return ()

    def history(self, agent: Agent) -> int:
        """How many earlier messages a request to this agent carries, read again from the messenger each time."""
        return 0

    def repeatable(self, agent: Agent) -> bool:
        """Whether an agent recognises a repeated `AgentRequest.turn`, so that asking again is harmless."""
        return False


class Tx(ABC):
    """One transaction on an ordered map from bytes to bytes. Reads see its own writes.

    Inside the block wait for nothing but the transaction itself: others wait for its end.
    """

    @abstractmethod
    async def get(self, key: bytes) -> bytes | None:
        """The value, or None."""

    @abstractmethod
    async def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""

    @abstractmethod
    async def delete(self, key: bytes) -> None:
        """Remove a key; removing one that is not there is no error."""

    @abstractmethod
    def scan(self, prefix: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
        """Every pair whose key begins with `prefix`, ordered by key as bytes.

        What this transaction writes while it scans may or may not be seen by that scan.
        """

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The values of several keys, in their order; worth overriding where a call is a round trip."""
        return [await self.get(key) for key in keys]


class Storage(Driver):
    """An ordered, transactional, durable map from bytes to bytes.

    Keys are 1 to 1,024 bytes, values up to 16 MiB. Entering raises `StateError`
    (with its exit code) when the state cannot be used.
    """

    context: Context
    exclusive: bool = True
    """Entering keeps other processes out (`StateError` with exit code 75, naming the holder).

    False: the host's own lease on the state decides, which takes over from a dead host `host.lease_s` later.
    """
    control: Path | None = None
    """Where, beside the state, other commands reach the host that holds it: a UNIX socket's path."""
    lasting: ClassVar[bool] = True
    """What is stored outlives the process; False is for demos and tests, and `surfaces check` says so."""
    remote: ClassVar[bool] = False
    """The state is on a server: to `examine` it needs a network, so `surfaces check --offline` does not."""

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """All or nothing: leaving normally returns only when the changes are durable; an exception undoes all.

        Transactions are serialisable. Raises `StateError` when the changes could not be made durable.
        """

    async def erase(self) -> str:
        """Remove all that is kept, for `surfaces reset`; what was removed, in a line. Asked of one that is not opened.

        By itself it opens the storage and removes every row. Raises `StateError`.
        """
        count = 0
        async with self, self.transaction() as tx:
            rows = [row async for row, _ in tx.scan(b"")]
            for row in rows:
                await tx.delete(row)
                count += 1
        return f"{count} rows"


class OpenFile(ABC):
    """One opened, checked file; what was checked is what is read. Close it by `async with`."""

    ref: FileRef

    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """The content in pieces of at most 1 MiB; `Unavailable` when it shrank meanwhile."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release it; more than once does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Files(Driver):
    """Moves attachments between a surface and an agent's workspace."""

    context: Context
    max_staged: int = 20
    """How many files may wait in one conversation."""

    @abstractmethod
    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        """Store a stream under a cleaned, free name; a failure leaves nothing behind.

        `key` names the upload (at most 64 characters `a-z0-9.-`): when a crash hid the answer to an
        earlier call with it, the file of that call is the one that is kept.

        `Rejected` (with a sentence for the person) over the size limit, `Unavailable` on a full disk.
        """

    @abstractmethod
    async def open(self, workspace: str, path: str) -> OpenFile:
        """Open a file that an agent named, however it spells it; never one outside its workspace.

        `Rejected` with a sentence for the person.
        """

    @abstractmethod
    async def remove(self, workspace: str, path: str) -> None:
        """Remove a file that `save` stored; one that is gone already is no error."""


# What hooks plugins contribute -------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One use of a tool by an agent. It ends early by cancellation: of the turn, or when its time is up."""

    id: str
    """The agent's own name for this call, unique within its turn."""
    arguments: Any
    """An instance of the tool's `arguments`, checked."""
    request: AgentRequest
    """The turn that it belongs to."""
    settings: Any = field(default_factory=Settings)
    """An instance of the tool's `settings`: what the operator said, checked at start."""
    progress: Callable[[Progress], None] = lambda step: None
    """Shows how far it is; may be called at any time."""


ToolHandler = Callable[[ToolCall], Awaitable[str]]
ToolPolicy = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTool:
    """Something that agents may do, where their transport gives them tools.

    The handler's answer goes to the agent. So does the sentence of a `DriverError` or `CommandError`, as
    a failure that it can act on; any other exception is a bug, and the agent is told that the tool failed.
    A turn may be run again after a crash, and with it the handler.
    """

    name: str
    """1 to 64 characters of `a-z0-9_-`, unique over all plugins."""
    description: str
    """For the agent, in English: what it does and when to use it."""
    arguments: type[BaseModel]
    """Its fields' descriptions are for the agent too."""
    handler: ToolHandler
    policy: ToolPolicy = "ask"
    """Where the operator says nothing else: `ask` asks the person each time."""
    settings: type[BaseModel] = Settings
    """What the operator may say of it under `tools:` of a transport. With a required one it is off until they do."""
    timeout_s: float = 60.0
