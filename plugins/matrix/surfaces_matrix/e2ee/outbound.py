"""Owns the Megolm sessions that this device encrypts with, one for each room, and who has their keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import vodozemac

from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.olm import MEGOLM

DEFAULT_PERIOD_MS = 604_800_000
DEFAULT_MESSAGES = 100
LEAST_PERIOD_S = 3600.0
"""Whoever sets a room's state must not make every message cost a new key."""
MOST_MESSAGES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a session is used up (Matrix spec, "m.room.encryption")."""

    period_s: float = DEFAULT_PERIOD_MS / 1000
    messages: int = DEFAULT_MESSAGES

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Rotation:
        """As a room's `m.room.encryption` says, within bounds."""
        period, messages = content.get("rotation_period_ms"), content.get("rotation_period_msgs")
        return cls(
            period_s=max(LEAST_PERIOD_S, _number(period, DEFAULT_PERIOD_MS) / 1000),
            messages=min(MOST_MESSAGES, max(1, _number(messages, DEFAULT_MESSAGES))),
        )


@dataclass(slots=True, kw_only=True)
class OutboundSession:
    """One room's session. `offered` devices may have its key, `shared` ones surely got it."""

    megolm: vodozemac.GroupSession
    created_at: float
    used: int = 0
    offered: dict[str, dict[str, str]] = field(default_factory=dict)
    """By user and device id: the device's identity key."""
    shared: dict[str, list[str]] = field(default_factory=dict)
    """By user: the devices' identity keys."""
    withheld: dict[str, str] = field(default_factory=dict)
    """By identity key: the code that the device was told."""

    def encrypt(self, payload: Mapping[str, Any]) -> str:
        """The ciphertext of an event's payload."""
        self.used += 1
        return str(self.megolm.encrypt(orjson.dumps(payload)).to_base64())

    def has(self, device: Device) -> bool:
        """Whether a device surely got the key."""
        return device.curve25519 in self.shared.get(device.user_id, ())

    def offer(self, device: Device) -> None:
        """The key is about to be sent to a device."""
        self.offered.setdefault(device.user_id, {})[device.device_id] = device.curve25519

    def give(self, device: Device) -> None:
        """The key was sent to a device."""
        self.shared.setdefault(device.user_id, []).append(device.curve25519)

    def take_back(self, user_id: str, curve25519: str) -> None:
        """A device did not get the key after all."""
        self.shared[user_id] = [one for one in self.shared.get(user_id, ()) if one != curve25519]

    def key(self, room_id: str) -> dict[str, Any]:
        """The content of an `m.room_key`, from the next message on."""
        return {
            "algorithm": MEGOLM,
            "room_id": room_id,
            "session_id": self.megolm.session_id,
            "session_key": self.megolm.session_key.to_base64(),
        }

    def is_known_to_others(self, devices: Collection[Device]) -> bool:
        """Whether somebody may have the key who is none of these any more."""
        now = {(device.user_id, device.device_id, device.curve25519) for device in devices}
        had = {
            (user_id, device_id, curve25519)
            for user_id, theirs in self.offered.items()
            for device_id, curve25519 in theirs.items()
        }
        return not had <= now


class Outbound:
    """The sessions of one life of an account: none outlives it, so that no copy of the state goes on with one.

    A restored copy would not know how far a session had gone, and an index that is used twice shows what was said.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, OutboundSession] = {}

    def current(self, room_id: str, rotation: Rotation, devices: Collection[Device]) -> OutboundSession | None:
        """The room's session, unless it is used up or somebody has its key who should not."""
        session = self._sessions.get(room_id)
        if session is None:
            return None
        age_s = self._clock() - session.created_at
        worn = session.used >= rotation.messages or not 0 <= age_s < rotation.period_s
        return None if worn or session.is_known_to_others(devices) else session

    def begin(self, room_id: str) -> OutboundSession:
        """A new session for a room."""
        session = self._sessions[room_id] = OutboundSession(megolm=vodozemac.GroupSession(), created_at=self._clock())
        return session

    def renewed(self, user_id: str, curve25519: str) -> None:
        """A device could not read what it was sent: it gets the keys once more."""
        for session in self._sessions.values():
            session.take_back(user_id, curve25519)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
