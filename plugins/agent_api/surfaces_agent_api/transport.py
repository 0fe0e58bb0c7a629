"""Owns the driver: which socket a turn uses, when a socket is kept, and when a question is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, aclosing
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ClassVar, Self
from weakref import WeakValueDictionary

import aiohttp
from pydantic import BaseModel
from structlog.contextvars import unbind_contextvars

from surfaces_agent_api import failures
from surfaces_agent_api.address import socket_address, without_login
from surfaces_agent_api.advice import advice
from surfaces_agent_api.connection import Connection
from surfaces_agent_api.dialing import client_session, dial, greet
from surfaces_agent_api.framelog import frame_logger
from surfaces_agent_api.pace import Crowd
from surfaces_agent_api.settings import AgentApiSettings, AgentOptions
from surfaces_agent_api.turn import Turn
from surfaces_core import (
    Agent,
    AgentEvent,
    AgentRequest,
    DriverError,
    Health,
    Rejected,
    Transport,
    TransportContext,
    Unavailable,
)

_MAX_WAKE_S = 2.0
"""How long a kept socket may take to answer a ping before a new one is made."""
_MAX_TYPES = 100
"""Unknown frame types that are remembered, so that each is logged once."""
_DEAF_S = 600.0
"""How long the sockets of an agent that left a ping unanswered are not kept. Then it may have changed."""
CHECK_CONTEXT = "0"
"""The context that `check` connects to. No conversation has it."""

Key = tuple[str, str]
"""Agent id and context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What there is while the driver's block lasts."""

    session: aiohttp.ClientSession
    group: asyncio.TaskGroup


class AgentApi(Transport):
    """Talks to agents over WebSockets: one socket for each agent and context, kept for the next turn.

    Codes of its errors: `Unavailable` with AGENT_UNREACHABLE or AGENT_NO_STATUS; `Rejected` with
    AGENT_TIMEOUT, AGENT_OVERTIME, AGENT_CUT_OFF, AGENT_PROTOCOL, AGENT_ERROR, AGENT_CLOSED or AGENT_NOT_ASKED.
    """

    Settings: ClassVar[type[BaseModel]] = AgentApiSettings
    AgentSettings: ClassVar[type[BaseModel]] = AgentOptions

    settings: AgentApiSettings
    context: TransportContext

    def __init__(self, settings: AgentApiSettings, context: TransportContext) -> None:
        super().__init__(settings, context)
        self._stack = AsyncExitStack()
        self._open: _Open | None = None
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._alive: set[Connection] = set()
        self._connections: dict[Key, Connection] = {}
        """Those of conversations, for the next turn."""
        self._turns: dict[Key, Turn] = {}
        self._whose: dict[Key, str] = {}
        """The turn that each socket is used for, from connecting on."""
        self._crowd = Crowd()
        self._deaf: dict[str, float] = {}
        """Until when, in the loop's time, the sockets of an agent are not kept: it left a ping unanswered."""
        self._types: set[str] = set()

    async def __aenter__(self) -> Self:
        session = await self._stack.enter_async_context(client_session())
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._open = _Open(session=session, group=group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = None
        for connection in list(self._alive):
            connection.retire()
        await self._stack.aclose()  # waits for the goodbyes, which are bounded

    async def run(self, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """One turn; waits for the one before it in the same context."""
        key = (request.agent.id, request.context)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock, aclosing(self._ask(key, request)) as events:
            self._whose[key] = request.turn
            try:
                async for event in events:
                    yield event
            finally:
                del self._whose[key]

    async def answer(self, request: AgentRequest, question: str, approved: bool) -> None:
        """Answer a `Confirm` of a running turn. `Rejected` when it is no longer open."""
        turn = self._turns.get((request.agent.id, request.context))
        if turn is None or turn.request.turn != request.turn:
            raise failures.rejected(failures.NOT_ASKED, "no such turn is running")
        await turn.answer(question, approved)

    async def forget(self, agent: Agent, context: str) -> None:
        """Close the socket of a context at once; a turn that runs there is cut off."""
        key = (agent.id, context)
        connection = self._connections.get(key)
        if connection is not None:
            connection.retire(cancel=key in self._turns and _options(agent).supports_cancel)

    async def check(self, agent: Agent) -> Health:
        """Connect anew, hear `STATUS`, hang up. A socket that is kept says nothing of whether others are taken."""
        address = _options(agent).base_url
        try:
            address = _address(_options(agent), CHECK_CONTEXT)
            connection = await self._dialled(agent.id, CHECK_CONTEXT, address)
            await self._greeted(connection)
        except DriverError as error:
            hint = advice(error)
            said = f"{without_login(address)}: {f'{hint} ({error})' if hint else error}"
            return Health(reachable=False, code=error.code, detail=said)
        connection.retire()
        return Health(reachable=True)

    def repeatable(self, agent: Agent) -> bool:
        """Whether the agent takes message ids."""
        return _options(agent).send_message_id

    # Which socket

    async def _ask(self, key: Key, request: AgentRequest) -> AsyncGenerator[AgentEvent, None]:
        """The turn on the kept socket; on a new one where there is none or it turns out to be dead.

        What fails before the question is out fails silently: on a new socket it may still go well.
        """
        options = _options(request.agent)
        address = _address(options, request.context)
        lost: DriverError | None = None
        kept = await self._kept(key, address)
        if kept is not None:
            turn = self._turn(request, kept)
            try:
                async with aclosing(self._converse(key, turn, options)) as events:
                    async for event in events:
                        yield event
            except DriverError as error:
                if isinstance(error, Rejected):
                    if not _may_ask_again(turn, error, options):
                        raise
                    lost = error
            else:
                return
        turn = self._turn(request, await self._connect(key, address, lost))
        async with aclosing(self._converse(key, turn, options)) as events:
            async for event in events:
                yield event

    def _turn(self, request: AgentRequest, connection: Connection) -> Turn:
        return Turn(request, connection, self.settings, self._unknown_type)

    async def _kept(self, key: Key, address: str) -> Connection | None:
        connection = self._connections.get(key)
        if connection is None:
            return None
        awake = False
        try:
            if connection.address == address:
                awake = await connection.wake(min(self.settings.status_timeout_s, _MAX_WAKE_S))
        except TimeoutError:
            self._deaf[key[0]] = asyncio.get_running_loop().time() + _DEAF_S
        finally:
            if not awake:
                connection.retire()
        return connection if awake else None

    async def _connect(self, key: Key, address: str, lost: DriverError | None) -> Connection:
        """A new socket that has heard `STATUS`.

        `lost` is how the agent may have got the question already: then failing is no matter of later.
        """
        try:
            connection = self._connections[key] = await self._dialled(*key, address)
            await self._greeted(connection)
        except Unavailable as error:
            if lost is None:
                raise
            raise lost from error
        return connection

    async def _dialled(self, agent: str, context: str, address: str) -> Connection:
        """A new socket, which is read from now on. Raises `Unavailable`."""
        if self._open is None:
            raise failures.unavailable(failures.UNREACHABLE, "the driver is not open")
        socket = await dial(self._open.session, address, self.settings)
        if self._open is None:
            socket.drop()
            raise failures.unavailable(failures.UNREACHABLE, "the driver was closed while connecting")

        def turn() -> str:
            return self._whose.get((agent, context), "")

        tap = frame_logger(self.context.log, agent=agent, context=context, turn=turn)
        connection = Connection(
            socket, address=address, spawn=partial(_apart, self._open.group), tap=tap, crowd=self._crowd
        )
        self._alive.add(connection)
        connection.start(lambda: self._gone((agent, context), connection))
        return connection

    async def _greeted(self, connection: Connection) -> None:
        """Hear `STATUS`. Raises `Unavailable` or `Rejected`."""
        try:
            await greet(connection, self.settings)
        except BaseException:
            connection.retire()
            raise

    def _gone(self, key: Key, connection: Connection) -> None:
        self._alive.discard(connection)
        if self._connections.get(key) is connection:
            del self._connections[key]

    # The turn

    async def _converse(self, key: Key, turn: Turn, options: AgentOptions) -> AsyncGenerator[AgentEvent, None]:
        self._turns[key] = turn
        try:
            async with aclosing(turn.run(with_id=options.send_message_id)) as events:
                async for event in events:
                    yield event
        finally:
            del self._turns[key]
            self._release(turn, options)

    def _release(self, turn: Turn, options: AgentOptions) -> None:
        """Keep the socket of a turn that went well; any other may still carry what belongs to that turn."""
        if not turn.ended:
            turn.connection.retire(cancel=options.supports_cancel)
        elif self.settings.keepalive_s == 0 or self._is_deaf(turn.request.agent.id):
            turn.connection.retire()
        else:
            turn.connection.rest(self.settings.keepalive_s)

    def _is_deaf(self, agent: str) -> bool:
        if self._deaf.get(agent, 0.0) < asyncio.get_running_loop().time():
            self._deaf.pop(agent, None)
        return agent in self._deaf

    def _unknown_type(self, kind: str) -> None:
        if kind not in self._types and len(self._types) < _MAX_TYPES:
            self._types.add(kind)
            self.context.log.debug("agent.frame_skipped", type=kind)


def _apart(group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> object:
    """Start what outlives the turn that needs it first: what it logs is not about that one."""
    context = copy_context()
    context.run(unbind_contextvars, "turn_id")
    return group.create_task(work, context=context)


def _options(agent: Agent) -> AgentOptions:
    return AgentOptions.model_validate(dict(agent.options))


def _address(options: AgentOptions, context: str) -> str:
    try:
        return socket_address(options.base_url, context)
    except ValueError as error:
        raise failures.rejected(failures.UNREACHABLE, str(error)) from error


def _may_ask_again(turn: Turn, error: DriverError, options: AgentOptions) -> bool:
    """When a kept socket was lost with the question: where message ids make it harmless and nothing came yet."""
    return options.send_message_id and not turn.came and error.code == failures.CUT_OFF
