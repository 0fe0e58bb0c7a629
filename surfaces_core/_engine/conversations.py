"""The book of conversations: whose each is, its number, agent and context, and what it has used.

The messenger's own state is the truth, this book is kept in step with it: a change is written to
the messenger first, and what was cut short by a crash is done again by its inbox entry.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from surfaces_core._engine import words
from surfaces_core._engine.journal import Changes, Journal, Rows, key, place, turn_id
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.people import People
from surfaces_core.contracts import Conversations, Reconciled, Surface, Transport, Tx
from surfaces_core.errors import CommandError, Rejected
from surfaces_core.events import Address, Binding, Inbound, Opening

BINDINGS = Rows(Binding)
OPENINGS = Rows(Opening)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a conversation has used in its present context."""

    messages: int = 0
    tokens: int = 0
    last_active: float = 0.0
    since: float = 0.0
    """When it began, Unix seconds; 0 where it began with the conversation."""


USAGES = Rows(Usage)


def context_id(owner: str, cause: str) -> str:
    """A context's name: decimal digits below 2**53, so that agents may read it as a number.

    It is made from what caused it, so a repeat after a crash names the same context.
    """
    digest = hashlib.sha256(f"{owner}\0{cause}".encode()).digest()
    return str(int.from_bytes(digest[:8]) >> 11)


class Book:
    """All bindings, in memory and in the journal."""

    def __init__(
        self,
        journal: Journal,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        people: People,
        contact: str,
    ) -> None:
        self._journal = journal
        self._surfaces = surfaces
        self._transports = transports
        self._people = people
        self._contact = contact
        self._bindings: dict[Address, Binding] = {}
        self._usages: dict[Address, Usage] = {}
        self._binding = asyncio.Lock()
        self._welcoming: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._making: dict[str, Opening] = {}
        """Conversations that are being made, by what caused them."""
        self._touched: dict[Address, int] = {}
        """When each binding was last changed here, in ticks."""
        self.tick = 0
        """Counts changes."""

    async def open(self, undone: Container[str]) -> None:
        """Read all bindings, and what the turns that are not done had begun to make."""
        for value in (await self._journal.scan("conv")).values():
            binding = BINDINGS.load(value)
            self._bindings[binding.address] = binding
        for row, value in (await self._journal.scan("opening")).items():
            cause = row.split(b"\0")[1].decode()
            if cause in undone:  # else it was given up, and waits among the dead letters
                self._making[cause] = OPENINGS.load(value)

    def at(self, address: Address) -> Binding | None:
        """The binding of a conversation."""
        return self._bindings.get(address)

    def asker(self, message: Inbound) -> str:
        """Whom an answer to a message is for, where several people talk; empty where only one does."""
        binding = self.at(message.address)
        return message.sender if binding is not None and binding.shared else ""

    def all(self, surface: str) -> list[Binding]:
        """Every conversation of a surface that was ever bound."""
        return [binding for binding in self._bindings.values() if binding.address.surface == surface]

    def all_live(self) -> list[Binding]:
        """Everybody's conversations that can be talked in."""
        return [binding for binding in self._bindings.values() if binding.live]

    def live(self, surface: str, owner: str) -> list[Binding]:
        """A person's conversations that can be talked in, by number."""
        mine = [b for b in self._bindings.values() if b.live and (b.address.surface, b.owner) == (surface, owner)]
        return sorted(mine, key=lambda binding: binding.number)

    def door(self, surface: str) -> Conversations | None:
        """How a surface manages conversations, if it does."""
        return self._surfaces[surface].conversations

    def link(self, binding: Binding) -> str:
        """How a conversation is named to people."""
        door = self.door(binding.address.surface)
        if door is None:
            return binding.label
        named = f"{binding.label} {binding.name}" if binding.name != binding.label else binding.label
        return f"[{words.plain(named)}]({door.link(binding.address)})"

    # Making conversations

    async def adopt(self, message: Inbound) -> Binding | None:
        """The binding of a message's conversation, looked up or made; None for a place that is none."""
        known = self.at(message.address)
        if known is not None and not known.left:
            return known
        door = self.door(message.address.surface)
        if door is None:
            return await self._bind(message)
        found = await door.find(message.address)
        if found is not None:
            return await self._found(found, door)
        if await door.is_shared(message.address):
            return await self._share(message, door)
        return None

    async def _found(self, found: Binding, door: Conversations) -> Binding:
        """Take over what a messenger shows of one conversation that was not known."""
        binding = self._whole(found)
        if binding != found:
            await door.record(binding)
        moved = [b for b in self._bindings.values() if _is_same(b, binding) and not b.left]
        await self.restore(binding.address.surface, [binding], complete=False)
        for old in moved:
            await self.move(old.address, binding)
        return binding

    async def _share(self, message: Inbound, door: Conversations) -> Binding:
        """Bind a place where several people talk to the place itself; its agent is that of who called first."""
        address = message.address
        async with self._binding:
            known = self.at(address)
            if known is not None and not known.left:
                return known
            cause = turn_id(address.surface, message.event_id)
            opening = await self._opening(cause, address.surface, address.conversation, "", caller=message.sender)
            binding = replace(_binding(opening, address), shared=True)
            await door.record(binding)
            await self._keep(binding, self.finished(cause))
        return binding

    def welcoming(self, surface: str, person: str) -> AbstractAsyncContextManager[object]:
        """One at a time for each person: two calls at one instant must not both make a first conversation."""
        return self._welcoming.setdefault((surface, person), asyncio.Lock())

    async def _bind(self, message: Inbound) -> Binding:
        """Bind a conversation to its first sender; its first question and an urgent command may come together."""
        address = message.address
        async with self._binding:
            known = self.at(address)
            if known is not None and not known.left:
                return known
            cause = turn_id(address.surface, message.event_id)
            async with self._journal.changing() as tx:
                binding = _binding(await self._next(tx, cause, address.surface, message.sender), address)
                await tx.put(key("conv", *place(address)), BINDINGS.dump(binding))
            self._remember(binding)
        return binding

    async def create(self, cause: str, surface: str, owner: str, owner_name: str, name: str = "") -> Binding:
        """Make a person's next conversation; the same `cause` makes it once."""
        door = self.door(surface)
        if door is None:
            raise CommandError(words.ONE_CHAT_ONLY())
        opening = await self._opening(cause, surface, owner, owner_name, name)
        point("open.before")
        address = await door.open(opening)
        point("open.after")
        binding = self.at(address) or _binding(opening, address)
        await self._keep(binding, {})
        return binding

    async def _opening(
        self, cause: str, surface: str, owner: str, owner_name: str, name: str = "", caller: str = ""
    ) -> Opening:
        row = key("opening", cause)
        async with self._journal.changing() as tx:
            begun = await tx.get(row)
            if begun is not None:
                opening = OPENINGS.load(begun)
            else:
                opening = await self._next(tx, cause, surface, owner, owner_name, name, caller)
                await tx.put(row, OPENINGS.dump(opening))
        self._making[cause] = opening
        return opening

    def is_made_by_another(self, cause: str, address: Address, person: str) -> bool:
        """Whether what another turn is making is, or may be, the place where a person is already.

        Two that both make one for a person do not wait for each other.
        """
        if cause in self._making:
            return False
        known = self.at(address)
        owner = person if known is None else known.owner
        return any(
            (opening.surface, opening.owner) == (address.surface, owner)
            and (known is None or known.number == opening.number)
            for opening in self._making.values()
        )

    def is_making(self, cause: str) -> bool:
        """Whether a turn has begun to make a conversation."""
        return cause in self._making

    def settled(self, cause: str) -> None:
        """The turn is done, whatever it was about."""
        self._making.pop(cause, None)

    async def _next(
        self, tx: Tx, cause: str, surface: str, owner: str, owner_name: str = "", name: str = "", caller: str = ""
    ) -> Opening:
        """An owner's next conversation, whose number is taken with the transaction."""
        agent = self._people.of(surface, caller or owner)
        if agent is None:
            raise Rejected(f"{owner} has no agent", code="NO_AGENT", public=words.no_agent(self._contact))
        counter = key("number", surface, owner)
        number = int(await tx.get(counter) or 0) + 1
        await tx.put(counter, str(number).encode())
        return Opening(
            key=cause,
            surface=surface,
            owner=owner,
            owner_name=owner_name,
            number=number,
            name=name or f"C{number}",
            agent=agent.id,
            context=context_id(owner, cause),
            created_at=round(self._journal.now(), 3),  # messengers keep milliseconds
        )

    async def begun(self, cause: str) -> bool:
        """An earlier try of the same cause began to make a conversation."""
        async with self._journal.storage.transaction() as tx:
            return await tx.get(key("opening", cause)) is not None

    def finished(self, cause: str) -> Changes:
        """What to forget when the entry that made a conversation is done."""
        return {key("opening", cause): None}

    # Changing them

    async def change(self, binding: Binding, rows: Changes | None = None, /, **changes: object) -> Binding:
        """Write a changed binding to the messenger, then to the book, there together with `rows`."""
        changed = replace(binding, **changes)  # type: ignore[arg-type]
        door = self.door(binding.address.surface)
        if door is not None:
            await door.record(changed)
        await self._keep(changed, rows or {})
        return changed

    async def clear(self, binding: Binding, cause: str) -> Binding:
        """Give a conversation a new context and tell its agent that the old one is over."""
        return await self.hand_over(binding, binding.agent, context_id(binding.owner, cause))

    async def hand_over(self, binding: Binding, agent: str, context: str) -> Binding:
        """Give a conversation an agent with a new context and tell the one it had that the old one is over."""
        if (binding.agent, binding.context) == (agent, context):
            return await self.change(binding)
        known = self._people.agents.get(binding.agent)
        try:
            if known is not None:  # first: a repeat after a crash does not know the old context any more
                await self._transports[known.transport].forget(known, binding.context)
        finally:  # whatever became of that, nothing more is said in the old one
            given = await self._fresh(binding, agent, context)
        return given

    async def _fresh(self, binding: Binding, agent: str, context: str) -> Binding:
        usage = Usage(since=self._journal.now())
        rows = {key("stat", *place(binding.address)): USAGES.dump(usage)}
        given = await self.change(binding, rows, agent=agent, context=context)
        self._usages[binding.address] = usage
        return given

    async def rest(self, binding: Binding) -> None:
        """Tell the agent that a context rests."""
        agent = self._people.agents.get(binding.agent)
        if agent is not None:
            await self._transports[agent.transport].rest(agent, binding.context)

    async def leave(self, address: Address) -> None:
        """The bot is no longer in a conversation."""
        binding = self.at(address)
        if binding is not None and not binding.left:
            await self._keep(replace(binding, left=True), {})
            await self.rest(binding)

    async def renamed(self, address: Address, name: str) -> None:
        """The messenger shows another name of a conversation; writing it back says that this was heard."""
        binding = self.at(address)
        if binding is not None and not binding.left:
            await self.change(binding, name=name or binding.label)

    async def move(self, old: Address, binding: Binding) -> None:
        """A conversation goes on elsewhere: same number, agent and context, and what it has used."""
        rows: dict[bytes, bytes | None] = {}
        usage = await self.usage(old)
        if usage != Usage():
            rows = {key("stat", *place(old)): None, key("stat", *place(binding.address)): USAGES.dump(usage)}
            self._usages[binding.address] = self._usages.pop(old)
        left = self.at(old)
        if left is not None and not left.left:
            rows[key("conv", *place(old))] = BINDINGS.dump(replace(left, left=True))
            self._remember(replace(left, left=True))
        await self._keep(binding, rows)

    async def _keep(self, binding: Binding, changes: Changes) -> None:
        if self._bindings.get(binding.address) == binding and not changes:
            return
        rows = {**changes, key("conv", *place(binding.address)): BINDINGS.dump(binding)}
        await self._journal.write(rows)
        self._remember(binding)

    def _remember(self, binding: Binding) -> None:
        self._bindings[binding.address] = binding
        self.tick += 1
        self._touched[binding.address] = self.tick

    # Reconciling

    async def restore(
        self, surface: str, found: Sequence[Binding], *, complete: bool = True, since: int | None = None
    ) -> Reconciled:
        """Bring the book in step with what the messenger shows; `complete` when `found` is all there is.

        What was changed here after the tick `since` is newer than what the messenger was asked for, and stays.
        """
        rows: dict[bytes, bytes | None] = {}
        restored = repaired = unchanged = 0
        taken: dict[tuple[str, int], Address] = {}
        conflicts: dict[str, str] = {}
        completed: list[Binding] = []
        for shown in found:
            if self._is_newer(shown.address, since):
                unchanged += 1
                continue
            try:
                binding = self._whole(shown)
            except Rejected as error:
                conflicts[shown.address.conversation] = error.code
                continue
            if binding != shown:
                completed.append(binding)
            other = taken.setdefault((binding.owner, binding.number), binding.address)
            if other != binding.address:
                conflicts[binding.address.conversation] = "NUMBER_TAKEN"
            known = self.at(binding.address)
            restored += known is None
            repaired += known is not None and known != binding
            unchanged += known == binding
            if known != binding:
                rows[key("conv", *place(binding.address))] = BINDINGS.dump(binding)
                self._bindings[binding.address] = binding
        if complete:
            repaired += self._mark_left(surface, {binding.address for binding in found}, since, rows)
        await self._raise_numbers(surface, found, rows)
        return Reconciled(
            restored=restored,
            repaired=repaired,
            unchanged=unchanged,
            conflicts=conflicts,
            completed=tuple(completed),
        )

    def _whole(self, shown: Binding) -> Binding:
        """A binding with agent and context. Where the messenger lost them the book's are taken, else fresh ones."""
        if shown.agent and shown.context:
            return shown
        known = self.at(shown.address)
        if known is not None:
            return replace(shown, agent=known.agent, context=known.context)
        agent = self._people.of(shown.address.surface, shown.owner)
        if agent is None:
            raise Rejected(f"{shown.owner} has no agent", code="NO_AGENT", public=words.no_agent(self._contact))
        fresh = context_id(shown.owner, f"found {shown.address.conversation}")
        return replace(shown, agent=agent.id, context=fresh)

    def _is_newer(self, address: Address, since: int | None) -> bool:
        return since is not None and self._touched.get(address, 0) > since

    def _mark_left(self, surface: str, found: set[Address], since: int | None, rows: dict[bytes, bytes | None]) -> int:
        missing = [b for a, b in self._bindings.items() if a.surface == surface and a not in found and not b.left]
        gone = [binding for binding in missing if not self._is_newer(binding.address, since)]
        for binding in gone:
            self._bindings[binding.address] = replace(binding, left=True)
            rows[key("conv", *place(binding.address))] = BINDINGS.dump(self._bindings[binding.address])
        return len(gone)

    async def _raise_numbers(self, surface: str, found: Sequence[Binding], rows: dict[bytes, bytes | None]) -> None:
        highest: dict[str, int] = {}
        for binding in found:
            highest[binding.owner] = max(highest.get(binding.owner, 0), binding.number)
        counters = {owner: key("number", surface, owner) for owner in highest}
        async with self._journal.changing() as tx:
            stored = await tx.get_many(list(counters.values())) if counters else ()
            for (owner, counter), value in zip(counters.items(), stored, strict=True):
                if int(value or 0) < highest[owner]:
                    rows[counter] = str(highest[owner]).encode()
            for row, new in rows.items():
                if new is not None:
                    await tx.put(row, new)

    # What they have used

    async def usage(self, address: Address) -> Usage:
        """What a conversation has used in its present context."""
        if address not in self._usages:
            async with self._journal.storage.transaction() as tx:
                value = await tx.get(key("stat", *place(address)))
            self._usages[address] = Usage() if value is None else USAGES.load(value)
        return self._usages[address]

    async def used(self, address: Address, tokens: int) -> Changes:
        """Count an answered turn; the rows to store with its answer."""
        return await self._count(address, messages=1, tokens=tokens)

    async def spent(self, address: Address, tokens: int) -> Changes:
        """Count what the agent used for the host; the rows to store with what came of it."""
        return await self._count(address, messages=0, tokens=tokens)

    async def _count(self, address: Address, *, messages: int, tokens: int) -> Changes:
        before = await self.usage(address)
        now = replace(
            before,
            messages=before.messages + messages,
            tokens=before.tokens + tokens,
            last_active=self._journal.now(),
        )
        self._usages[address] = now
        return {key("stat", *place(address)): USAGES.dump(now)}


def _is_same(one: Binding, other: Binding) -> bool:
    """Whether two are one conversation, at different places: nothing else shares a context."""
    return one.address != other.address and (one.owner, one.number, one.context) == (
        other.owner,
        other.number,
        other.context,
    )


def _binding(opening: Opening, address: Address) -> Binding:
    return Binding(
        address=address,
        owner=opening.owner,
        number=opening.number,
        name=opening.name,
        agent=opening.agent,
        context=opening.context,
        created_at=opening.created_at,
    )
