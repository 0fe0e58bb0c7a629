"""Owns the sentences that people may read."""

from __future__ import annotations

UNREACHABLE = "I can't reach the agent right now. Please try again in a little while."
NO_STATUS = "The agent isn't ready right now. Please try again in a little while."
TIMEOUT = "The agent went silent, so I stopped waiting. Ask again to retry."
OVERTIME = "The answer took too long, so I stopped waiting. Ask again to retry."
CUT_OFF = "The answer was cut off. Ask again to retry."
PROTOCOL = "I couldn't understand the agent's answer. Ask again to retry."
ERROR = "The agent reported a problem. Ask again to retry."
TOO_LONG = "\n\n_(The answer was too long; the rest was left out.)_"
TOO_MANY_FILES = "\n\n_(There were more files than I can pass on in one answer; the rest was left out.)_"
NOT_ASKED = "That question is no longer open."
