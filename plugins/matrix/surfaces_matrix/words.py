"""All sentences of this plugin that people read."""

from __future__ import annotations

from surfaces_core import Catalogue

_ = Catalogue("surfaces_matrix")

MISSED_AWAY = _("I was away for a while and passed over some messages here. Please say again what still matters.")
MISSED_FLOOD = _(
    "More came in here than I could take, so I passed over some messages. Please say again what still matters."
)
MISSED_UNREADABLE = _("I couldn't read some messages here, so I passed over them. Please say again what still matters.")
UNDECRYPTABLE = _("I couldn't read a message here, because your client did not give me its key. Please send it again.")
UNTRUSTED = _(
    "A message here came from a session that is not verified, so I passed over it. Please verify that session, "
    "or ask the operator of this service to verify you, and send it again."
)
UNENCRYPTED = _(
    "A message here was not encrypted, so I passed over it: in this room anybody on its way could have written it. "
    "Please send it again from a client that encrypts."
)
UNENCRYPTED_REACTION = _("Reactions are not encrypted, so I don't go by them here. Please answer in words.")
FILE_CHANGED = _("That file was changed on its way to me. Please send it again.")
FILE_TOO_BIG_IN = _("That file is too big for me.")
FILE_GONE = _("I can't find that file any more. Please send it again.")
FILE_TOO_BIG_OUT = _("The file is too big for this chat.")
DRAFT_MARK = "…"
LOST = _("I can't tell any more whose conversation this is, so I can't answer here. `{prefix}new` starts another one.")
TOPIC = _("Write here whatever you like. {prefix}help lists the commands.")
VERIFY_HELP = _("compares pictures, so that your client and I trust each other")
VERIFY_FALLBACK = _("I ask to verify your session, but your client does not know how.")
VERIFY_ASKED = _("I have asked your client to verify. Accept there; then both of us show seven pictures.")
VERIFY_NOT_READY = _("I can't verify anybody yet. Please ask the operator of this service.")
VERIFY_ELSEWHERE = _(
    "I can't go by what is said in a room that is not encrypted. Please ask the operator of this service to verify you."
)
VERIFY_NOTHING = _("There are no pictures to compare. `{prefix}verify` begins.")
VERIFY_PICTURES = _("Does your client show these pictures, in this order?")
VERIFY_NUMBERS = _("Does your client show these numbers, in this order?")
VERIFY_ANSWER = _("If it does, say so there, too, and write `{prefix}verify yes` here; if not, `{prefix}verify no`.")
VERIFY_DONE = _("Verified: your client and I know each other now.")
VERIFY_MISMATCH = _(
    "The pictures did not match, so nothing was verified. Somebody may be listening in: please tell the operator."
)
VERIFY_CANCELLED = _("The verification was broken off.")
VERIFY_USAGE = _("That is `{prefix}verify`, `{prefix}verify yes` or `{prefix}verify no`.")


def location(description: str, geo_uri: str) -> str:
    """A place that a person sent, for the agent to read; `geo_uri` as in RFC 5870."""
    return f"📍 {description} ({geo_uri})" if description else f"📍 {geo_uri}"


def verify_pictures(shown: str, prefix: str, *, numbers: bool) -> str:
    """What a person is to compare, and how to answer."""
    question = VERIFY_NUMBERS() if numbers else VERIFY_PICTURES()
    return f"{question}\n\n{shown}\n\n{VERIFY_ANSWER(prefix=prefix)}"
