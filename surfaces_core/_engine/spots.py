"""Where the lanes of the inbox are: a conversation, or one thread of it."""

from __future__ import annotations

from typing import NamedTuple

from surfaces_core.events import Address, Inbound


class Spot(NamedTuple):
    """The name of a lane."""

    address: Address
    thread: str = ""

    @classmethod
    def of(cls, message: Inbound) -> Spot:
        """Where a message was said."""
        return cls(message.address, message.thread)
