"""The scripted person sees on a real homeserver what a person's client would show."""

from __future__ import annotations

import pytest

from surfaces_demo.children import free_port
from surfaces_demo.person import NotSeen, Person, Refused, Unreachable
from surfaces_demo.synapse import Account, Synapse
from surfaces_demo.timeline import Message, Room

pytestmark = pytest.mark.slow


async def pair(synapse: Synapse, name: str) -> tuple[Person, Person]:
    """Two people, not logged in yet."""
    ann, bob = await synapse.register(f"{name}-ann"), await synapse.register(f"{name}-bob")
    return Person(synapse.url, ann), Person(synapse.url, bob)


async def meet(one: Person, other: Person) -> tuple[Room, Room]:
    """One invites the other, who joins; the room as each of them sees it."""
    room = await one.invite_to_chat(other.timeline.user_id)
    invited = await other.see_invitation()
    await other.join(invited)
    await other.see("the room", lambda: invited.membership == "join")
    return room, invited


def said(room: Room, text: str) -> Message | None:
    return next((message for message in room.messages.values() if message.text == text), None)


async def test_people_meet_and_talk(synapse: Synapse) -> None:
    """An invitation is seen, accepted, and what one says the other sees once."""
    first, second = await pair(synapse, "person-talk")
    async with first as ann, second as bob:
        room, seen = await meet(ann, bob)
        await ann.say(room, "hello")
        message = await bob.see("hello", lambda: said(seen, "hello"))
        assert message.sender == ann.timeline.user_id
        assert [each.text for each in seen.messages.values()] == ["hello"]


async def test_files_arrive_as_they_were_sent(synapse: Synapse) -> None:
    """A file that one person sends the other can download."""
    first, second = await pair(synapse, "person-files")
    async with first as ann, second as bob:
        room, seen = await meet(ann, bob)
        await ann.send_file(room, "a.bin", b"\0\1\2", "application/octet-stream")
        message = await bob.see("the file", lambda: said(seen, "a.bin"))
        assert (message.kind, await bob.download(message)) == ("m.file", b"\0\1\2")


async def test_what_does_not_show_is_said(synapse: Synapse) -> None:
    """Waiting for something that does not come ends with its name."""
    first, second = await pair(synapse, "person-nothing")
    async with first as ann, second:
        with pytest.raises(NotSeen, match="an invitation to a Space"):
            await ann.see_invitation(space=True, within_s=0.1)


async def test_wrong_passwords_are_refused(synapse: Synapse) -> None:
    """A person who cannot log in is told so."""
    account = await synapse.register("person-wrong", "right")
    wrong = Account(user_id=account.user_id, password="wrong")
    with pytest.raises(Refused, match="403"):
        async with Person(synapse.url, wrong):
            pass


async def test_a_homeserver_that_is_not_there_is_an_error() -> None:
    """Logging in where nobody listens fails at once."""
    person = Person(f"http://127.0.0.1:{free_port()}", Account(user_id="@a:b", password="c"))
    with pytest.raises(Unreachable):
        async with person:
            pass
