"""What stands behind the doors that drivers are handed: a store of their own, and files that are not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from surfaces_core._engine import journal as rows
from surfaces_core._engine import words
from surfaces_core._engine.journal import Journal
from surfaces_core.contracts import Files, OpenFile
from surfaces_core.errors import Rejected
from surfaces_core.events import FileRef


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """A driver's own namespace in the journal's storage."""

    journal: Journal
    name: str
    kind: str = "plug"
    """What is in front of the names: a transport may have the name of a surface."""

    async def get(self, key: str) -> bytes | None:
        """One value."""
        async with self.journal.storage.transaction() as tx:
            return await tx.get(rows.key(self.kind, self.name, key))

    async def put(self, key: str, value: bytes) -> None:
        """Set one."""
        await self.journal.write({rows.key(self.kind, self.name, key): value})

    async def delete(self, key: str) -> None:
        """Remove one."""
        await self.journal.write({rows.key(self.kind, self.name, key): None})

    async def scan(self, prefix: str = "") -> dict[str, bytes]:
        """All whose key begins with a prefix."""
        below = rows.prefix(self.kind, self.name)
        async with self.journal.storage.transaction() as tx:
            return {row[len(below) :].decode(): value async for row, value in tx.scan(below + prefix.encode())}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set and remove several, together."""
        await self.journal.write({rows.key(self.kind, self.name, key): value for key, value in changes.items()})


class NoFiles(Files):
    """Stands in where the config names no files plugin: refuses, with a sentence for the person."""

    def __init__(self) -> None:
        super().__init__(None, None)

    async def save(
        self,
        workspace: str,
        name: str,
        chunks: AsyncIterator[bytes],
        *,
        mime: str = "application/octet-stream",
        key: str = "",
    ) -> FileRef:
        """Refuses."""
        raise _none()

    async def open(self, workspace: str, path: str) -> OpenFile:
        """Refuses."""
        raise _none()

    async def remove(self, workspace: str, path: str) -> None:
        """Refuses."""
        raise _none()


def _none() -> Rejected:
    return Rejected("no files plugin is configured", code="NO_FILES", public=words.NO_FILES())
