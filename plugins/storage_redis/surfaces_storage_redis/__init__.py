"""Durable state for Surfaces in a Redis that persists every write."""

from __future__ import annotations

from surfaces_storage_redis.storage import RedisStorage

__all__ = ["RedisStorage"]
