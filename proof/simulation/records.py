"""What the judge remembers of each conversation: its files, its contexts, its notices, and the rooms of each person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proof.simulation.story import Act, Chat, Said
from proof.simulation.verdicts import Ending
from surfaces_commands_context import words as command_words


@dataclass(kw_only=True, eq=False)
class Records:
    """Is told what is over, in the order of each conversation, and says what cannot be."""

    fail: Callable[[str, str, str], None]
    """Told of a broken promise: its kind, where, and what."""
    on_used: Callable[[Chat, Sequence[str]], None] = lambda chat, files: None
    """Nobody needs these files of a conversation any more."""
    made: Counter[str] = field(default_factory=Counter)
    """Conversations that each person was told of."""
    unsure: Counter[str] = field(default_factory=Counter)
    """Conversations that each person may have beside these."""

    def over(self, said: Said, ending: Ending | None, ends: int) -> None:
        """Something is over, `ends` lives after the host began."""
        if said.overflow:
            said.chat.passed_over += 1
            said.chat.told_so |= bool(said.parts or said.refused)
        elif said.was_parked:
            self._leave(said)
        else:
            self._remember(said, ending)
        self._check_notices(said, ends)
        self._check_flood(said.chat)

    def put_aside(self, said: Said) -> None:
        """Something waits with its question, and with the files that its agent had."""
        self._check_context(said)
        self._take_over(said)
        waited = {name: certain for name, (number, certain) in said.chat.files.items() if number <= said.number}
        said.carried |= waited
        for name in waited:
            del said.chat.files[name]

    def _take_over(self, said: Said) -> None:
        """The files that come with it, or waited with what it goes on with."""
        self._add_files(said, certain=False)
        if said.again is not None:
            said.chat.files |= {name: (said.again.number, certain) for name, certain in said.again.carried.items()}

    def _leave(self, said: Said) -> None:
        """Its question is no longer open: what waited with it goes on, or nobody needs it."""
        if not said.resumed:
            self.on_used(said.chat, list(said.carried))

    def _check_flood(self, chat: Chat) -> None:
        """Whoever says too much is told so, at least once until all is answered."""
        if chat.open or not chat.passed_over:
            return
        if not chat.told_so:
            self.fail("lost", chat.name, f"{chat.passed_over} messages were put aside without a word")
        chat.passed_over, chat.told_so = 0, False
        chat.notices = {cause: count for cause, count in chat.notices.items() if not cause}

    def _remember(self, said: Said, ending: Ending | None) -> None:
        """What it changed in its conversation."""
        match said.act:
            case Act.QUESTION:
                self._check_context(said)
                self._take_files(said, ending)
            case Act.FILES:
                certain = any(seen.text.startswith("Got ") for seen in said.parts.values())
                self._add_files(said, certain=certain)
            case Act.COMMAND:
                self._commanded(said)
            case Act.START if said.chat.entry:
                self._made(said, any(seen.text.startswith("Your conversation") for seen in said.parts.values()))

    def _check_notices(self, said: Said, ends: int) -> None:
        """What is said once in a life of the host: to strangers, and about one flood."""
        if not said.parts or not (said.overflow or said.act is Act.STRANGER):
            return
        cause = said.at if said.overflow else 0.0
        count, before = said.chat.notices.get(cause, (0, said.ends))
        said.chat.notices[cause] = count + 1, before
        if count > ends - before:
            self.fail("doubled", said.chat.name, f"#{said.number}: one notice too many: {said.parts}")

    def _made(self, said: Said, ready: bool) -> None:
        """A conversation was asked for."""
        if ready:
            self.made[said.chat.person] += 1
        elif said.refused or said.dead:
            self.unsure[said.chat.person] += 1

    def _add_files(self, said: Said, *, certain: bool) -> None:
        for name in said.files:
            if name not in said.gone:
                said.chat.files[name] = (said.number, certain)

    def _take_files(self, said: Said, ending: Ending | None) -> None:
        """A file is given to the agent with one question that was answered, and with no other."""
        chat = said.chat
        self._take_over(said)
        if ending is None or ending.kind not in ("answered", "stopped"):
            return
        if ending.kind == "stopped" or said.refused:  # whether the agent had them nobody knows
            chat.files = {name: (number, False) for name, (number, _) in chat.files.items()}
            return
        run = ending.run
        assert run is not None
        for name in run.attachments:
            if name not in chat.files:
                self.fail("doubled", chat.name, f"#{said.number}: the file {name} was given to the agent again")
        waited = {name: certain for name, (number, certain) in chat.files.items() if number <= said.number}
        for name, certain in waited.items():
            del chat.files[name]
            if certain and name not in run.attachments:
                self.fail("lost", chat.name, f"#{said.number}: the file {name} was not given to the agent")
        self.on_used(chat, list(waited))

    def _check_context(self, said: Said) -> None:
        assert said.plan is not None
        chat = said.chat
        for run in said.plan.runs:
            if chat.context and run.context != chat.context:
                self.fail("wrong", chat.name, f"#{said.number}: the agent's context changed by itself")
            if run.context == chat.former:
                self.fail("wrong", chat.name, f"#{said.number}: the agent's context was cleared, and is back")
            chat.context = run.context

    def _commanded(self, said: Said) -> None:
        chat, text = said.chat, said.text
        reply = next((seen.text for seen in said.parts.values()), "")
        if text == "!clear":
            done = reply == command_words.CLEARED()
            chat.context, chat.former = "", (chat.context or chat.former) if done else ""
        elif text == "!remove all":
            done = reply.startswith(("Dropped", "No file"))
            before = [name for name, (number, _) in chat.files.items() if number < said.number]
            if done:
                self.on_used(chat, before)
            for name in before:
                number, _ = chat.files.pop(name)
                if not done:
                    chat.files[name] = (number, False)
        elif text.startswith("!new"):
            self._made(said, reply.startswith("["))
        elif text.startswith("!archive"):
            done = reply.endswith(("brings it back.", "Just write."))
            chat.archived = (text == "!archive") if done else None
