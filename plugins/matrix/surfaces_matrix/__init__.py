"""Matrix for Surfaces: one bot account that serves many people, each in rooms of their own.

The driver is loaded on first use, so that `surfaces matrix --help` does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surfaces_matrix.surface import MatrixSurface as MatrixSurface

__all__ = ["MatrixSurface"]


def __getattr__(name: str) -> object:
    if name != "MatrixSurface":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from surfaces_matrix.surface import MatrixSurface

    return MatrixSurface
