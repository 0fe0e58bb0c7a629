"""The three cross-signing keys of an account and what they sign (Matrix spec, "Cross-signing")."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from surfaces_matrix.e2ee.canonical import signable
from surfaces_matrix.e2ee.secrets import decoded, encoded

USAGES = ("master", "self_signing", "user_signing")
SEED_BYTES = 32


def secret_name(usage: str) -> str:
    """Under which name secret storage holds a key."""
    return f"m.cross_signing.{usage}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One Ed25519 key, with its private half."""

    seed: bytes = field(repr=False)

    @classmethod
    def read(cls, secret: str) -> Self:
        """A key from the base64 of its seed. `ValueError`."""
        seed = decoded(secret)
        if len(seed) != SEED_BYTES:
            raise ValueError("the seed of a signing key has 32 bytes")
        return cls(seed)

    @property
    def secret(self) -> str:
        """The seed as it is stored."""
        return encoded(self.seed)

    @property
    def public(self) -> str:
        """The public half, unpadded base64."""
        return encoded(self._key.public_key().public_bytes_raw())

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, value: Mapping[str, Any]) -> str:
        """The signature of an object, without its `signatures` and `unsigned`."""
        return encoded(self._key.sign(signable(value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossSigning:
    """An account's three keys."""

    user_id: str
    master: SigningKey
    self_signing: SigningKey
    user_signing: SigningKey

    @classmethod
    def new(cls, user_id: str) -> Self:
        """Keys that nobody can guess."""
        return cls.of(user_id, {usage: encoded(os.urandom(SEED_BYTES)) for usage in USAGES})

    @classmethod
    def of(cls, user_id: str, secrets: Mapping[str, str]) -> Self:
        """From the three secrets by usage. `ValueError` where one is missing or none."""
        if not set(USAGES) <= set(secrets):
            raise ValueError("not all three keys are there")
        return cls(user_id=user_id, **{usage: SigningKey.read(secrets[usage]) for usage in USAGES})

    @property
    def secrets(self) -> dict[str, str]:
        """What secret storage holds, by usage."""
        return {usage: self.key(usage).secret for usage in USAGES}

    def key(self, usage: str) -> SigningKey:
        """One of the three."""
        return {"master": self.master, "self_signing": self.self_signing, "user_signing": self.user_signing}[usage]

    def public(self, usage: str) -> dict[str, Any]:
        """A key as it is published; all but the master are signed by it."""
        key = self.key(usage).public
        published: dict[str, Any] = {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{key}": key}}
        return published if usage == "master" else self.signed(published, self.master)

    def signed(self, value: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
        """An object with our signature as its only one."""
        return {**value, "signatures": {self.user_id: {f"ed25519:{key.public}": key.sign(value)}}}


def public_of(published: Mapping[str, Any] | None) -> str:
    """The key in a published cross-signing key, or nothing."""
    keys = (published or {}).get("keys")
    values = list(keys.values()) if isinstance(keys, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
