"""Encrypts and decrypts files on their way (Matrix spec, "Sending encrypted attachments")."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from surfaces_core import Rejected
from surfaces_matrix import words
from surfaces_matrix.references import IV_BYTES, KEY_BYTES, Reference


class Sealing:
    """One file on its way out, under a key of its own."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)
        # The lower half counts blocks, from 0: so no file is long enough for it to run over.
        self._iv = secrets.token_bytes(IV_BYTES // 2) + bytes(IV_BYTES // 2)
        self._hash = hashlib.sha256()

    async def __call__(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The encrypted content; as long as the plain one."""
        cipher = Cipher(AES(self._key), CTR(self._iv)).encryptor()
        async for chunk in chunks:
            sealed = cipher.update(chunk)
            self._hash.update(sealed)
            yield sealed

    def file(self, uri: str) -> dict[str, Any]:
        """The `EncryptedFile` that says how to read it, once all of it went through."""
        return {
            "url": uri,
            "v": "v2",
            "key": {
                "kty": "oct",
                "alg": "A256CTR",
                "ext": True,
                "key_ops": ["encrypt", "decrypt"],
                "k": urlsafe_b64encode(self._key).decode().rstrip("="),
            },
            "iv": _unpadded(self._iv),
            "hashes": {"sha256": _unpadded(self._hash.digest())},
        }


async def opened(sealed: Reference, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The plain content of an encrypted one; its last piece only once the whole is what was sent.

    `Rejected` where it is not: whoever keeps the pieces has to throw them away then.
    """
    cipher = Cipher(AES(sealed.key), CTR(sealed.iv)).decryptor()
    seen, held = hashlib.sha256(), b""
    async for chunk in chunks:
        if held:
            yield held
        seen.update(chunk)
        held = cipher.update(chunk)
    if not secrets.compare_digest(seen.digest(), sealed.sha256):
        raise Rejected("the file is not the one that was sent", code="FILE_CHANGED", public=words.FILE_CHANGED())
    if held:
        yield held


def _unpadded(raw: bytes) -> str:
    return b64encode(raw).decode().rstrip("=")
