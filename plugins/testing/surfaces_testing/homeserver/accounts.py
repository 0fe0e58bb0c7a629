"""Users of the homeserver and the devices they are logged in with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from surfaces_testing.homeserver.event import Json


class Changes:
    """Wakes everybody who waits for the next change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def touch(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Until the next change."""
        await self._event.wait()


@dataclass(slots=True, kw_only=True)
class Device:
    """One login."""

    user_id: str
    device_id: str
    token: str
    known_members: set[tuple[str, str]] = field(default_factory=set)
    """(room, member) pairs that lazy loading need not send again."""


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody who can log in."""

    user_id: str
    password: str
    display_name: str
    avatar_url: str | None = None
    rooms: set[str] = field(default_factory=set)
    """Every room that they ever had to do with."""
    filters: list[Json] = field(default_factory=list)
    account_data: dict[tuple[str, str], tuple[int, Json]] = field(default_factory=dict)
    """(room or empty, type) to position and content."""
    changes: Changes = field(default_factory=Changes)

    @property
    def profile(self) -> Json:
        """As it stands in their membership events."""
        profile: Json = {"displayname": self.display_name}
        if self.avatar_url is not None:
            profile["avatar_url"] = self.avatar_url
        return profile
