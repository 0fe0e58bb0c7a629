"""The people of a simulated world: each conversation has somebody who says things, patiently or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from proof.simulation.judge import Judge
from proof.simulation.messenger import Messenger
from proof.simulation.story import Act, Chat, Plan, Said, turn_of
from proof.simulation.trace import Trace
from proof.simulation.weather import stream
from surfaces_core.events import Address, Attachment, Binding, Inbound, Kind

MOST_ROOMS = 3
"""Conversations of one person."""
MOST_OPEN = 4
"""Somebody who waits for so many answers says nothing further, but in a flood."""
MOST_FILES = 15
COMMANDS = ("!help", "!clear", "!clear", "!context", "!list", "!remove all", "!nonsense", "!rename Travel")
LONG = 9000
"""Characters of a long answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How people are."""

    think_s: float = 20.0
    plain: bool = False
    """They only ask, and nothing odd."""


@dataclass(kw_only=True, eq=False)
class People:
    """Everybody, and what they still have to say."""

    seed: int
    judge: Judge
    trace: Trace
    now: Callable[[], float]
    clock: Callable[[], float]
    """Of the world, Unix seconds."""
    messengers: dict[str, Messenger]
    habits: Habits
    left: int
    """How many things are still said."""
    group: asyncio.TaskGroup
    chat: Callable[[str, str, str, bool], Chat]
    """Makes a conversation: of a surface, with a name, for a person, and whether it is a place to call from."""
    said: int = 0
    _people: dict[str, list[Chat]] = field(default_factory=dict)
    _chances: dict[str, random.Random] = field(default_factory=dict)

    # Conversations

    def meet(self, surface: str, name: str, person: str, *, entry: bool = False) -> Chat:
        """A conversation begins."""
        chat = self.chat(surface, name, person, entry)
        self.messengers[surface].chats[name] = chat
        self._chances[name] = stream(self.seed, f"chat/{name}")
        self._people.setdefault(person, []).append(chat)
        self.group.create_task(self._call(chat) if entry else self._talk(chat))
        return chat

    def roomed(self, binding: Binding) -> None:
        """A room was made."""
        self.trace.line(binding.address.conversation, f"is made for {binding.owner} as {binding.label}")
        self.meet(binding.address.surface, binding.address.conversation, binding.owner)

    def rooms(self, person: str) -> list[Chat]:
        """A person's conversations."""
        return [chat for chat in self._people[person] if not chat.entry]

    # Saying things

    def say(
        self,
        chat: Chat,
        text: str = "",
        act: Act = Act.QUESTION,
        *,
        plan: Plan | None = None,
        files: int = 0,
        kind: Kind = Kind.MESSAGE,
        sender: str = "",
    ) -> Said:
        """Say something, or do what the messenger tells the host of."""
        chat.count += 1
        self.left -= 1
        self.said += 1
        event = f"${chat.name}#{chat.count}"
        turn = turn_of(chat.surface, event)
        names = tuple(f"in-{chat.name}-{chat.count}-{index}.txt" for index in range(files))
        said = Said(
            chat=chat,
            number=chat.count,
            turn=turn,
            act=act,
            text=text,
            at=self.now(),
            ends=self.judge.ends,
            failures=chat.failures,
            plan=plan,
            files=names,
        )
        self.judge.said(said)
        self.trace.line(chat.name, f"#{said.number} {act} {text[:40]!r} {turn}")
        message = Inbound(
            address=Address(surface=chat.surface, conversation=chat.name),
            event_id=event,
            sender=sender or chat.person,
            sender_name=chat.person[1:].title(),
            sent_at=round(self.clock(), 3),
            kind=kind,
            text=text,
            attachments=tuple(Attachment(ref=f"{turn}/{index}", name=name) for index, name in enumerate(names)),
            cause="PASSED_OVER" if kind is Kind.GAP else "",
        )
        self.messengers[chat.surface].take(message, turn)
        return said

    def ask(self, chat: Chat, *, files: int = 0, plain: bool = False) -> Said:
        """Ask the agent."""
        token = f"{chat.name}#{chat.count + 1}"
        plan = Plan(token=token) if plain else self._plan(token, self._chances[chat.name])
        return self.say(chat, f"{token} please", plan=plan, files=files)

    def command(self, chat: Chat, text: str) -> Said:
        """Use a command."""
        return self.say(chat, text, Act.COMMAND)

    def _plan(self, token: str, chance: random.Random) -> Plan:
        chunks = tuple(f"word {number} " * chance.randrange(1, 6) for number in range(chance.randrange(0, 4)))
        luck = chance.random()
        if self.habits.plain or luck > 0.2:
            return Plan(token=token, chunks=chunks, pause_s=chance.choice([0.0, 0.0, 0.3, 1.0]))
        if luck < 0.02:
            return Plan(token=token, chunks=("x" * LONG, *chunks))
        if luck < 0.06:
            return Plan(token=token, chunks=chunks, file=chance.choice(["there", "there", "missing", "fleeting"]))
        if luck < 0.08:
            return Plan(token=token, empty=True, file="there" if luck < 0.07 else "", pause_s=chance.choice([0.0, 2.0]))
        if luck < 0.13:
            confirm = chance.choice(["yes", "yes", "no", "stop", "never"])
            return Plan(
                token=token,
                chunks=chunks,
                confirm=confirm,  # type: ignore[arg-type]
                patience_s=chance.uniform(10.0, 60.0),
                same=chance.random() < 0.5,
            )
        return Plan(token=token, chunks=chunks, pause_s=chance.uniform(0.0, 4.0))

    # Each conversation

    async def _call(self, chat: Chat) -> None:
        """Call the bot from outside, and again now and then."""
        chance = self._chances[chat.name]
        await asyncio.sleep(chance.uniform(0.0, 20.0))
        self.say(chat, act=Act.START, kind=Kind.START)
        while self.left > 0:
            await asyncio.sleep(chance.expovariate(1 / (40 * self.habits.think_s)))
            if self.left > 0 and not chat.open and not self.habits.plain:
                self.say(chat, "hello", Act.START)

    async def _talk(self, chat: Chat) -> None:
        chance = self._chances[chat.name]
        await asyncio.sleep(chance.uniform(0.0, self.habits.think_s))
        while self.left > 0:
            if len(chat.open) < MOST_OPEN:
                self._act(chat, chance)
            await asyncio.sleep(chance.expovariate(1 / self.habits.think_s))

    def _act(self, chat: Chat, chance: random.Random) -> None:
        if self.habits.plain:
            self.ask(chat)
            return
        act = chance.choices(_ACTS, _WEIGHTS)[0]
        act(self, chat, chance)

    def _burst(self, chat: Chat, chance: random.Random) -> None:
        for _ in range(chance.randrange(2, 6)):
            self.ask(chat)

    def _flood(self, chat: Chat, chance: random.Random) -> None:
        for _ in range(chance.randrange(10, 25)):
            self.ask(chat)
        if chance.random() < 0.5:
            self.command(chat, "!context")

    def _attach(self, chat: Chat, chance: random.Random) -> None:
        if len(chat.files) < MOST_FILES and chat.archived is False:
            self.ask(chat, files=chance.randrange(1, 3))

    def _send_files(self, chat: Chat, chance: random.Random) -> None:
        if len(chat.files) < MOST_FILES and chat.archived is False:
            self.say(chat, act=Act.FILES, files=chance.randrange(1, 3))

    def _command(self, chat: Chat, chance: random.Random) -> None:
        self.command(chat, chance.choice(COMMANDS))

    def _stop(self, chat: Chat, chance: random.Random) -> None:
        if chance.random() < 0.8:
            self.ask(chat)
        self.command(chat, "!stop")

    def _new(self, chat: Chat, chance: random.Random) -> None:
        if chat.surface == "alpha" and len(self.rooms(chat.person)) < MOST_ROOMS:
            self.command(chat, f"!new Nr {chance.randrange(100)}")

    def _archive(self, chat: Chat, chance: random.Random) -> None:
        if chat.open:
            return
        if chat.archived is not False:
            self.command(chat, "!archive undo")
            return
        self.command(chat, "!archive")
        if chance.random() < 0.5:
            self.ask(chat)
        self.command(chat, "!archive undo")

    def _gap(self, chat: Chat, chance: random.Random) -> None:
        self.say(chat, f"Some messages of {chat.name}#{chat.count + 1} were passed over.", Act.GAP, kind=Kind.GAP)

    def _stranger(self, chat: Chat, chance: random.Random) -> None:
        if chat.surface == "beta" and chat.context:  # else it would be the stranger's
            self.say(chat, "let me in", Act.STRANGER, sender="@stranger")

    def _leave(self, chat: Chat, chance: random.Random) -> None:
        if chat.surface == "alpha" and not chat.open:
            self.messengers[chat.surface].inside[chat.name] = False
            self.say(chat, act=Act.LEFT, kind=Kind.LEFT)
            self.say(chat, act=Act.START, kind=Kind.START)

    def answer(self, said: Said) -> None:
        """The agent asks something back."""
        self.group.create_task(self._answer(said))

    async def _answer(self, said: Said) -> None:
        assert said.plan is not None
        await asyncio.sleep(self._chances[said.chat.name].uniform(0.1, 40.0))
        if said.plan.confirm != "never" and said.turn in self.judge.open:
            self.command(said.chat, f"!{said.plan.confirm}")

    def finish(self) -> None:
        """A last question everywhere: whatever waits for one is given with it."""
        for messenger in self.messengers.values():
            for chat in list(messenger.chats.values()):
                if not chat.entry:
                    if chat.archived is not False:
                        self.command(chat, "!archive undo")
                    self.ask(chat, plain=True)


_Doing = Callable[[People, Chat, random.Random], object]
_ACTS: tuple[_Doing, ...] = (
    lambda people, chat, _chance: people.ask(chat),
    People._burst,
    People._flood,
    People._attach,
    People._send_files,
    People._command,
    People._stop,
    People._new,
    People._archive,
    People._gap,
    People._stranger,
    People._leave,
)
_WEIGHTS = (55, 8, 0.4, 4, 5, 8, 4, 1, 0.7, 1, 1, 0.4)
