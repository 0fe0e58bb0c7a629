"""Spells what is needed to fetch a file that a person sent: its address, and its key where it is encrypted."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from surfaces_matrix.shapes import mapping

KEY_BYTES = 32
IV_BYTES = 16
_HASH_BYTES = 32
_LONGEST = 64
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where an encrypted file is, and how it is read (Matrix spec, "Sending encrypted attachments")."""

    uri: str
    key: bytes = field(repr=False)
    iv: bytes
    sha256: bytes
    """Of the encrypted content."""


def reference_of(file: Mapping[str, Any], uri: str) -> str | None:
    """An `EncryptedFile` as one line; None for what is none."""
    key, hashes = mapping(file.get("key")), mapping(file.get("hashes"))
    told = {"k": key.get("k"), "iv": file.get("iv"), "sha256": hashes.get("sha256")}
    lengths = {"k": KEY_BYTES, "iv": IV_BYTES, "sha256": _HASH_BYTES}
    if file.get("v") != "v2" or key.get("alg") != "A256CTR":
        return None
    if not all(_has(told[name], length) for name, length in lengths.items()):
        return None
    return orjson.dumps({"url": uri, **told}).decode()


def sealed(ref: str) -> Reference | None:
    """What such a line says; None for the plain address of a file that is not encrypted."""
    if not ref.startswith("{"):
        return None
    told = orjson.loads(ref)
    return Reference(uri=told["url"], key=_decoded(told["k"]), iv=_decoded(told["iv"]), sha256=_decoded(told["sha256"]))


def _has(value: object, length: int) -> bool:
    if not isinstance(value, str) or len(value) > _LONGEST or not _BASE64.fullmatch(value):
        return False
    try:
        return len(_decoded(value)) == length
    except ValueError:
        return False


def _decoded(base64: str) -> bytes:
    """Of either alphabet, with or without padding: clients differ."""
    bare = base64.rstrip("=").replace("+", "-").replace("/", "_")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
