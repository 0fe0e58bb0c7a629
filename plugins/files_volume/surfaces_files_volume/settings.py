"""The settings of the volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from surfaces_core import Settings


def _mode(value: object) -> object:
    """Octal digits as text; a number is what YAML made of `0640`, so it is taken as it is."""
    if not isinstance(value, str):
        return value
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError('not a file mode: write it in octal digits, such as "0640"') from None


class VolumeSettings(Settings):
    """Where the agents' folders are and what may be put there."""

    root: Path = Field(
        description="The folder that holds every agent's workspace, as the bot sees it.", examples=["./var/agents"]
    )
    max_file_bytes: int = Field(
        default=100 << 20, gt=0, description="The largest file that is taken from a person or sent to one, in bytes."
    )
    max_staged_files: int = Field(
        default=20, gt=0, description="How many files may wait in one conversation for its next text."
    )
    uid: int | None = Field(
        default=None, ge=0, description="The user that stored files belong to; needs the right to give files away."
    )
    gid: int | None = Field(default=None, ge=0, description="The group that stored files belong to.")
    mode: Annotated[int, BeforeValidator(_mode)] = Field(
        default=0o640,
        ge=0o400,
        le=0o777,
        examples=["0640"],
        description='The mode of stored files, octal digits such as "0640".',
    )
