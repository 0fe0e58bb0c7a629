"""Whose agent is whose: the registry as it is now, what people chose, and who was told what they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from surfaces_core._config.settings import Registry
from surfaces_core._engine.journal import Changes, Journal, key, place
from surfaces_core.events import Address, Agent, Binding

Choice = Literal["fixed", "per_person", "per_conversation"]


class People:
    """Every person's agent; the registry may be replaced while the host runs."""

    def __init__(self, journal: Journal, registry: Registry, choice: Choice) -> None:
        self._journal = journal
        self.registry = registry
        self.choice = choice
        self._chosen: dict[tuple[str, str], str] = {}
        """By surface and person."""
        self._placed: dict[Address, str] = {}
        """By conversation."""
        self._telling: dict[tuple[str, str], str] = {}
        """Which turn tells a person that they have the default agent; empty where they have been told."""
        self.since = 0.0
        """Unix seconds when the registry came."""

    async def open(self) -> None:
        """Read what people chose and were told."""
        self.since = self._journal.now()
        for row, value in (await self._journal.scan("agent")).items():
            _, surface, person = row.decode().split("\0")
            self._chosen[surface, person] = value.decode()
        for row, value in (await self._journal.scan("agent_at")).items():
            _, surface, conversation = row.decode().split("\0")
            self._placed[Address(surface=surface, conversation=conversation)] = value.decode()
        for row in await self._journal.scan("told"):
            _, surface, person = row.decode().split("\0")
            self._telling[surface, person] = ""

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Every agent of the registry, by its id."""
        return self.registry.agents

    def replace(self, registry: Registry) -> None:
        """The operator has changed the registry."""
        self.registry, self.since = registry, self._journal.now()

    def of(self, surface: str, person: str) -> Agent | None:
        """The agent of a person; None when they have none."""
        chosen = self._chosen.get((surface, person), "") if self.choice == "per_person" else ""
        if chosen and self.registry.may_use(person, chosen):
            return self.agents[chosen]
        return self.registry.of(person)

    def wanted(self, binding: Binding) -> Agent | None:
        """The agent that a conversation should be with; None when its owner has none."""
        placed = self._placed.get(binding.address, "") if self.choice == "per_conversation" else ""
        if placed and (binding.shared or self.registry.may_use(binding.owner, placed)) and placed in self.agents:
            return self.agents[placed]
        if binding.shared and binding.agent in self.agents:  # it was taken from who called the bot there
            return self.agents[binding.agent]
        return self.of(binding.address.surface, binding.owner)

    def offered(self, person: str) -> Sequence[Agent]:
        """The agents that a person may choose among, in the order of the registry."""
        return [agent for agent in self.agents.values() if self.registry.may_use(person, agent.id)]

    async def choose(self, address: Address, person: str, agent: str) -> None:
        """A person wants this agent, for this conversation or for all of theirs."""
        if self.choice == "per_person":
            await self._journal.write({key("agent", address.surface, person): agent.encode()})
            self._chosen[address.surface, person] = agent
        else:
            await self._journal.write({key("agent_at", *place(address)): agent.encode()})
            self._placed[address] = agent

    def tells(self, surface: str, person: str, turn: str) -> bool:
        """Whether a turn is the one that tells a person that they have the default agent."""
        known = person in self.registry.people or (surface, person) in self._chosen
        if known or not self.registry.people:  # where nobody has an agent of their own there is nothing to tell
            return False
        return self._telling.setdefault((surface, person), turn) == turn

    def told(self, surface: str, person: str) -> Changes:
        """What to store with the sentence that tells it."""
        return {key("told", surface, person): b""}
