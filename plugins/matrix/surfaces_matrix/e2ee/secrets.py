"""Keeps secrets in the account's own data, encrypted (Matrix spec, "Secret storage")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from surfaces_matrix.client import Client, quote
from surfaces_matrix.errors import Refused
from surfaces_matrix.shapes import mapping, text

ALGORITHM = "m.secret_storage.v1.aes-hmac-sha2"
DEFAULT = "m.secret_storage.default_key"
DESCRIPTION = "m.secret_storage.key."
_IV_BYTES = 16


def encoded(value: bytes) -> str:
    """Unpadded base64."""
    return base64.b64encode(value).decode().rstrip("=")


def decoded(value: str) -> bytes:
    """The bytes of base64, padded or not. `ValueError` when it is none."""
    try:
        return base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


# The cipher ---------------------------------------------------------------------------------------


def _keys(key: bytes, name: str) -> tuple[bytes, bytes]:
    derived = HKDF(algorithm=SHA256(), length=64, salt=bytes(32), info=name.encode()).derive(key)
    return derived[:32], derived[32:]


def _ctr(key: bytes, iv: bytes, content: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return cipher.update(content) + cipher.finalize()


def encrypt(key: bytes, name: str, secret: bytes, *, iv: bytes | None = None) -> dict[str, str]:
    """A secret as it is stored under its name."""
    iv = os.urandom(_IV_BYTES) if iv is None else iv
    iv = iv[:8] + bytes([iv[8] & 0x7F]) + iv[9:]  # some implementations count in 64 bits with a sign
    aes, mac = _keys(key, name)
    ciphertext = _ctr(aes, iv, secret)
    tag = hmac.digest(mac, ciphertext, hashlib.sha256)
    return {"iv": encoded(iv), "ciphertext": encoded(ciphertext), "mac": encoded(tag)}


def decrypt(key: bytes, name: str, stored: Mapping[str, Any]) -> bytes:
    """The secret. `ValueError` when the key does not fit or the record is damaged."""
    iv, ciphertext, tag = (decoded(text(stored.get(part)) or "") for part in ("iv", "ciphertext", "mac"))
    aes, mac = _keys(key, name)
    if len(iv) != _IV_BYTES or not hmac.compare_digest(hmac.digest(mac, ciphertext, hashlib.sha256), tag):
        raise ValueError(f"{name or 'the check of the key'} was not encrypted with this key, or is damaged")
    return _ctr(aes, iv, ciphertext)


def description(key: bytes) -> dict[str, str]:
    """What tells later whether a key is the right one."""
    check = encrypt(key, "", bytes(32))
    return {"algorithm": ALGORITHM, "iv": check["iv"], "mac": check["mac"]}


def fits(key: bytes, described: Mapping[str, Any]) -> bool:
    """Whether a key is the one that was described; without a check in the description every one may be."""
    if described.get("algorithm") != ALGORITHM:
        return False
    if "mac" not in described:
        return True
    try:
        iv, tag = (decoded(text(described.get(part)) or "") for part in ("iv", "mac"))
    except ValueError:
        return False
    aes, mac = _keys(key, "")
    return len(iv) == _IV_BYTES and hmac.compare_digest(hmac.digest(mac, _ctr(aes, iv, bytes(32)), hashlib.sha256), tag)


# The storage --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StorageKey:
    """The default key of an account, as it is described there."""

    key_id: str
    described: Mapping[str, Any]


class Secrets:
    """The secret storage of one account. Its methods raise `Unavailable` and `Refused`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def default(self) -> StorageKey | None:
        """The key that secrets are encrypted with, if the account has one."""
        key_id = text((await self._get(DEFAULT)).get("key"))
        if key_id is None:
            return None
        return StorageKey(key_id, await self._get(DESCRIPTION + key_id))

    async def set_up(self, key_id: str, key: bytes) -> None:
        """Make a key the account's default."""
        await self._put(DESCRIPTION + key_id, description(key))
        await self._put(DEFAULT, {"key": key_id})

    async def read(self, key_id: str, key: bytes, name: str) -> bytes | None:
        """A secret, or None where it is not there for this key. `ValueError` when it cannot be decrypted."""
        stored = mapping(mapping((await self._get(name)).get("encrypted")).get(key_id))
        return decrypt(key, name, stored) if stored else None

    async def write(self, key_id: str, key: bytes, name: str, secret: bytes) -> None:
        """Store a secret, beside what it is encrypted with for other keys."""
        there = dict(mapping((await self._get(name)).get("encrypted")))
        await self._put(name, {"encrypted": {**there, key_id: encrypt(key, name, secret)}})

    async def _get(self, kind: str) -> dict[str, Any]:
        try:
            return await self._client.call("GET", self._path(kind))
        except Refused as error:
            if error.status == 404:
                return {}
            raise

    async def _put(self, kind: str, content: Mapping[str, Any]) -> None:
        await self._client.call("PUT", self._path(kind), dict(content))

    def _path(self, kind: str) -> str:
        return quote("v3", "user", self._client.user_id, "account_data", kind)
