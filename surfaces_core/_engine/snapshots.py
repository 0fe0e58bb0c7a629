"""Snapshots for people to read: what applies to them in a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.foreign import contained
from surfaces_core._engine.people import People
from surfaces_core._engine.staging import Staging
from surfaces_core.contracts import Section, Surface, Transport
from surfaces_core.errors import DriverError
from surfaces_core.events import Agent, Binding, Inbound
from surfaces_core.i18n import LANGUAGES, language

DESCRIBE_S = 5.0
"""How long an agent may take to describe itself; without it there is still the rest."""


class Snapshots:
    """Looks at the settings of one conversation."""

    def __init__(
        self,
        *,
        settings: HostSettings,
        people: People,
        surfaces: Mapping[str, Surface],
        transports: Mapping[str, Transport],
        staging: Staging,
        max_staged: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings = settings
        self._people = people
        self._surfaces = surfaces
        self._transports = transports
        self._staging = staging
        self._max_staged = max_staged
        self._log = log

    async def of(self, message: Inbound, binding: Binding | None) -> Sequence[Section]:
        """What applies to a person here, and what their agent says of itself."""
        owner = self._people.of(message.address.surface, message.sender)
        agent = owner if binding is None else self._people.agents.get(binding.agent)
        own = Section(title=words.SETTINGS(), lines=tuple(self._own(message, agent)))
        return [own, *(await self._described(agent) if agent is not None else ())]

    def _own(self, message: Inbound, agent: Agent | None) -> Iterator[str]:
        pace = self._surfaces[message.address.surface].pace
        streams = pace is not None and pace.budget > 0
        yield words.SETTING_LANGUAGE(language=LANGUAGES[language.get()])
        if agent is not None:
            yield words.SETTING_AGENT(agent=words.plain(agent.label))
        yield words.STREAMS() if streams else words.STREAMS_NOT()
        yield {"off": words.TOOLS_OFF, "compact": words.TOOLS_COMPACT, "full": words.TOOLS_FULL}[
            self._settings.show_tools
        ]()
        waiting = len(self._staging.listed(message.address, message.sender, message.thread))
        yield words.SETTING_FILES(waiting=waiting, most=self._max_staged)
        limits = self._settings.limits
        if limits.messages_per_minute is not None:
            yield words.LIMIT_MINUTE(limits.messages_per_minute)
        if limits.concurrent_turns is not None:
            yield words.LIMIT_TURNS(limits.concurrent_turns)
        if limits.queue_depth is not None:
            yield words.LIMIT_QUEUE(limits.queue_depth)

    async def _described(self, agent: Agent) -> Sequence[Section]:
        try:
            async with asyncio.timeout(DESCRIBE_S):
                with contained():
                    return tuple(await self._transports[agent.transport].describe(agent))
        except (DriverError, TimeoutError) as error:
            self._log.info("agent.undescribed", agent=agent.id, error=str(error))
        except Exception:  # noqa: BLE001 - what only looks must not end what works
            self._log.exception("agent.describe.bug", agent=agent.id)
        return ()
