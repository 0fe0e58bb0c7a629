"""Decides which devices get the keys of rooms, and whose words count."""

from __future__ import annotations

from surfaces_matrix.e2ee.device import Device, Policy, Trust
from surfaces_matrix.e2ee.inbound import Decrypted

UNVERIFIED = "m.unverified"
"""Code of `m.room_key.withheld` (Matrix spec): the device is not trusted."""


def withheld(policy: Policy, device: Device) -> str:
    """Why a device gets no key, as a code of `m.room_key.withheld`; empty where it does."""
    if policy == "all" or device.trust is Trust.VERIFIED:
        return ""
    if policy == "verified_only" or device.trust is Trust.CHANGED:
        return UNVERIFIED
    return ""


def believed(policy: Policy, found: Decrypted, device: Device | None) -> bool:
    """Whether an event counts as said by its sender, `device` being the sender's known one that made its session."""
    if device is not None and found.sender.ed25519 != device.ed25519:
        return False
    if policy == "verified_only":
        # A backup's content says whose it is, but everybody who knows its public key could have put it there.
        return device is not None and device.trust is Trust.VERIFIED and found.origin != "backup"
    if device is None:
        # A device that is gone since: its key came from it, or nobody can tell whose it was.
        return found.origin == "direct"
    return policy == "all" or device.trust is not Trust.CHANGED
