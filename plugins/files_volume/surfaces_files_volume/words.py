"""Every sentence that this plugin says to people, by what was to be done with a file and why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping

from surfaces_core import Catalogue, Sentence

_ = Catalogue("surfaces_files_volume")

THAT_FILE = _("that file")
BAD_WORKSPACE = _("I can't use files with this agent: its folder isn't set up properly.")

SEND: Mapping[str, Sentence] = {
    "FILE_MISSING": _("I can't send {name}: there is no such file."),
    "FILE_OUTSIDE": _("I can't send {name}: it isn't in the agent's folder."),
    "FILE_LINK": _("I can't send {name}: it is a link."),
    "FILE_NOT_REGULAR": _("I can't send {name}: it isn't an ordinary file."),
    "FILE_TOO_LARGE": _("I can't send {name}: it is larger than {limit}."),
    "FILE_FORBIDDEN": _("I can't send {name}: I'm not allowed to."),
    "FILE_CHANGED": _("I can't send {name}: it is being changed right now."),
}
CANNOT_SEND = _("I can't send {name}: the place where files are kept doesn't work right now.")
TAKE: Mapping[str, Sentence] = {
    "FILE_TOO_LARGE": _("I can't take {name}: it is larger than {limit}."),
    "FILE_FORBIDDEN": _("I can't take {name}: I'm not allowed to."),
    "FILE_NAME_TAKEN": _("I can't take {name}: there are too many files of that name."),
    "DISK_FULL": _("I can't take {name}: there is no space left right now."),
}
CANNOT_TAKE = _("I can't take {name}: the place where files are kept doesn't work right now.")
CANNOT_REMOVE = _("I can't remove {name} right now.")


def refused(verb: str, code: str, name: str, limit: str) -> str:
    """Why a file cannot be sent, taken or removed."""
    if verb == "send":
        sentence = SEND.get(code, CANNOT_SEND)
    elif verb == "take":
        sentence = TAKE.get(code, CANNOT_TAKE)
    else:
        sentence = CANNOT_REMOVE
    return sentence(name=name or THAT_FILE(), limit=limit)
