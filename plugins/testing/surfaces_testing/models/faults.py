"""Owns what can go wrong with an answer, as values that a test queues."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFault:
    """How one answer goes wrong."""

    status: int = 0
    """Answer with this status and an error object instead."""
    code: str = ""
    """The error object's code."""
    retry_after: str = ""
    """The header of that name."""
    pieces: int | None = None
    """After so many pieces of text it happens; None: before the head of the answer."""
    cut: bool = False
    """Drop the connection."""
    ends: bool = False
    """End the answer without saying that it is its end."""
    garbled: bool = False
    """Send what is no JSON, and end."""
    error: bool = False
    """Send an error object within the stream."""
    gate: asyncio.Event | None = None
    """Wait here before going on as if nothing had been."""


CUT = ModelFault(pieces=1, cut=True)
"""The connection is lost in the middle of the answer."""
GARBLED = ModelFault(pieces=0, garbled=True)
SILENT = ModelFault(cut=True)
"""The connection is lost before anything came."""
REFUSED = ModelFault(status=400, code="invalid_request_error")


def busy(retry_after: str = "") -> ModelFault:
    """Too many requests, come again in so many seconds."""
    return ModelFault(status=429, code="rate_limit_exceeded", retry_after=retry_after)


def failing(status: int = 500) -> ModelFault:
    """The server fails."""
    return ModelFault(status=status, code="server_error")


def waits(gate: asyncio.Event, pieces: int | None = None) -> ModelFault:
    """Nothing goes on until the gate opens."""
    return ModelFault(pieces=pieces, gate=gate)
