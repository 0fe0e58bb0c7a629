"""What drivers are handed, in memory, for drivers that are tested on their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from surfaces_core.contracts import AgentTool, Files, Store, TransportContext
from surfaces_core.testing.memory_files import MemoryFiles


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """A store in memory that outlives the drivers that use it."""

    rows: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        """A value, or None."""
        return self.rows.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Set a value."""
        await self.write({key: value})

    async def delete(self, key: str) -> None:
        """Remove a key."""
        await self.write({key: None})

    async def scan(self, prefix: str = "") -> Mapping[str, bytes]:
        """Every value whose key begins so, by key."""
        return {key: value for key, value in sorted(self.rows.items()) if key.startswith(prefix)}

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Set, and with None remove, several keys together."""
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


def transport_context(
    name: str = "transport",
    *,
    store: Store | None = None,
    files: Files | None = None,
    tools: Sequence[AgentTool] = (),
) -> TransportContext:
    """What a transport is handed: a store and files in memory unless others are given."""
    return TransportContext(
        name=name,
        log=structlog.get_logger(name),
        store=MemoryStore() if store is None else store,
        files=MemoryFiles() if files is None else files,
        tools={tool.name: tool for tool in tools},
    )
