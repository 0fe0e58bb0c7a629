"""Durable state for Surfaces in PostgreSQL."""

from __future__ import annotations

from surfaces_storage_postgres.storage import PostgresStorage

__all__ = ["PostgresStorage"]
