"""A `Store` in memory, for tests of a surface on its own; it outlives the surfaces that are given it."""

from __future__ import annotations

from collections.abc import Mapping


class MemoryStore:
    """Keeps what is put into it until it is gone itself."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """A value, or None."""
        return self._values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        await self.write({key: value})

    async def delete(self, key: str) -> None:
        """Remove a key; removing one that is not there is no error."""
        await self.write({key: None})

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        """Every value whose key begins so, by key."""
        return {key: value for key, value in sorted(self._values.items()) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set, and with None remove, several keys together. Raises `ValueError` for a key with NUL."""
        if any("\0" in key for key in changes):
            raise ValueError("a key may not hold NUL")
        for key, value in changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
