"""Owns the sentences that people may read."""

from __future__ import annotations

from surfaces_core import Catalogue, Sentence

_ = Catalogue("surfaces_llm")

UNREACHABLE = _("I can't reach the model right now. Please try again in a little while.")
BUSY = _("The model is too busy right now. Please try again in a little while.")
TIMEOUT = _("The model went silent, so I stopped waiting. Ask again to retry.")
OVERTIME = _("The answer took too long, so I stopped waiting. Ask again to retry.")
CUT_OFF = _("The answer was cut off. Ask again to retry.")
PROTOCOL = _("I couldn't understand the model's answer. Ask again to retry.")
SETUP = _("The model can't be used the way it is set up. Please ask the operator of this service.")
QUOTA = _("The model's allowance is used up. Please ask the operator of this service.")
REFUSED = _("The model didn't take this question.")
FILTERED = _("The model's provider withheld the answer.")
TOO_LONG = _("This is too long for the model. Please ask with less, or start afresh.")
ANSWER_TOO_LONG = _("The answer was too long; the rest was left out.")
ANSWER_FILTERED = _("The model's provider withheld the rest.")
CANNOT_SEE = _("The model here can't look at pictures, so it didn't see: {names}.")
CANNOT_READ = _("The model here can't read these files: {names}.")
TOO_LARGE = _("These files are too large for the model: {names}.")
MODEL = _("Model")
MODELS = _("Model: {names}")
KEPT = _("It remembers this conversation until it is cleared.")
STATELESS = _.plural(
    "It keeps nothing: each time it reads the last {count} message here.",
    "It keeps nothing: each time it reads the last {count} messages here.",
)
TOOLS = _("Tools: {names}")
MAY_I = _("May I use **{tool}** with exactly this?\n\n{arguments}\n\nNumber {reference}")
MAY_I_LONG = _(
    "May I use **{tool}** with what begins like this? It is too long to show: these are the first {shown} "
    "characters of {length}.\n\n{arguments}\n\nSHA-256 of the tool's name and all of it: {digest}\n\nNumber {reference}"
)


def note(sentence: Sentence | str) -> str:
    """A sentence of the host within an answer, apart from what the model says."""
    return f"\n\n_({sentence})_"
