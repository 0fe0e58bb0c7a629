"""Durable state for Surfaces in one SQLite file."""

from __future__ import annotations

from surfaces_storage_sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
