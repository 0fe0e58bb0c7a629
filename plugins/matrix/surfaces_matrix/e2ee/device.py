"""The values that say whose a device is and how far it is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Policy = Literal["tofu", "verified_only", "all"]


class Trust(StrEnum):
    """How far a device is trusted."""

    VERIFIED = "verified"
    """It was verified itself, or is signed by an identity that was."""
    UNVERIFIED = "unverified"
    """Its keys are those that were first seen."""
    CHANGED = "changed"
    """Its owner was verified, and has another identity since."""
    UNSIGNED = "unsigned"
    """Its owner was verified, and neither did they sign it nor was it verified itself: anybody could have added it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of somebody's, whose keys are signed by itself. Keys are unpadded base64."""

    user_id: str
    device_id: str
    ed25519: str
    curve25519: str
    name: str
    """What its owner calls it; never for deciding anything."""
    keys: Mapping[str, Any]
    """Its device keys object as the homeserver gave it (Matrix spec, `/keys/query`)."""
    trust: Trust = Trust.UNVERIFIED
    cross_signed: bool = False
    """Its owner's self-signing key, as last queried, signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody's cross-signing keys as last queried, each the raw JSON object; None where there is none."""

    master: Mapping[str, Any] | None = None
    self_signing: Mapping[str, Any] | None = None
    user_signing: Mapping[str, Any] | None = None
    """Only one's own is ever shown."""
    verified: bool = False
    """The master key was verified."""
