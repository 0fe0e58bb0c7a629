"""`FakeHomeserver`: the whole of it, as tests hold it in their hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from surfaces_testing.homeserver.accounts import User
from surfaces_testing.homeserver.control import Control
from surfaces_testing.homeserver.event import Event, Json
from surfaces_testing.homeserver.faults import Fault
from surfaces_testing.homeserver.http import Door, Web
from surfaces_testing.homeserver.person import Person
from surfaces_testing.homeserver.record import Record, Request
from surfaces_testing.homeserver.room import Room
from surfaces_testing.homeserver.schedule import Faults
from surfaces_testing.homeserver.shown import Shown, shown
from surfaces_testing.homeserver.world import World

PASSWORD = "secret"  # noqa: S105  everybody's, where a test names no other


class FakeHomeserver:
    """A Matrix homeserver in memory, on loopback, for as long as its `async with` block.

    What it answers is measured against Synapse. `world` is everything it knows, `record` everything
    it was asked, `faults` what goes wrong.
    """

    def __init__(self, server_name: str = "hs.test", room_version: str = "12", *, port: int = 0) -> None:
        self.world = World(server_name, room_version)
        self.record = Record()
        self.faults = Faults()
        control = Control(self).routes
        self.web = Web(self.world, self.record, self.faults, control)
        self.door = Door(self.world, control)
        """Enter it to let other processes in while the homeserver refuses."""
        self._port = port

    async def __aenter__(self) -> Self:
        await self.web.listen(self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.web.refuse()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.web.port}"

    # People ---------------------------------------------------------------------------------------

    def register(self, user_id: str, password: str = PASSWORD, display_name: str | None = None) -> User:
        """An account that can log in."""
        return self.world.register(user_id, password, display_name)

    def person(self, user_id: str, display_name: str | None = None) -> Person:
        """Somebody at a client."""
        return Person(self.world, self.register(user_id, display_name=display_name))

    def say_many(self, messages: Iterable[tuple[str, str, str]]) -> list[str]:
        """`(user id, room id, text)` each, all at one instant: one sync shows them together. The event ids."""
        content = ((self.rooms[room], who, {"msgtype": "m.text", "body": text}) for who, room, text in messages)
        return [self.world.send(room, who, "m.room.message", said).event_id for room, who, said in content]

    # What there is --------------------------------------------------------------------------------

    @property
    def rooms(self) -> dict[str, Room]:
        """By id."""
        return self.world.rooms

    @property
    def requests(self) -> list[Request]:
        """Everything that was asked, oldest first."""
        return self.record.requests

    def events(self, room_id: str) -> list[Event]:
        """All events of a room, oldest first."""
        return list(self.rooms[room_id].timeline)

    def shown(self, room_id: str) -> list[Shown]:
        """What a person's client shows of a room now."""
        return shown(self.rooms[room_id])

    def members(self, room_id: str) -> dict[str, str]:
        """User id to membership."""
        return dict(self.rooms[room_id].members)

    def state(self, room_id: str) -> dict[tuple[str, str], Json]:
        """(type, state key) to content."""
        return {key: dict(event.content) for key, event in self.rooms[room_id].state.items()}

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until a condition holds; it is asked again on every change. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self.world.changes.wait()

    # What goes wrong ------------------------------------------------------------------------------

    def fault(self, route: str, *faults: Fault, times: int = 1) -> None:
        """The next requests to an endpoint meet these in turn, `times` over."""
        self.faults.script(route, list(faults) * times)

    def roll_back(self, pos: int) -> None:
        """Forget everything after a position, like a server restored from a backup."""
        self.world.roll_back(pos)

    def forget_transactions(self, device_id: str | None = None) -> None:
        """A repeat of what one device (None: any) sent until now counts as new, as it does after a day."""
        self.world.forget_transactions(device_id)

    def revoke(self, user_id: str) -> None:
        """End all logins of somebody."""
        self.world.revoke(user_id)

    async def refuse(self) -> None:
        """Cut all connections and refuse new ones until `accept`."""
        await self.web.refuse()

    async def accept(self) -> None:
        """Listen again, at the same port."""
        await self.web.listen()
