"""Durable state for Surfaces in one SQLite file."""
