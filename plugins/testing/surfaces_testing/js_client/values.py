"""What a client of another family shows: rooms, messages, devices, trust and verifications, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Phase = Literal["unsent", "requested", "ready", "started", "cancelled", "done"]
Shield = Literal["none", "grey", "red"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JsReaction(_Value):
    """A reaction to a message."""

    event_id: str
    key: str
    sender: str


class JsMessage(_Value):
    """One event of the timeline as it shows now: edited, decrypted, with the reactions to it."""

    event_id: str
    sender: str
    type: str
    msgtype: str | None
    body: str | None
    formatted_body: str | None
    content: Mapping[str, Any]
    """All of it, decrypted, as the last edit left it."""
    redacted: bool
    encrypted: bool
    undecryptable: str | None
    """Why it cannot be read; None where it can."""
    versions: tuple[str, ...]
    """Every text it ever had that this client has seen, the first one first."""
    reactions: tuple[JsReaction, ...]
    reply_to: str | None
    thread: str | None
    file: bool
    mark: Mapping[str, Any] | None
    """How the bot marked it (`io.surfaces.id`)."""
    shield: Shield | None
    """The sign beside an encrypted message: red where the sender's device is not to be trusted."""
    shield_reason: str | None

    @property
    def text(self) -> str:
        """What it says."""
        return self.body or ""


class JsRoom(_Value):
    """A room that the client knows."""

    room_id: str
    name: str
    membership: str
    space: bool
    encrypted: bool
    inviter: str | None
    members: Mapping[str, str]
    """Membership by user id."""
    typing: tuple[str, ...]
    unread: int
    children: tuple[str, ...]
    """Of a Space: the ids of its rooms."""


class Device(_Value):
    """A device of a user, and what this client holds of it."""

    device_id: str
    name: str | None
    fingerprint: str | None
    identity_key: str | None
    signed_by_owner: bool
    """Signed by its owner's self-signing key."""
    verified: bool
    """Trusted by this client for any reason."""
    cross_signing_verified: bool
    locally_verified: bool


class UserTrust(_Value):
    """What this client holds of a user's identity."""

    has_cross_signing_keys: bool
    verified: bool
    cross_signing_verified: bool
    needs_approval: bool
    """The identity changed after it was first seen."""


class OwnTrust(_Value):
    """The state of the own account's encryption."""

    cross_signing_ready: bool
    secret_storage_ready: bool
    private_keys_cached: bool
    private_keys_in_secret_storage: bool
    backup_version: str | None


class Restored(_Value):
    """What came back from the key backup."""

    total: int
    imported: int


class Verification(_Value):
    """A verification with another device, while it runs and after it."""

    name: str
    """How this client's verbs call it."""
    phase: Phase
    user: str
    device: str | None
    room: str | None
    """The room that it happens in; None when it is sent to devices."""
    own: bool
    """Whether this client asked for it."""
    method: str | None
    emoji: tuple[str, ...] | None
    """What to compare, once it shows."""
    decimal: tuple[int, ...] | None
    cancel_code: str | None
    failure: str | None
