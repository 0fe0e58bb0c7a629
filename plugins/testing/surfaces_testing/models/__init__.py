"""A model provider over HTTP, speaking as OpenAI's, Anthropic's and Gemini's do, that misbehaves when told to."""

from surfaces_testing.models.faults import CUT, GARBLED, REFUSED, SILENT, ModelFault, busy, failing, waits
from surfaces_testing.models.record import Asked, Record
from surfaces_testing.models.replies import Brain, Reply, ToolUse, remembers
from surfaces_testing.models.server import ModelServer

__all__ = [
    "CUT",
    "GARBLED",
    "REFUSED",
    "SILENT",
    "Asked",
    "Brain",
    "ModelFault",
    "ModelServer",
    "Record",
    "Reply",
    "ToolUse",
    "busy",
    "failing",
    "remembers",
    "waits",
]
