"""Owns the sentences that people may read."""

from __future__ import annotations

from surfaces_core import Catalogue, Sentence

_ = Catalogue("surfaces_agent_api")

UNREACHABLE = _("I can't reach the agent right now. Please try again in a little while.")
NO_STATUS = _("The agent isn't ready right now. Please try again in a little while.")
TIMEOUT = _("The agent went silent, so I stopped waiting. Ask again to retry.")
OVERTIME = _("The answer took too long, so I stopped waiting. Ask again to retry.")
CUT_OFF = _("The answer was cut off. Ask again to retry.")
PROTOCOL = _("I couldn't understand the agent's answer. Ask again to retry.")
ERROR = _("The agent reported a problem. Ask again to retry.")
TOO_LONG = _("The answer was too long; the rest was left out.")
TOO_MANY_FILES = _("There were more files than I can pass on in one answer; the rest was left out.")
NOT_ASKED = _("That question is no longer open.")


def note(sentence: Sentence) -> str:
    """A sentence of the host within an answer, apart from what the agent says."""
    return f"\n\n_({sentence})_"
