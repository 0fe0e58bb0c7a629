"""Servers that misbehave on purpose, for testing Surfaces and its plugins."""
