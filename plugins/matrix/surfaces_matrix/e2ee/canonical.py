"""Makes the one spelling of an object that signatures are made of (Matrix spec, "Canonical JSON", "Signing JSON")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import vodozemac

from surfaces_matrix.shapes import mapping, text

_UNSIGNED = ("signatures", "unsigned")


def canonical(value: Mapping[str, Any]) -> bytes:
    """The canonical bytes. `ValueError` for what Matrix has no spelling for."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValueError(str(error)) from error


def signable(value: Mapping[str, Any]) -> bytes:
    """What a signature of an object covers: all but the signatures and what is unsigned."""
    return canonical({key: inner for key, inner in value.items() if key not in _UNSIGNED})


def signed_by(value: Mapping[str, Any], user_id: str, key_id: str, ed25519: str) -> bool:
    """Whether an object carries a good signature of a user's key, `key_id` being like `ed25519:DEVICE`."""
    signature = text(mapping(mapping(value.get("signatures")).get(user_id)).get(key_id))
    if signature is None:
        return False
    try:
        key = vodozemac.Ed25519PublicKey.from_base64(ed25519)
        key.verify_signature(signable(value), vodozemac.Ed25519Signature.from_base64(signature))
    except ValueError:
        return False
    return True
