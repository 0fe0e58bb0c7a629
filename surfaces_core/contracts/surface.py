"""Contract of a surface: one account of a messenger, and its way into the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from surfaces_core.contracts.commands import Command
from surfaces_core.contracts.driver import Context, Driver, Store
from surfaces_core.contracts.files import NO_FILES, Files
from surfaces_core.errors import Rejected
from surfaces_core.events import Address, Attachment, Binding, Draft, Inbound, Opening, Outbound, Receipt, Said


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


class Surface(Driver):
    """Connects one messenger account. It never learns that there is an agent."""

    context: SurfaceContext
    conversations: Conversations | None = None
    """None: each native conversation is bound to its first sender as it comes."""
    pace: Pace | None = None
    """None: `show` is never called."""

    reports: ClassVar[Mapping[str, str]] = {}
    """What an operator may ask by `surfaces DRIVER REPORT`, each with what it tells, like `the state of …`.

    Where the driver takes a while to import, an entry point in `surfaces.reports` with its name names this mapping,
    in a module that is quick, for the sake of `--help`.
    """

    by_hand: ClassVar[Sequence[str]] = ()
    """What `surfaces reset` leaves to a person, each in a line that says where and how."""

    @classmethod
    def residue(cls, settings: Any) -> Sequence[Path]:
        """Files and folders on this machine, beside the storage, that `surfaces reset` is to remove."""
        return ()

    @classmethod
    def account(cls, settings: Any) -> str:
        """Which account these settings speak for: two surfaces of one config may not share it; empty, they may."""
        return ""

    @classmethod
    def misnamed(cls, person: str) -> str:
        """Why nobody can have this native id here, and how one looks; empty: somebody may. Without I/O.

        Operators are told where nobody of any surface can have an id that their config names.
        """
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
