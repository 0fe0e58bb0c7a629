"""The book of conversations: whose each is, its number, agent and context, and what it has used.

The messenger's own state is the truth, this book is kept in step with it: a change is written to
the messenger first, and what was cut short by a crash is done again by its inbox entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from weakref import WeakValueDictionary

from surfaces_core._engine import words
from surfaces_core._engine.bindings import BINDINGS, Bindings, context_id
from surfaces_core._engine.journal import Changes, Journal, Rows, key, place, turn_id
from surfaces_core._engine.killpoints import point
from surfaces_core._engine.people import People
from surfaces_core._engine.reconciling import Reconciling
from surfaces_core._engine.usages import Usage, Usages, stored
from surfaces_core.contracts import Conversations, Surface, Transport, Tx
from surfaces_core.errors import CommandError, Rejected
from surfaces_core.events import Address, Binding, Inbound, Opening

OPENINGS = Rows(Opening)


class Book(Bindings):
    """All bindings, in memory, in the journal and in the messenger."""

    def __init__(
        self,
        journal: Journal,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        people: People,
        contact: str,
    ) -> None:
        super().__init__()
        self.usages = Usages(journal)
        self.reconciling = Reconciling(journal, self, people, contact)
        self._journal = journal
        self._surfaces = surfaces
        self._transports = transports
        self._people = people
        self._contact = contact
        self._binding = asyncio.Lock()
        self._welcoming: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._making: dict[str, Opening] = {}
        """Conversations that are being made, by what caused them."""

    async def open(self, undone: Container[str]) -> None:
        """Read all bindings, and what the turns that are not done had begun to make."""
        self.load((await self._journal.scan("conv")).values())
        for row, value in (await self._journal.scan("opening")).items():
            cause = row.split(b"\0")[1].decode()
            if cause in undone:  # else it was given up, and waits among the dead letters
                self._making[cause] = OPENINGS.load(value)

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
        binding = self.reconciling.whole(found)
        if binding != found:
            await door.record(binding)
        moved = [b for b in self.all(binding.address.surface) if _is_same(b, binding) and not b.left]
        await self.reconciling.restore(binding.address.surface, [binding], complete=False)
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
            self.changed(binding)
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
        given = await self.change(binding, stored(binding.address, usage), agent=agent, context=context)
        self.usages.know(binding.address, usage)
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
        rows = dict(await self.usages.moved(old, binding.address))
        left = self.at(old)
        if left is not None and not left.left:
            rows[key("conv", *place(old))] = BINDINGS.dump(replace(left, left=True))
            self.changed(replace(left, left=True))
        await self._keep(binding, rows)

    async def _keep(self, binding: Binding, changes: Changes) -> None:
        if self.at(binding.address) == binding and not changes:
            return
        rows = {**changes, key("conv", *place(binding.address)): BINDINGS.dump(binding)}
        await self._journal.write(rows)
        self.changed(binding)


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
