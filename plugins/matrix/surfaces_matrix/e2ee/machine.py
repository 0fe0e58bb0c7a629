"""Encrypts and decrypts for one account: the door to all of its keys."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from structlog.typing import FilteringBoundLogger

from surfaces_core import Store
from surfaces_matrix.client import Client
from surfaces_matrix.e2ee.device import Device, Identity, Policy

ToDeviceHandler = Callable[[str, Mapping[str, Any], Device | None], Awaitable[None]]
"""Gets sender, content, and the device that encrypted it; None where it came in the clear or the device is unknown."""
RoomEventHandler = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Gets the room's id and an event of it, decrypted."""
NewSessionHandler = Callable[[str, str], Awaitable[None]]
"""Gets the ids of a room and of a Megolm session that can be exported now."""
Source = Literal["backup", "file"]


class Machine:
    """The keys of one device of ours. Usable once `open` returned."""

    def __init__(
        self,
        client: Client,
        store: Store,
        log: FilteringBoundLogger,
        *,
        trust: Policy = "tofu",
        pickle_key: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.user_id = client.user_id
        self.device_id = ""
        self._client = client
        self._store = store
        self._log = log
        self._trust = trust
        self._clock = clock

    async def open(self, device_id: str) -> None:
        """Load the keys of a device, or make new ones where it has none."""
        raise NotImplementedError

    @property
    def ed25519(self) -> str:
        """Our device's signing key, unpadded base64."""
        raise NotImplementedError

    @property
    def curve25519(self) -> str:
        """Our device's identity key, unpadded base64."""
        raise NotImplementedError

    def sign(self, value: Mapping[str, Any]) -> str:
        """Our device's signature of an object's canonical JSON, without its `signatures` and `unsigned`."""
        raise NotImplementedError

    def device_keys(self) -> dict[str, Any]:
        """Our device keys object, signed, as it is uploaded."""
        raise NotImplementedError

    # Whom others are

    async def devices(self, user_id: str) -> Mapping[str, Device]:
        """Somebody's devices by id, asked for where they are not known or may have changed. `Unavailable`."""
        raise NotImplementedError

    async def identity_of(self, user_id: str) -> Identity:
        """Somebody's cross-signing keys as last queried; asked for where they are not known. `Unavailable`."""
        raise NotImplementedError

    async def set_trust(self, user_id: str, device_id: str, ed25519: str, verified: bool) -> None:
        """Note that a device with this key was verified, or no longer is.

        With a master key's public part as `device_id` and `ed25519` it is the person's identity.
        """
        raise NotImplementedError

    async def upload_signatures(self, body: Mapping[str, Any]) -> None:
        """Upload signatures (Matrix spec, `/keys/signatures/upload`). `Unavailable` or `Rejected`."""
        raise NotImplementedError

    # Messages to devices

    async def send_to_device(
        self, type_: str, messages: Mapping[str, Mapping[str, Mapping[str, Any]]], *, encrypted: bool
    ) -> None:
        """Send contents by user and device id; to a device without a session one is made. `Unavailable`."""
        raise NotImplementedError

    def on_to_device(self, type_: str, handler: ToDeviceHandler) -> None:
        """Call a handler for each such message; its failures are logged and end nothing."""
        raise NotImplementedError

    def on_room_event(self, type_: str, handler: RoomEventHandler) -> None:
        """Call a handler for each such event of a room's timeline (`m.room.message` by its msgtype), decrypted."""
        raise NotImplementedError

    # The keys of rooms

    async def export_session(self, room_id: str, session_id: str) -> dict[str, Any] | None:
        """One session in the format of key exports (Matrix spec, "Key export format"), or None."""
        raise NotImplementedError

    async def sessions(self) -> Sequence[tuple[str, str]]:
        """The ids of room and session of all that can be exported."""
        raise NotImplementedError

    async def import_sessions(self, sessions: Sequence[Mapping[str, Any]], source: Source) -> int:
        """Take sessions in that format; how many were new or better. What is malformed is passed over."""
        raise NotImplementedError

    def on_new_session(self, handler: NewSessionHandler) -> None:
        """Call a handler for each session that is new or better than before."""
        raise NotImplementedError
