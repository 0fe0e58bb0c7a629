"""Owns the Megolm sessions that this device encrypts with, one for each room, and who has their keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import vodozemac

from surfaces_matrix.e2ee.device import Device
from surfaces_matrix.e2ee.keep import Keep
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

    def has(self, device: Device) -> bool:
        """Whether a device surely got the key."""
        return device.curve25519 in self.shared.get(device.user_id, ())

    def offer(self, device: Device) -> None:
        """The key is about to be sent to a device."""
        self.offered.setdefault(device.user_id, {})[device.device_id] = device.curve25519

    def give(self, device: Device) -> None:
        """The key was sent to a device."""
        self.shared.setdefault(device.user_id, []).append(device.curve25519)

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
    """The sessions of one account. What changes is kept with the next flush."""

    def __init__(self, keep: Keep, key: bytes, clock: Callable[[], float]) -> None:
        self._keep = keep
        self._key = key
        self._clock = clock
        self._sessions: dict[str, OutboundSession] = {}

    async def current(self, room_id: str, rotation: Rotation, devices: Collection[Device]) -> OutboundSession | None:
        """The room's session, unless it is used up or somebody has its key who should not."""
        session = self._sessions.get(room_id)
        if session is None:
            row = await self._keep.get(f"out/{room_id}")
            if row is None:
                return None
            session = self._sessions.setdefault(room_id, self._load(row))
        age_s = self._clock() - session.created_at
        worn = session.used >= rotation.messages or not 0 <= age_s < rotation.period_s
        return None if worn or session.is_known_to_others(devices) else session

    def begin(self, room_id: str) -> OutboundSession:
        """A new session for a room."""
        session = OutboundSession(megolm=vodozemac.GroupSession(), created_at=self._clock())
        self._sessions[room_id] = session
        self.changed(room_id)
        return session

    def encrypt(self, room_id: str, session: OutboundSession, payload: Mapping[str, Any]) -> str:
        """The ciphertext of an event's payload; flush before it leaves, else its index may be used again."""
        session.used += 1
        ciphertext = session.megolm.encrypt(orjson.dumps(payload)).to_base64()
        self.changed(room_id)
        return ciphertext

    def changed(self, room_id: str) -> None:
        """Something of a room's session is to be kept."""
        session = self._sessions[room_id]
        self._keep.set(f"out/{room_id}", lambda: self._spelled(session))

    async def drop(self, room_id: str) -> None:
        """The next event of a room gets a new session."""
        self._sessions.pop(room_id, None)
        self._keep.set(f"out/{room_id}", None)

    def _spelled(self, session: OutboundSession) -> bytes:
        return orjson.dumps(
            {
                "pickle": session.megolm.pickle(self._key),
                "created_at": session.created_at,
                "used": session.used,
                "offered": session.offered,
                "shared": session.shared,
                "withheld": session.withheld,
            }
        )

    def _load(self, row: bytes) -> OutboundSession:
        kept = orjson.loads(row)
        return OutboundSession(
            megolm=vodozemac.GroupSession.from_pickle(kept["pickle"], self._key),
            created_at=kept["created_at"],
            used=kept["used"],
            offered=kept["offered"],
            shared=kept["shared"],
            withheld=kept["withheld"],
        )


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
