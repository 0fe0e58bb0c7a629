"""Owns the settings of the surface."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from surfaces_core import Settings

DEFAULT_SOCKET = Path("var/terminal.sock")


class TerminalSettings(Settings):
    """What `surfaces:` may say of a terminal."""

    socket: Path = Field(
        default=DEFAULT_SOCKET,
        description="Where `surfaces chat` finds the host: a UNIX socket, for the user that runs it and for root. "
        "Files on their way are kept beside it, in `<socket>.files`.",
    )
    max_file_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="The largest file that a person may send.")
    keep: int = Field(default=200, ge=1, description="How many messages that were seen are kept of a conversation.")
