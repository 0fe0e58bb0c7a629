"""Every sentence that the host itself says to people."""

from __future__ import annotations

from collections.abc import Sequence

GENERAL = "Something went wrong on my side. Please try again."
NO_ANSWER = "No answer came back."
INTERRUPTED = "I was interrupted while answering this. Please ask again."
CUT_OFF = "The answer was cut off here. Please ask again."
HERE_IT_IS = "Here it is."
PART_LOST = "A part of this answer could not be shown here."
TOO_LONG = "That took too long, so I gave it up. Please try again."
GAVE_UP = "I tried several times and could not get an answer. Please ask again later."
POISON = "I could not handle this message and have put it aside."
WAITING = "This takes longer than usual: something I need does not answer. I keep trying."
STOPPED = "Stopped."
NOTHING_TO_STOP = "Nothing is running here."
NO_FILES = "I can't take files here."
NO_AGENT = "No agent is set up for you. Please ask the operator of this service."
AGENT_GONE = "The agent of this conversation is no longer available. Please ask the operator of this service."
ARCHIVED = "This conversation is archived. `{prefix}archive undo` brings it back, `{prefix}new` starts another."
NOT_YOURS = "Only the owner of this conversation can talk to the agent here."
NOT_ALLOWED = "You may not use `{prefix}{name}` here."
NEEDS_CONVERSATION = "That works inside a conversation. `{prefix}chats` shows yours."
ONE_CHAT_ONLY = "There is just this one conversation here."
LANE_FULL = "I still have {count} messages from here to answer, so I did not take this one. Please send it again later."
NO_QUESTION = "There is no question waiting for an answer."
QUESTION_EXPIRED = "Nobody answered in time, so I said no."
AGREED = "Passed on: yes."
DECLINED = "Passed on: no."


def plain(text: str) -> str:
    """Text of a person's own, such as a name, that Markdown leaves as it is."""
    return "".join(f"\\{char}" if char in "[]\\`*_<>" else char for char in text)


def question(text: str, prefix: str) -> str:
    """A confirmation that the agent asks for."""
    return f"{text}\n\nAnswer with `{prefix}yes` or `{prefix}no`."


def unknown_command(name: str, nearest: str | None, prefix: str) -> str:
    """A command that does not exist."""
    hint = f"Did you mean `{prefix}{nearest}`?" if nearest else f"`{prefix}help` lists what there is."
    return f"I don't know `{prefix}{name[:40]}`. {hint}"


def greeting(owner_name: str, agent: str, commands: str) -> str:
    """The first words in a person's first conversation."""
    hello = f"Hello {plain(owner_name)}!" if owner_name else "Hello!"
    return (
        f"{hello} This is a private conversation with **{agent}**. Just write, or send a file.\n\n"
        f"What I understand beside that:\n\n{commands}"
    )


def welcome(link: str) -> str:
    """Said where a person called from, when their first conversation is ready."""
    return f"Your conversation is ready: {link}. I have invited you."


def recalled(links: Sequence[str], prefix: str) -> str:
    """Said where a person called from, when they have conversations already."""
    return (
        f"You have {len(links)} conversation{'' if len(links) == 1 else 's'}: {', '.join(links)}. "
        f"I have invited you again where you were missing; `{prefix}new` starts another."
    )


def staged(names: Sequence[str], waiting: int) -> str:
    """Files wait for the next text."""
    shown = ", ".join("`{}`".format(name.replace("`", "'")) for name in names)
    return f"Got {shown}. {waiting} waiting for your next message."


def too_many_staged(limit: int, prefix: str) -> str:
    """No further file can wait."""
    return f"{limit} files wait already. Write something to send them, or drop some with `{prefix}remove`."


def cut_off(text: str, line: str) -> str:
    """What came of an answer, and why there is no more of it."""
    return f"{text}\n\n_{line}_" if text else line
