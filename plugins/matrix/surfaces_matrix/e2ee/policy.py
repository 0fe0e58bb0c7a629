"""Decides which devices get the keys of rooms, and whose words count."""

from __future__ import annotations

from surfaces_matrix.e2ee.device import Device, Policy, Trust
from surfaces_matrix.e2ee.inbound import Decrypted

UNVERIFIED = "m.unverified"
"""Code of `m.room_key.withheld` (Matrix spec): the device is not trusted."""
HELD = frozenset({Trust.CHANGED, Trust.UNSIGNED})
"""Whoever was verified once is held to it."""


def withheld(policy: Policy, device: Device) -> str:
    """Why a device gets no key, as a code of `m.room_key.withheld`; empty where it does."""
    if policy == "all" or device.trust is Trust.VERIFIED:
        return ""
    if policy == "verified_only" or device.trust in HELD:
        return UNVERIFIED
    return ""


def is_held(policy: Policy, *, was_verified: bool) -> bool:
    """Whether somebody's words count from their verified devices alone; `was_verified` is said of their identity."""
    return policy == "verified_only" or (policy == "tofu" and was_verified)


def believed(policy: Policy, found: Decrypted, device: Device | None, *, was_verified: bool) -> bool:
    """Whether an event counts as said by its sender, `device` being the sender's known one that made its session.

    `was_verified` tells whether the sender's identity was.
    """
    if device is not None and found.sender.ed25519 != device.ed25519:
        return False
    if is_held(policy, was_verified=was_verified):
        # A backup's content says whose it is, but everybody who knows its public key could have put it there.
        return device is not None and device.trust is Trust.VERIFIED and found.origin != "backup"
    if device is None:
        # A device that is gone since: its key came from it, or nobody can tell whose it was.
        return found.origin == "direct"
    return True
