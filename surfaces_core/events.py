"""The frozen values that flow through the host; none of them knows a messenger, an agent or a database.

Read top to bottom they tell the way of a message: an `Inbound` comes in at an `Address`, its
conversation's `Binding` says which `Agent` and context it belongs to, an `AgentRequest` goes to a
transport, `AgentEvent`s come back, `Draft`s show them early and `Outbound`s say them for good.
Words are those of the project's vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a conversation lives: a surface instance and the conversation's native id there."""

    surface: str
    conversation: str


class Kind(StrEnum):
    """What an inbound entry asks of the host."""

    MESSAGE = "message"
    """A person said something; `text`, `attachments` or both are set."""
    START = "start"
    """A person wants to begin (a Matrix invite); `address` is the place they called from."""
    LEFT = "left"
    """The bot can no longer talk at `address` (kicked, banned, room gone).

    Where it goes on at another place, `target` is that place's native id.
    """
    GAP = "gap"
    """Messages at `address` were passed over for good; `text` is the sentence to say about it,
    in English; where the surface's package has a translation of it, the person reads that."""
    EDIT = "edit"
    """A person put `text` in the place of what they said as `target`."""
    REDACTION = "redaction"
    """What was said as `target` was taken back."""
    REACTION = "reaction"
    """A person reacted to `target`, a message of anybody's, with `text` (an emoji)."""
    MOVED = "moved"
    """The host's own: the conversation at `address` has another agent now."""
    RENAMED = "renamed"
    """A person gave the conversation at `address` the name `text` in their client."""
    PUSH = "push"
    """An agent says by itself how a task goes on: `push`. No surface makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a person sent and that the surface can fetch; nothing of it is read yet."""

    ref: str
    """Opaque to the host: what the surface needs to fetch it."""
    name: str
    mime: str = "application/octet-stream"
    size: int | None = None
    """In bytes, as the messenger claims; never trusted."""
    voice: bool = False
    """It was spoken to be heard as a message: it asks by itself, and does not wait for a text."""
    duration_ms: int | None = None
    """Of audio and video, as the messenger claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What an agent says by itself about a task."""

    kind: Literal["done", "failed", "progress"]
    task: str
    title: str
    text: str = ""
    """Markdown."""
    progress: float | None = None
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One thing that came in. `(address.surface, event_id)` is unique for all time."""

    address: Address
    event_id: str
    sender: str
    """The person's native id; with `address.surface` it is their identity."""
    sent_at: float
    """Unix seconds, as the messenger claims."""
    kind: Kind = Kind.MESSAGE
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    sender_name: str = ""
    """For people to read; never for deciding anything."""
    cause: str = ""
    """Why messages were passed over, as a stable word (`GAP`)."""
    target: str = ""
    """The native event id that an edit, a redaction or a reaction is about; for `LEFT` where it goes on."""
    thread: str = ""
    """The native id of the thread it was said in: a lane of its own in the same context, answered there."""
    quote: str = ""
    """The text that it replies to, where the surface could read it; context for the agent."""
    push: Pushed | None = None
    """What an agent says by itself; `sender` is then the conversation's owner."""


class FileKind(StrEnum):
    """How clients should show a file."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRef:
    """A stored file in an agent's workspace. `path` is relative to the workspace, `/` between parts."""

    workspace: str
    path: str
    size: int
    """In bytes."""
    mime: str = "application/octet-stream"
    kind: FileKind = FileKind.OTHER
    width: int | None = None
    height: int | None = None
    """Pixels, for images where they could be read."""
    duration_ms: int | None = None
    """For audio and video where it could be read."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One part of an answer, frozen when it is stored. The same `key` sent twice shows once."""

    key: str
    """Made from `turn` and `part`, at most 32 characters of `a-z0-9.-`."""
    turn: str
    part: int
    address: Address
    text: str = ""
    """Markdown; the caption where `file` is set."""
    file: FileRef | None = None
    notice: bool = False
    """The host speaks, not the agent."""
    streamed: bool = False
    """A `Draft` with this key may already show: replace it, don't say it again."""
    device: str = ""
    """`Surface.device` when this was stored: under another one the messenger may not recognise the key.

    Where it is `streamed`, when the first draft was about to show.
    """
    frozen_at: float = 0.0
    """Unix seconds at that moment: nothing was sent under the key any earlier."""
    thread: str = ""
    """The thread to say it in."""
    reply_to: str = ""
    """The native event id that it answers; where several people talk it shows as a reply."""
    asker: str = ""
    """The native id of the person that it answers, where several people talk."""
    replaces: str = ""
    """The key of an earlier `Outbound` that it shows in the place of; without a trace of that one it is said anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A surface's word that an `Outbound` shows; `remote_id` is its native event id."""

    remote_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What can be shown of a running turn right now; may be dropped at any time."""

    key: str
    """The key of the `Outbound` that will replace it."""
    turn: str
    part: int
    address: Address
    attempt: int
    """Which try of the turn this is, from 1; a draft of a later try replaces one of an earlier."""
    version: int
    """Counts the drafts of this try that carry something to show, from 1; 0 while there is nothing yet."""
    text: str = ""
    """All of the answer so far, Markdown."""
    status: str = ""
    """What the agent is doing, a line or a few of them, or empty."""
    done: bool = False
    """Nothing more comes in this conversation, whatever its threads: stop typing. `text` is then to be ignored."""
    device: str = ""
    """`Surface.device` when the first draft of the turn, of whatever try, was about to show."""
    first_at: float = 0.0
    """Unix seconds at that moment: nothing was sent under the key any earlier."""
    thread: str = ""
    """The thread it shows in."""
    reply_to: str = ""
    """The native event id that it answers."""
    asker: str = ""
    """The native id of the person that it answers, where several people talk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """The durable fact that a conversation belongs to an owner, has a number, an agent and a context."""

    address: Address
    owner: str
    """Native id of the person."""
    number: int
    """Per owner and surface, from 1, never reused."""
    name: str
    agent: str
    """An agent's id in the registry."""
    context: str
    """The memory boundary on the agent's side; decimal digits."""
    created_at: float
    """Unix seconds."""
    archived: bool = False
    left: bool = False
    """The bot is no longer in it."""
    shared: bool = False
    """Anybody in it may talk to the agent; `owner` is then the conversation's native id."""

    @property
    def label(self) -> str:
        """`C1`, `C2`, …"""
        return f"C{self.number}"

    @property
    def live(self) -> bool:
        """Can be talked in."""
        return not (self.archived or self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A conversation that is to be made. The same `key` opened twice makes one."""

    key: str
    """Stable over retries and restarts, unique over all openings."""
    surface: str
    owner: str
    owner_name: str
    number: int
    name: str
    agent: str
    context: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One entry of the agent registry."""

    id: str
    label: str
    transport: str
    """The name of a transport instance."""
    workspace: str
    """What the files plugin calls this agent's folder."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Further keys of the registry entry; they belong to the transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Something that was said in a conversation earlier, for agents that remember nothing themselves."""

    by: Literal["person", "agent"]
    text: str
    at: float
    """Unix seconds, as the messenger claims."""
    name: str = ""
    """Which person, for reading; never for deciding anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """One turn, as a transport gets it."""

    turn: str
    """Stable over retries: an agent that takes message ids can drop a repeat."""
    agent: Agent
    context: str
    text: str
    attachments: tuple[str, ...] = ()
    """Paths relative to the agent's workspace, oldest first."""
    history: tuple[Said, ...] = ()
    """What was said before in this context, oldest first, as far as `Transport.history` asks for it."""
    sender: str = ""
    """The native id of the person who asks: for permissions, and nothing else."""
    conversation: str = ""
    """The native id of the conversation: likewise."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """The agent calls a tool, or (`done`) a tool answered."""

    name: str = ""
    id: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The agent says how far it is."""

    text: str = ""
    fraction: float | None = None
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """The agent sends a file of its workspace, named as the agent spells it: check it before use."""

    path: str
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The agent asks for leave and waits for `Transport.answer`."""

    id: str
    text: str
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The turn is over; always the last event of a turn that went well."""

    tokens: int | None = None


AgentEvent = Text | Tool | Progress | File | Confirm | End


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Observed: a message was stored."""

    message: Inbound
    turn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEvent:
    """Observed: something came from the agent."""

    turn: str
    address: Address
    event: AgentEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """Observed: a turn is over and what it says is stored in the outbox."""

    turn: str
    address: Address
    outcome: str
    """`answered`, `command`, `refused`, `failed`, `stopped`, `dead`, or `done` where nothing was asked."""
    seconds: float
    came_at: float = 0.0
    """Unix seconds when its message was stored, in whichever life of the host."""
    attempts: int = 1
    """Times that work on it began, in all lives."""
    agent: Agent | None = None
    """The agent of the conversation, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Observed: a part of an answer shows."""

    outbound: Outbound
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """Observed: something could not be done now and is tried again."""

    turn: str
    address: Address
    part: int | None
    """Which part of an answer; None: the turn itself."""
    reason: str
    """The code of the failure."""
    tries: int
    """Failures so far."""
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """Observed: a piece of the work on a turn is over, well or not; it is observed at its end."""

    turn: str
    address: Address
    step: Literal["wait", "files_in", "ask", "file_out", "store", "send"]
    """`wait`: from when the message was stored until work on it began, once a turn. `files_in`: its files are fetched
    and stored. `ask`: the agent, from the question to the end of the answer. `file_out`: a file of the agent's is
    looked at. `store`: a transaction of the journal. `send`: one try to hand a part to the messenger.
    """
    seconds: float
    attempt: int = 1
    """Which try: of the turn, or (`send`) of the part in this life of the host."""
    error: str = ""
    """The code of the failure; or `STOPPED` by the person, `CHANGED` by them, `CANCELLED` as the host ends."""
    agent: Agent | None = None
    """Who is asked (`ask`)."""
    first_s: float | None = None
    """Seconds until the first piece of the answer's text came (`ask`)."""
    part: int | None = None
    """Which part of the answer (`send`)."""
    files: int = 0
    """How many files it was about."""


Observed = Accepted | TurnEvent | TurnEnded | StepEnded | Postponed | Delivered
