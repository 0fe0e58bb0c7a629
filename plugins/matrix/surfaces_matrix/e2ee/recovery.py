"""Writes and reads a recovery key as people keep it (Matrix spec, "Cryptographic key representation")."""

from __future__ import annotations

import secrets
from functools import reduce
from operator import xor

_PREFIX = b"\x8b\x01"
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
KEY_BYTES = 32


def new_key() -> bytes:
    """A key that nobody can guess."""
    return secrets.token_bytes(KEY_BYTES)


def written(key: bytes) -> str:
    """A key in groups of four characters."""
    raw = _PREFIX + key
    number = int.from_bytes(raw + bytes([reduce(xor, raw)]), "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def read(text: str) -> bytes:
    """The key, however its groups are spaced. `ValueError` with a reason that tells nothing of it."""
    number = 0
    for char in "".join(text.split()):
        digit = _ALPHABET.find(char)
        if digit < 0:
            raise ValueError("it holds a character that no recovery key has")
        number = number * 58 + digit
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(raw) != len(_PREFIX) + KEY_BYTES + 1 or not raw.startswith(_PREFIX):
        raise ValueError("it is no recovery key, or a part of one; they have 12 groups of 4 characters")
    if reduce(xor, raw):
        raise ValueError("it is mistyped somewhere: its parity is wrong")
    return raw[len(_PREFIX) : -1]
