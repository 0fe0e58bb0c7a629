"""Owns the sentences that people may read."""

from __future__ import annotations

from surfaces_core import Catalogue

_ = Catalogue("surfaces_terminal")

# What the surface says
FILE_GONE = _("That file is gone. Please send it again.")
FILE_TOO_LARGE = _("That file is too large.")
FILE_NOT_KEPT = _("That file could not be kept. Please try again later.")
NOT_YOURS = _("That conversation isn't open to you. /chat shows yours.")
MARK_HELP = _("says the word back once everything before it is answered")
MARK_USAGE = _("<word>")

# What `surfaces chat` says
HINT = _("{prefix}help shows what the bot can do, /help what this terminal can. Ctrl-C stops an answer, Ctrl-D leaves.")
HELP_SEND = _("sends a file, with a text where one follows; a file that is dragged here is sent as well")
HELP_CHAT = _("shows your conversations, or goes on in the one of that number")
HELP_QUIT = _("leaves, like Ctrl-D; what comes meanwhile is shown when you are back")
HELP_SPACE = _("With a space before it, a line that begins with / is said as it is.")
AWAY = _("the host is away; what you say is kept until it is back")
HOST_AWAY = _("the host is away; send it again once it is back")
SENT = _("sent: {name}")
SAVED = _("saved: {path}")
NOT_SAVED = _("{name} could not be saved: {reason}")
NOT_SENT = _("{name} could not be sent: {reason}")
TOO_LONG = _("That is too long to be said; a message has at most {most} characters. /send takes files.")
UNSAID = _.plural(
    "{count} message did not reach the host and is lost.", "{count} messages did not reach the host and are lost."
)
NO_FILE = _("no such file: {name}")
UNKNOWN = _("There is no {name}; /help shows what there is.")
NO_CHAT = _("There is no conversation {number}.")
NOW_IN = _("now in {name}")
LEAVE = _("Ctrl-D leaves.")
STOPPED_HOST = _("The host ended and is started again.")
FIRST_STEPS = _(
    "No {config} here: this is an echo. What it runs on stands in {made}; change it and name your own agent."
)
