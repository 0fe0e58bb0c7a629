"""What people say in a simulated world, what the agent makes of it, and what they see."""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

URGENT = ("!stop", "!yes", "!no", "!context")
"""Commands that wait for no running answer."""


def turn_of(surface: str, event: str) -> str:
    """The name that a turn has by the contract; a copy, so that a bug in the host's does not change it."""
    digest = hashlib.sha256(f"{surface}\0{event}".encode()).digest()
    return base64.b32encode(digest)[:22].decode().lower()


class Act(StrEnum):
    """What somebody does."""

    QUESTION = "question"
    FILES = "files"
    COMMAND = "command"
    GAP = "gap"
    START = "start"
    LEFT = "left"
    STRANGER = "stranger"


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """One time that the agent was asked a question."""

    number: int
    life: int
    """Lives of the host that had ended."""
    context: str
    attachments: tuple[str, ...]
    heard: bool = False
    given: int = 0
    """Pieces of the answer that it gave, or was about to give."""
    confirms: bool = False
    filed: bool = False
    outcome: Literal["going", "refused", "ended", "cut", "choked"] = "going"
    line: str = ""
    """What the person is told when it was cut."""


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """How the agent answers one question, whatever befalls it; each run says which it is."""

    token: str
    chunks: tuple[str, ...] = ()
    pause_s: float = 0.0
    """Between two pieces."""
    confirm: Literal["", "yes", "no", "stop", "never"] = ""
    """What the person says to the agent's question, if it asks one."""
    patience_s: float = 60.0
    file: Literal["", "there", "missing", "fleeting"] = ""
    """A file that it sends, names though there is none, or takes away before it is sent."""
    empty: bool = False
    same: bool = False
    """Its question has the same words in each run."""
    before: int = 0
    """Runs that there were when it was cut short and asked again later."""
    runs: list[Run] = field(default_factory=list)

    def pieces(self, run: int) -> list[str]:
        """The answer as it comes."""
        if self.empty:
            return []
        return [f"<{self.token}/{run}>", *self.chunks, f"</{self.token}/{run}>"]

    def question(self, run: int) -> str:
        """What the agent asks."""
        return f"May I, {self.token}?" if self.same else f"May I, {self.token}/{run}?"

    @property
    def file_name(self) -> str:
        """The file that it sends."""
        return f"out-{self.token}.txt"


@dataclass(frozen=True, slots=True)
class Seen:
    """One message of the bot, final."""

    text: str
    file: bytes | None
    at: float


@dataclass(slots=True, kw_only=True, eq=False)
class Said:
    """One thing that somebody did, and what came of it."""

    chat: Chat
    number: float
    """Its place in the conversation."""
    turn: str
    act: Act
    text: str
    at: float
    ends: int
    """Lives of the host that ended, before it."""
    failures: int
    """Calls that did not get through for this conversation, before it."""
    plan: Plan | None = None
    files: tuple[str, ...] = ()
    gone: set[str] = field(default_factory=set)
    """Of its files, those that the messenger no longer has."""
    overflow: bool = False
    stored: bool = False
    cut: bool = False
    """The host has ended while it was worked on."""
    crashes: int = 0
    """How often it has ended so and not noted that it did."""
    again: Said | None = None
    """What was cut short while its question was open, and goes on here."""
    agreements: int = 0
    """To questions that were open when a life ended: each lets the agent be asked once more."""
    waits: set[bytes] = field(default_factory=set)
    """The rows of its questions that have no answer."""
    was_parked: bool = False
    """It was cut short and put aside, with its question."""
    parked: bool = False
    """It is so now."""
    aside: bool = False
    """The records have it."""
    left_for: Said | None = None
    """What ended that; None when nobody answered."""
    declined: bool = False
    """A question that was open when a life ended was declined."""
    resumed: bool = False
    """It goes on elsewhere."""
    carried: dict[str, bool] = field(default_factory=dict)
    """Files that wait with its question, and whether that is certain."""
    dead: str = ""
    """Why it lies in the dead letters."""
    settled_at: float | None = None
    """When the host had nothing more to do about it."""
    parts: dict[str, Seen] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Parts that the messenger refused, or choked on."""
    drafts: set[str] = field(default_factory=set)
    """Keys of messages that are not final."""

    @property
    def free(self) -> bool:
        """Whether it waits for nobody, so that its answer has no place in the order."""
        return self.overflow or (self.act is Act.COMMAND and self.text in URGENT)

    @property
    def request(self) -> str:
        """The name under which the agent gets it."""
        return self.turn if self.again is None else self.again.request


@dataclass(slots=True, kw_only=True, eq=False)
class Chat:
    """One conversation, as its person knows it."""

    name: str
    surface: str
    person: str
    agent: str
    once: bool
    """Its agent must not be asked a question twice."""
    interruptible: bool
    """A question may be told to be interrupted."""
    steady: bool
    """Its agent is always there."""
    entry: bool = False
    """A place to call from, in which no agent answers."""
    count: int = 0
    taken: float = 0
    """The number of what was taken in last."""
    front: float = 0
    """The number of what was answered last."""
    open: dict[str, Said] = field(default_factory=dict)
    """By turn: what is not over."""
    files: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """What waits for the next question: when it was sent, and whether that is certain."""
    context: str = ""
    """On the agent's side; empty when it is not certain."""
    former: str = ""
    """The context before, which must not come back."""
    archived: bool | None = False
    stops: deque[Said] = field(default_factory=lambda: deque(maxlen=20))
    failures: int = 0
    passed_over: int = 0
    """Messages that were put aside since it was last at rest, as too many."""
    told_so: bool = False
    """That was said."""
    notices: dict[float, tuple[int, int]] = field(default_factory=dict)
    """What each life of the host may say once: by its cause, how often it was said, and the lives before it."""
