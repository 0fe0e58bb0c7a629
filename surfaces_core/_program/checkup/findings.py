"""What a check of a plugin speaks of: the plugin, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from surfaces_core._config.discovery import Offer

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line for the author of a plugin."""

    level: Level
    about: str
    """What it is about, like `metadata` or `storage:lines`."""
    said: str
    remedy: str = ""
    """What to do; where something is wrong there always is one."""

    def line(self) -> str:
        """How it is printed."""
        return f"{self.level:<6} {self.about}: {self.said}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A distribution that is checked, from its folder or as it is installed."""

    name: str
    version: str
    requires_python: str
    requirements: tuple[str, ...]
    """As in the metadata, like `surfaces-core>=0.1`; those of extras left out."""
    groups: tuple[str, ...]
    """All its groups of entry points."""
    offers: tuple[Offer, ...]
    """The entry points of groups that the host knows."""
    folder: Path | None = None
    """Where its sources and tests are; None for one that is only installed."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What must be on the path to import it."""
        if self.folder is None:
            return ()
        return tuple(path for path in (self.folder / "src", self.folder) if path.is_dir())


def about(offer: Offer) -> str:
    """How findings name an entry point."""
    return f"{offer.kind}:{offer.name}"
