"""Joins the trust half of the encryption to the surface: the rooms where it talks, its command, and its reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from surfaces_core import Command, CommandCall, CommandError, SurfaceContext
from surfaces_matrix import words
from surfaces_matrix.client import Client
from surfaces_matrix.content import text_content
from surfaces_matrix.encryption import EXTRA, Encryption
from surfaces_matrix.login import Login
from surfaces_matrix.people import People
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.say import Say
from surfaces_matrix.settings import MatrixSettings

if TYPE_CHECKING:
    from surfaces_matrix.e2ee.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Where verifications talk."""

    say: Say
    rooms: Rooms
    timeout_s: float

    async def tell(self, room_id: str, txn: str, text: str) -> None:
        """Say something to people. `Unavailable` or `Rejected`."""
        await self.say(room_id, txn, text_content(text, turn=txn, part=0, notice=True), timeout_s=self.timeout_s)

    async def put(self, room_id: str, kind: str, txn: str, content: Mapping[str, Any]) -> str:
        """Send an event, encrypted where the room is; its id. `Unavailable` or `Rejected`."""
        return await self.say(room_id, txn, dict(content), timeout_s=self.timeout_s, type_=kind)

    async def home(self, person: str) -> str | None:
        """A conversation of a person's. `Unavailable` or `Rejected`."""
        return await self.rooms.home(person)


class Trusted:
    """What one surface has of it; nothing but a word on why where the bot cannot encrypt."""

    def __init__(
        self,
        *,
        context: SurfaceContext,
        settings: MatrixSettings,
        client: Client,
        login: Login,
        encryption: Encryption,
        say: Say,
        rooms: Rooms,
        people: People,
    ) -> None:
        self._name = context.name
        self._prefix = context.prefix
        self._client = client
        self._login = login
        self._encryption = encryption
        self._careful = settings.trust == "verified_only"
        self._trust: Trust | None = None
        if encryption.machine is not None:
            from surfaces_matrix.e2ee.trust import Trust  # its libraries come with the extra

            self._trust = Trust(
                context.name,
                settings,
                encryption.machine,
                client,
                context.store,
                Floor(say=say, rooms=rooms, timeout_s=settings.request_timeout_s),
                context.log,
                allowed=people.allowed,
                prefix=context.prefix,
                speaking=context.speaking,
            )

    @property
    def problems(self) -> Sequence[str]:
        """Sentences for whoever watches the host."""
        return () if self._trust is None else self._trust.problems

    async def run(self) -> None:
        """Keep it going, until cancelled."""
        if self._trust is not None:
            await self._trust.run()

    # The command

    def commands(self) -> Sequence[Command]:
        """Those that make sense here."""
        if self._trust is None:
            return ()
        return [Command(name="verify", usage="[yes|no]", help=words.VERIFY_HELP, handler=self._verify, urgent=True)]

    async def _verify(self, call: CommandCall) -> str:
        assert self._trust is not None
        verification, message = self._trust.verification, call.message
        args = [word.lower() for word in call.args]
        if self._careful and args != ["no"] and not self._encryption.holds(message.address.conversation):
            raise CommandError(words.VERIFY_ELSEWHERE())  # the homeserver could have said it
        match args:
            case []:
                return await verification.begin(message.address.conversation, message.sender, message.event_id)
            case ["yes"]:
                return await verification.answer(message.sender, True)
            case ["no"]:
                return await verification.answer(message.sender, False)
            case _:
                raise CommandError(words.VERIFY_USAGE(prefix=self._prefix))

    # Reports

    async def report(self, name: str) -> AsyncIterator[str]:
        """One of `REPORTS`."""
        trust, machine = self._trust, self._encryption.machine
        if trust is None or machine is None:
            yield f"! the bot cannot encrypt\n  install {EXTRA}, see `encryption`, and use a login that has a device"
            return
        if not machine.device_id:  # the host rests
            await self._login()
            await self._encryption.open(self._client.device_id)
            await trust.look()
        if name == "recovery-key":
            yield trust.vault.recovery_key or f"! {trust.vault.problem or 'there is none yet: start the host once'}"
            return
        from surfaces_matrix.e2ee.doctor import Doctor

        doctor = Doctor(name=self._name, client=self._client, machine=machine, trust=trust, encryption=self._encryption)
        async for line in doctor.examine():
            yield line
