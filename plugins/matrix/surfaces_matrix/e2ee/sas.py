"""One verification by short strings, from its start to its end: what to say to each thing that the other side says.

It does nothing itself: what goes out is handed back, and whoever holds it sends that (Matrix spec, "Short
Authentication String (SAS) verification"). A start by both sides at once is decided by their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import vodozemac

from surfaces_matrix.e2ee.canonical import canonical
from surfaces_matrix.e2ee.emoji import pictures
from surfaces_matrix.e2ee.secrets import encoded
from surfaces_matrix.shapes import mapping, sequence, text

METHOD = "m.sas.v1"
PREFIX = "m.key.verification."
AGREEMENT = "curve25519-hkdf-sha256"
HASH = "sha256"
MAC = "hkdf-hmac-sha256.v2"
STRINGS = ("emoji", "decimal")
_MAC_INFO = "MATRIX_KEY_VERIFICATION_MAC"
_SAS_INFO = "MATRIX_KEY_VERIFICATION_SAS"

REASONS = {
    "m.user": "The verification was cancelled.",
    "m.timeout": "The verification took too long.",
    "m.unknown_transaction": "There is no such verification.",
    "m.unknown_method": "The two sides know no common way to verify.",
    "m.unexpected_message": "A step of the verification came at the wrong time.",
    "m.key_mismatch": "The keys are not those that were expected.",
    "m.user_mismatch": "The user is not the one that was expected.",
    "m.invalid_message": "A step of the verification makes no sense.",
    "m.mismatched_commitment": "The keys do not fit what was promised.",
    "m.mismatched_sas": "The pictures did not match.",
    "m.accepted": "Another device went on with the verification.",
}
Step = tuple[str, dict[str, Any]]
"""A message to send: its type behind `m.key.verification.`, and its content."""


class Phase(StrEnum):
    """How far a verification is."""

    ASKED = "asked"
    """Somebody asked for it; the other side has to be ready."""
    READY = "ready"
    STARTED = "started"
    """We began, and they have to accept."""
    ACCEPTED = "accepted"
    """They know our key, or the promise of it."""
    COMPARE = "compare"
    """People look at the pictures."""
    CONFIRMED = "confirmed"
    """Ours say that they match."""
    DONE = "done"
    CANCELLED = "cancelled"


class Broken(Exception):
    """The verification cannot go on."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One side: a device, and the keys that are taken for its own, by ids like `ed25519:DEVICE`."""

    user_id: str
    device_id: str
    keys: Mapping[str, str]

    @property
    def device_key(self) -> str:
        """The id of the key without which nothing is verified."""
        return f"ed25519:{self.device_id}"


@dataclass(kw_only=True)
class Sas:
    """A verification that is at least ready. `dress` gives a content what says to which one it belongs."""

    ours: Party
    theirs: Party
    transaction: str
    dress: Callable[[Mapping[str, Any]], dict[str, Any]]
    phase: Phase = Phase.READY
    code: str = ""
    """Why it was cancelled."""
    verified: tuple[str, ...] = ()
    """Ids of their keys that their side vouched for; complete once it is done."""
    numbers: tuple[int, ...] = ()
    """What people compare: those of the pictures, or, if it is `decimal`, just these."""
    decimal: bool = False
    """The other side knows no pictures."""
    _start: dict[str, Any] = field(default_factory=dict)
    _we_began: bool = False
    _commitment: str = ""
    _vouched: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._sas = vodozemac.Sas()
        self._our_key = str(self._sas.public_key.to_base64())
        self._shared: vodozemac.EstablishedSas | None = None

    @property
    def over(self) -> bool:
        """Nothing will follow."""
        return self.phase in (Phase.DONE, Phase.CANCELLED)

    def shown(self) -> str:
        """What people compare, for a chat, in the language that is spoken."""
        return "  ".join(map(str, self.numbers)) if self.decimal else pictures(self.numbers)

    # What we do

    def begin(self) -> list[Step]:
        """Propose how to verify."""
        self._start = self.dress(
            {
                "from_device": self.ours.device_id,
                "method": METHOD,
                "key_agreement_protocols": [AGREEMENT],
                "hashes": [HASH],
                "message_authentication_codes": [MAC],
                "short_authentication_string": list(STRINGS),
            }
        )
        self._we_began, self.phase = True, Phase.STARTED
        return [("start", self._start)]

    def confirm(self) -> list[Step]:
        """The pictures match, says our side."""
        if self.phase is not Phase.COMPARE or self._shared is None:
            return []
        self.phase = Phase.CONFIRMED
        info = self._mac_info(self.ours, self.theirs)
        macs = {name: self._shared.calculate_mac(key, info + name) for name, key in self.ours.keys.items()}
        names = self._shared.calculate_mac(",".join(sorted(macs)), f"{info}KEY_IDS")
        return [("mac", self.dress({"mac": macs, "keys": names})), *self._finish()]

    def cancel(self, code: str) -> list[Step]:
        """Give it up."""
        if self.over:
            return []
        self.phase, self.code = Phase.CANCELLED, code
        return [("cancel", self.dress({"code": code, "reason": REASONS[code]}))]

    # What they do

    def receive(self, kind: str, content: Mapping[str, Any]) -> list[Step]:
        """One message of theirs, by its type behind `m.key.verification.`; what to send."""
        if self.over:
            return []
        if kind == "cancel":
            self.phase, self.code = Phase.CANCELLED, text(content.get("code")) or "m.user"
            return []
        try:
            match kind:
                case "start":
                    return self._started(content)
                case "accept":
                    return self._accepted(content)
                case "key":
                    return self._keyed(content)
                case "mac":
                    return self._maced(content)
                case _:
                    return []
        except Broken as error:
            return self.cancel(error.code)

    def _started(self, content: Mapping[str, Any]) -> list[Step]:
        if self.phase is Phase.STARTED and self._ours_wins():
            return []
        if self.phase not in (Phase.READY, Phase.STARTED):
            raise Broken("m.unexpected_message")
        if content.get("from_device") != self.theirs.device_id:
            raise Broken("m.user_mismatch")
        if content.get("method") != METHOD or not _agree(content):
            raise Broken("m.unknown_method")
        strings = [one for one in STRINGS if one in sequence(content.get("short_authentication_string"))]
        self._start, self._we_began, self.phase = dict(content), False, Phase.ACCEPTED
        self.decimal = "emoji" not in strings
        accept = {
            "method": METHOD,
            "key_agreement_protocol": AGREEMENT,
            "hash": HASH,
            "message_authentication_code": MAC,
            "short_authentication_string": strings,
            "commitment": commitment(self._our_key, self._start),
        }
        return [("accept", self.dress(accept))]

    def _ours_wins(self) -> bool:
        ours, theirs = self.ours, self.theirs
        return (ours.user_id, ours.device_id) < (theirs.user_id, theirs.device_id)

    def _accepted(self, content: Mapping[str, Any]) -> list[Step]:
        if self.phase is not Phase.STARTED:
            raise Broken("m.unexpected_message")
        chosen = [content.get(name) for name in ("key_agreement_protocol", "hash", "message_authentication_code")]
        strings = sequence(content.get("short_authentication_string"))
        if chosen != [AGREEMENT, HASH, MAC] or not any(one in strings for one in STRINGS):
            raise Broken("m.unknown_method")
        self.decimal = "emoji" not in strings
        self._commitment = text(content.get("commitment")) or ""
        self.phase = Phase.ACCEPTED
        return [("key", self.dress({"key": self._our_key}))]

    def _keyed(self, content: Mapping[str, Any]) -> list[Step]:
        if self.phase is not Phase.ACCEPTED:
            raise Broken("m.unexpected_message")
        key = text(content.get("key")) or ""
        if self._we_began and commitment(key, self._start) != self._commitment.rstrip("="):
            raise Broken("m.mismatched_commitment")
        try:
            self._shared = self._sas.diffie_hellman(vodozemac.Curve25519PublicKey.from_base64(key))
        except ValueError:
            raise Broken("m.invalid_message") from None
        made = self._shared.bytes(self._sas_info(key))
        self.numbers = tuple(made.decimals if self.decimal else made.emoji_indices)
        self.phase = Phase.COMPARE
        return [] if self._we_began else [("key", self.dress({"key": self._our_key}))]

    def _maced(self, content: Mapping[str, Any]) -> list[Step]:
        if self.phase not in (Phase.COMPARE, Phase.CONFIRMED) or self._vouched:
            raise Broken("m.unexpected_message")
        self._vouched = self._checked(mapping(content.get("mac")), text(content.get("keys")) or "")
        return self._finish()

    def _checked(self, macs: Mapping[str, Any], names: str) -> tuple[str, ...]:
        """The keys that they vouch for, each the one we take for theirs, the device's own among them. `Broken`."""
        info = self._mac_info(self.theirs, self.ours)
        self._check(",".join(sorted(macs)), f"{info}KEY_IDS", names)
        known = {name: self.theirs.keys[name] for name in macs if name in self.theirs.keys}
        for name, key in known.items():
            self._check(key, info + name, text(macs[name]) or "")
        if self.theirs.device_key not in known:  # whoever vouches for nothing that we know proves nothing
            raise Broken("m.key_mismatch")
        return tuple(known)

    def _check(self, content: str, info: str, tag: str) -> None:
        assert self._shared is not None
        try:
            self._shared.verify_mac(content, info, tag)
        except ValueError:
            raise Broken("m.key_mismatch") from None

    def _finish(self) -> list[Step]:
        """Both sides have said that the pictures match, and theirs has proved its keys."""
        if self.phase is not Phase.CONFIRMED or not self._vouched:
            return []
        self.phase, self.verified = Phase.DONE, self._vouched
        return [("done", self.dress({}))]

    # What is mixed into the secrets

    def _sas_info(self, their_key: str) -> str:
        ours = f"{self.ours.user_id}|{self.ours.device_id}|{self._our_key}"
        theirs = f"{self.theirs.user_id}|{self.theirs.device_id}|{their_key}"
        first, second = (ours, theirs) if self._we_began else (theirs, ours)
        return f"{_SAS_INFO}|{first}|{second}|{self.transaction}"

    def _mac_info(self, sender: Party, receiver: Party) -> str:
        return f"{_MAC_INFO}{sender.user_id}{sender.device_id}{receiver.user_id}{receiver.device_id}{self.transaction}"


def commitment(key: str, start: Mapping[str, Any]) -> str:
    """The promise of a key (Matrix spec, "m.key.verification.accept")."""
    return encoded(hashlib.sha256(key.encode() + canonical(start)).digest())


def _agree(start: Mapping[str, Any]) -> bool:
    """Whether a start proposes what we know."""
    offers: Sequence[tuple[str, Sequence[str]]] = (
        ("key_agreement_protocols", (AGREEMENT,)),
        ("hashes", (HASH,)),
        ("message_authentication_codes", (MAC,)),
        ("short_authentication_string", STRINGS),
    )
    return all(any(one in sequence(start.get(name)) for one in wanted) for name, wanted in offers)
