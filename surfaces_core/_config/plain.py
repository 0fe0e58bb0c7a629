"""Text for a terminal: nothing that comes from outside can do more there than be read."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line, in which everything that a terminal might obey is a question mark."""
    return "".join(char if char.isprintable() else " " if char == "\n" else "?" for char in text)
