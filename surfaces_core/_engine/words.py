"""Every sentence that the host itself says to people."""

from __future__ import annotations

from collections.abc import Sequence

from surfaces_core.events import Pushed
from surfaces_core.i18n import Catalogue

_ = Catalogue("surfaces_core")

GENERAL = _("Something went wrong on my side. Please try again.")
NO_ANSWER = _("No answer came back.")
INTERRUPTED = _("I was interrupted while answering this. Please ask again.")
CUT_OFF = _("The answer was cut off here. Please ask again.")
HERE_IT_IS = _("Here it is.")
PART_LOST = _("A part of this answer could not be shown here.")
TOO_LONG = _("That took too long, so I gave it up. Please try again.")
GAVE_UP = _("I tried several times and could not get an answer. Please ask again later.")
POISON = _("I could not handle this message and have put it aside.")
WAITING = _("This takes longer than usual: something I need does not answer. I keep trying.")
STOPPED = _("Stopped.")
NOTHING_TO_STOP = _("Nothing is running here.")
NO_FILES = _("I can't take files here.")
NO_AGENT = _("No agent is set up for you. Please ask the operator of this service.")
NO_AGENT_ASK = _("No agent is set up for you. Please ask {contact}.")
DEFAULT_AGENT = _("No agent of your own is set up for you, so **{agent}** answers.")
MOVED = _("**{agent}** answers here from now on. It remembers nothing of what was said before.")
AGENT_GONE = _("The agent of this conversation is no longer available. Please ask the operator of this service.")
ARCHIVED = _("This conversation is archived. `{prefix}archive undo` brings it back, `{prefix}new` starts another.")
NOT_YOURS = _("Only the owner of this conversation can talk to the agent here.")
NOT_ALLOWED = _("You may not use `{prefix}{name}` here.")
NEEDS_CONVERSATION = _("That works inside a conversation. `{prefix}chats` shows yours.")
ONE_CHAT_ONLY = _("There is just this one conversation here.")
LANE_FULL = _.plural(
    "I still have {count} message from here to answer, so I did not take this one. Please send it again later.",
    "I still have {count} messages from here to answer, so I did not take this one. Please send it again later.",
)
VOICE_MESSAGE = _("(Voice message: {name})")
TOO_MANY_WAITING = _.plural(
    "I still have {count} message of yours to answer, so I did not take this one. Please send it again later.",
    "I still have {count} messages of yours to answer, so I did not take this one. Please send it again later.",
)
TOO_FAST = _.plural(
    "You write faster than I may answer, so I did not take this message. Please send it again in {count} second.",
    "You write faster than I may answer, so I did not take this message. Please send it again in {count} seconds.",
)
NO_QUESTION = _("There is no question waiting for an answer.")
QUESTION_EXPIRED = _("Nobody answered in time, so I said no.")
AGREED = _("Passed on: yes.")
DECLINED = _("Passed on: no.")
QUESTION_LAPSED = _("Nobody answered in time, so I left it.")
STILL_OPEN = _("I was interrupted here. My question is still open: with your answer I begin again.")
ANSWER_WITH = _("Answer with `{prefix}yes` or `{prefix}no`, or react with 👍 or 👎.")
LEAVE_WITH = _("`{prefix}cancel` leaves this.")
LEFT = _("Left.")
STILL_ANSWERING = _("Your last question is still being answered. `{prefix}stop` stops that.")
NOTHING_TO_RETRY = _("You have asked nothing here yet.")
UNKNOWN_COMMAND = _("I don't know `{prefix}{name}`.")
DID_YOU_MEAN = _("Did you mean `{prefix}{name}`?")
HELP_LISTS = _("`{prefix}help` lists what there is.")
HELLO = _("Hello!")
HELLO_YOU = _("Hello {name}!")
GREETING = _("This is a private conversation with **{agent}**. Just write, or send a file.")
PUSH_ON = _("⏳ **{title}**")
PUSH_AT = _("⏳ **{title}** {percent}")
PUSH_DONE = _("✅ **{title}** is done.")
PUSH_FAILED = _("❌ **{title}** has failed.")
NOTHING_SAVED = _("The agent had nothing to write down, so nothing was saved.")
TOO_MANY_POINTS = _("There are {most} save points already, which is the most. Save under one of their names instead.")
GREETING_COMMANDS = _("What I understand beside that:")
WELCOME = _("Your conversation is ready: {link}. I have invited you.")
RECALLED = _.plural(
    "You have {count} conversation: {links}. I have invited you again where you were missing; "
    "`{prefix}new` starts another.",
    "You have {count} conversations: {links}. I have invited you again where you were missing; "
    "`{prefix}new` starts another.",
)
SETTING_UP = _("I am preparing your conversation. The server asks me to wait a moment.")
GROUP_GREETING = _("Hello! Mention me, or reply to what I said, and **{agent}** answers.")
STAGED = _.plural(
    "Got {names}. {count} waiting for your next message.", "Got {names}. {count} waiting for your next message."
)
TOO_MANY_STAGED = _.plural(
    "I can't take {names}: {count} file waits already. Write something to send it, or drop it with `{prefix}remove`.",
    "I can't take {names}: {count} files wait already. "
    "Write something to send them, or drop some with `{prefix}remove`.",
)
HELP_HELP = _("the commands that work here")
HELP_STOP = _("stops the answer that is being written")
HELP_YES = _("agrees to what the agent asks")
HELP_NO = _("declines what the agent asks")
HELP_CANCEL = _("leaves the question that waits for your answer")
HELP_RETRY = _("asks your last question again")
HELP_LANGUAGE = _("shows or changes the language I speak with you")
USAGE_LANGUAGE = _("[code]")
LANGUAGE = _("Language: **{language}**. `{prefix}language` with a code changes it: {choices}.")
LANGUAGE_CHOSEN = _("Done. Language: **{language}**.")
NO_SUCH_LANGUAGE = _("I don't speak that. Choose one of these: {choices}.")
HELP_SETTINGS = _("shows what applies to you here")
SETTINGS = _("Settings")
SETTING_LANGUAGE = _("language: {language}")
SETTING_AGENT = _("agent: {agent}")
STREAMS = _("answers appear while they are written")
STREAMS_NOT = _("answers appear when they are complete")
TOOLS_OFF = _("the agent's tools are not shown")
TOOLS_COMPACT = _("the tool that the agent is using is shown")
TOOLS_FULL = _("all tools that the agent uses are shown")
SETTING_FILES = _("files waiting: {waiting} of at most {most}")
LIMIT_MINUTE = _.plural("at most {count} message a minute", "at most {count} messages a minute")
LIMIT_TURNS = _.plural("at most {count} answer at a time", "at most {count} answers at a time")
LIMIT_QUEUE = _.plural("at most {count} message waiting", "at most {count} messages waiting")
HELP_AGENT = _("lists the agents you may use, or chooses one")
USAGE_AGENT = _("[number or id]")
AGENT_OFFERED = _("{number}. {agent} (`{id}`)")
AGENT_HERE = _("{number}. {agent} (`{id}`) **(this one)**")
HOW_TO_CHOOSE = _("`{prefix}agent` with a number or id chooses another. It begins with a fresh memory.")
NO_SUCH_AGENT = _("There is no such agent for you; `{prefix}agent` lists them.")
AGENT_STAYS = _("**{agent}** answers here already.")
STATUS = _("Status")
STATUS_RUNNING = _("running turns: {running}")
STATUS_INBOX = _("messages waiting: {count}")
STATUS_OUTBOX = _("parts of answers to send: {count}")
STATUS_DEAD = _("dead letters: {count}")
STATUS_VERSIONS = _("versions: Surfaces {host} (contracts: {contracts}), Python {python}")
SURFACES = _("Surfaces")
SURFACE_WELL = _("{name}: all is well")
SURFACE_ILL = _("{name}: not well, see above")
USAGE_HELP = _("[command]")
COMMAND = _("`{usage}` – {help}.")
COMMAND_ALSO = _("`{usage}` – {help}. Also: {aliases}.")
USING = _("using {tool}")
USED = _("used {tool}")


def plain(text: str) -> str:
    """Text of a person's own, such as a name, that Markdown leaves as it is."""
    return "".join(f"\\{char}" if char in "[]\\`*_<>" else char for char in text)


def no_agent(contact: str) -> str:
    """Nobody answers this person; whom to ask about that."""
    return NO_AGENT_ASK(contact=contact) if contact else NO_AGENT()


def question(text: str, prefix: str) -> str:
    """A confirmation that the agent asks for."""
    return f"{text}\n\n{ANSWER_WITH(prefix=prefix)}"


def leavable(text: str, prefix: str) -> str:
    """A question of a command that may be left."""
    return f"{text}\n\n{LEAVE_WITH(prefix=prefix)}"


def pushed(push: Pushed) -> str:
    """What an agent says by itself about a task."""
    title = plain(push.title)
    if push.kind == "progress":
        line = (
            PUSH_AT(title=title, percent=f"{push.progress:.0%}") if push.progress is not None else PUSH_ON(title=title)
        )
    else:
        line = (PUSH_DONE if push.kind == "done" else PUSH_FAILED)(title=title)
    return f"{line}\n\n{push.text}" if push.text.strip() else line


def unknown_command(name: str, nearest: str | None, prefix: str) -> str:
    """A command that does not exist."""
    hint = DID_YOU_MEAN(prefix=prefix, name=nearest) if nearest else HELP_LISTS(prefix=prefix)
    return f"{UNKNOWN_COMMAND(prefix=prefix, name=name[:40])} {hint}"


def greeting(owner_name: str, agent: str, commands: str) -> str:
    """The first words in a person's first conversation."""
    hello = HELLO_YOU(name=plain(owner_name)) if owner_name else HELLO()
    return f"{hello} {GREETING(agent=agent)}\n\n{GREETING_COMMANDS()}\n\n{commands}"


def welcome(link: str) -> str:
    """Said where a person called from, when their first conversation is ready."""
    return WELCOME(link=link)


def recalled(links: Sequence[str], prefix: str) -> str:
    """Said where a person called from, when they have conversations already."""
    return RECALLED(len(links), links=", ".join(links), prefix=prefix)


def staged(names: Sequence[str], waiting: int) -> str:
    """Files wait for the next text."""
    return STAGED(waiting, names=_listed(names))


def too_many_staged(names: Sequence[str], waiting: int, prefix: str) -> str:
    """No further file can wait."""
    return TOO_MANY_STAGED(waiting, names=_listed(names), prefix=prefix)


def _listed(names: Sequence[str]) -> str:
    return ", ".join("`{}`".format(name.replace("`", "'")) for name in names)


def cut_off(text: str, line: str) -> str:
    """What came of an answer, and why there is no more of it."""
    return f"{text}\n\n_{line}_" if text else line
