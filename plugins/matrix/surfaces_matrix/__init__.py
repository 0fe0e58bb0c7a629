"""Matrix for Surfaces: one bot account that serves many people, each in rooms of their own."""

from __future__ import annotations

from surfaces_matrix.surface import MatrixSurface

__all__ = ["MatrixSurface"]
