"""Owns the agent's folder: describes what the person attached, writes what the agent makes."""

from __future__ import annotations

from pathlib import Path

_FIRST_BYTES = 4096
_MAX_LINE = 80


def describe(workspace: Path, path: str) -> str:
    """Name, size and first line of an attached file, or why it cannot be read."""
    try:
        file = (workspace / path).resolve()
        if not file.is_relative_to(workspace.resolve()):
            return f"{path} is outside my workspace"
        with file.open("rb") as opened:
            start = opened.read(_FIRST_BYTES)
        size = file.stat().st_size
    except (OSError, ValueError):
        return f"{path} cannot be read"
    lines = start.decode("utf-8", "replace").splitlines()
    if b"\0" in start or not lines:
        return f"{file.name} ({size} bytes)"
    return f"{file.name} ({size} bytes), first line: {lines[0][:_MAX_LINE]}"


def write_note(workspace: Path, name: str, content: str) -> str:
    """Write a text file; its path relative to the workspace."""
    (workspace / name).write_text(content, encoding="utf-8")
    return name
