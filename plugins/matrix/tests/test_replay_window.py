"""What was said once shows once, also when the homeserver has forgotten the transaction ids."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import ValidationError

from surfaces_core import Address, Draft, FileRef, Outbound, Rejected, Unavailable
from surfaces_matrix import MatrixSurface
from surfaces_matrix.login import session_of
from surfaces_matrix.lookup import MARGIN_S, MOST_PAGES, PAGE
from surfaces_testing.homeserver import PASSWORD, Event, FakeHomeserver, Html, Lost

from .conftest import LOGIN, NO_STATE, ROOM, TOKEN, WHOAMI, Bot, Stage, Workspace, a_file, draft, outbound

ME, ANN = "@bot:hs.test", "@ann:hs.test"
MESSAGES, SEND = "GET /_matrix/client/v3/rooms/%21room%3Ahs/messages", "/send/"
DAY_S = 86_400.0


@dataclass
class House:
    """A bot and a person in a room of a homeserver that can forget."""

    homeserver: FakeHomeserver
    bot: Bot
    room: str

    def part(self, surface: MatrixSurface, text: str = "", **more: Any) -> Outbound:
        """A part that was stored a day ago, for the surface's present login."""
        address = Address(surface="work", conversation=self.room)
        fresh = {"device": surface.device, "frozen_at": time.time() - DAY_S, **more}
        return outbound(text, address=address, **fresh)

    def draft(self, surface: MatrixSurface, text: str, **more: Any) -> Draft:
        """A draft of a turn that shows since a day."""
        address = Address(surface="work", conversation=self.room)
        return draft(text, address=address, **{"device": surface.device, "first_at": time.time() - DAY_S, **more})

    def own(self) -> list[Event]:
        """The bot's events, oldest first."""
        return [event for event in self.homeserver.events(self.room) if event.sender == ME and event.state_key is None]

    def shown(self) -> list[str]:
        """What people see of the bot."""
        return [message.body for message in self.homeserver.shown(self.room) if message.sender == ME]

    def looked(self) -> int:
        """How many pages of the room were read."""
        return len(self.homeserver.record.of("messages"))

    def age(self, seconds: float) -> None:
        """All that was said until now was said so much earlier."""
        room = self.homeserver.rooms[self.room]
        for event in list(room.timeline):
            room.put(replace(event, ts=event.ts - int(seconds * 1000)))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """With the person in the room already."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(ME)
        room = homeserver.person(ANN).create_dm(ME)
        homeserver.person(ME).join(room)
        yield House(homeserver, Bot(homeserver.url, settings={"user_id": ME, "password": PASSWORD}), room)


def time_passes(house: House) -> None:
    """The homeserver forgets what it keeps of transaction ids."""
    house.homeserver.forget_transactions()


def logged_out(house: House) -> None:
    """The device is logged out and in again: it keeps its id, and nothing is known of what it sent."""
    house.homeserver.revoke(ME)
    house.homeserver.forget_transactions()


def new_device(house: House) -> None:
    """The bot's login is lost, so it comes with another device."""
    del house.bot.store.rows["login"]


FORGETTING = pytest.mark.parametrize("forget", [time_passes, logged_out, new_device])
Forget = Callable[[House], None]


def stored(surface: MatrixSurface, forget: Forget) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a part and of its drafts: for which login and when, so that nothing but what is tested makes one look."""
    at = time.time() - (DAY_S if forget is time_passes else 0.0)
    return {"device": surface.device, "frozen_at": at}, {"device": surface.device, "first_at": at}


# Found ---------------------------------------------------------------------------------------------


@FORGETTING
async def test_a_plain_part_shows_once(house: House, forget: Forget):
    """It is found by what stands in it, and its receipt is that of the first time."""
    async with house.bot.live() as surface:
        when, _ = stored(surface, forget)
        message = house.part(surface, "once", **when)
        first = await surface.send(message)
    forget(house)
    async with house.bot.live() as surface:
        second = await surface.send(message)
    assert house.shown() == ["once"]
    assert first == second


@FORGETTING
async def test_a_part_that_never_left_is_said(house: House, forget: Forget):
    """A look that finds nothing is followed by the message, in this life and not again in the next."""
    async with house.bot.live() as surface:
        when, _ = stored(surface, forget)
        message = house.part(surface, "at last", **when)
    forget(house)
    async with house.bot.live() as surface:
        await surface.send(house.part(surface, "something else", part=1))
        await surface.send(message)
        await surface.send(message)
    assert house.shown() == ["something else", "at last"]


@FORGETTING
async def test_a_final_text_shows_once(house: House, forget: Forget):
    """A draft of an earlier life is replaced, and what shows in full already is left as it is."""
    async with house.bot.live() as surface:
        when, since = stored(surface, forget)
        await surface.show(house.draft(surface, "half", **since))
        message = house.part(surface, "whole", streamed=True, **when)
    forget(house)
    async with house.bot.live() as surface:
        first = await surface.send(message)
    sent = len(house.own())
    assert house.shown() == ["whole"]
    forget(house)
    async with house.bot.live() as surface:
        assert await surface.send(message) == first
    assert house.shown() == ["whole"]
    assert len(house.own()) == sent


@FORGETTING
async def test_a_second_try_edits_the_draft_of_the_first(house: House, forget: Forget):
    """The message that an earlier life left half said is the one in which the answer comes."""
    async with house.bot.live() as surface:
        when, since = stored(surface, forget)
        await surface.show(house.draft(surface, "half", **since))
    forget(house)
    before = house.looked()
    async with house.bot.live() as surface:
        await surface.show(house.draft(surface, "again", attempt=2, **since))
        assert house.shown() == ["again …"]
        await surface.show(house.draft(surface, "again and", version=2, attempt=2, **since))
        await surface.send(house.part(surface, "whole", streamed=True, **when))
    assert house.shown() == ["whole"]
    assert house.looked() - before == 1, "what this life has found it need not look for again"


@FORGETTING
async def test_a_file_shows_once(house: House, workspace: Workspace, forget: Forget):
    """Nothing is uploaded for one that shows, and what was remembered of its upload is forgotten."""
    house.bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with house.bot.live() as surface:
        when, _ = stored(surface, forget)
        message = house.part(surface, file=file, **when)
        house.homeserver.fault("send", Lost(), times=2)
        with pytest.raises(Unavailable):
            await surface.send(message)
    assert "uploaded:turn.0" in house.bot.store.rows
    forget(house)
    async with house.bot.live() as surface:
        await surface.send(message)
    assert house.shown() == ["a.txt"]
    assert len(house.homeserver.record.of("upload")) == 1
    assert "uploaded:turn.0" not in house.bot.store.rows


async def test_a_part_is_found_behind_a_long_talk(house: House):
    """Two hundred messages of the bot and two thousand of others after it cost three requests."""
    async with house.bot.live() as surface:
        message = house.part(surface, "long ago")
        await surface.send(message)
    me, ann = house.homeserver.person(ME), house.homeserver.person(ANN)
    for number in range(200):
        me.say(house.room, f"{number}")
        for _ in range(10):
            ann.say(house.room, "and so on")
    house.homeserver.forget_transactions()
    async with house.bot.live() as surface:
        before = house.looked()
        await surface.send(message)
        assert house.shown().count("long ago") == 1
        assert house.looked() - before == 3


async def test_a_room_that_cannot_be_read_is_tried_again(house: House):
    """Nothing is said before it is known whether that would be a repeat."""
    async with house.bot.live() as surface:
        message = house.part(surface, "once")
        await surface.send(message)
    house.homeserver.forget_transactions()
    async with house.bot.live() as surface:
        house.homeserver.fault("messages", Html())
        with pytest.raises(Unavailable):
            await surface.send(message)
        await surface.send(message)
    assert house.shown() == ["once"]


async def test_what_a_person_took_back_is_not_said_again(house: House):
    """The homeserver still tells the login that sent it which message it was."""
    async with house.bot.live() as surface:
        message = house.part(surface, "regrettable")
        await surface.send(message)
    house.homeserver.person(ANN).redact(house.room, house.own()[0].event_id)
    house.homeserver.forget_transactions()
    async with house.bot.live() as surface:
        await surface.send(message)
    assert house.shown() == []


async def test_what_may_have_been_taken_back_is_not_said_again(house: House):
    """To another login the homeserver does not tell: then the part is put aside, and that is said."""
    async with house.bot.live() as surface:
        message = house.part(surface, "regrettable")
        await surface.send(message)
    house.homeserver.person(ANN).redact(house.room, house.own()[0].event_id)
    new_device(house)
    async with house.bot.live() as surface:
        with pytest.raises(Rejected) as caught:
            await surface.send(message)
    assert caught.value.code == "UNSURE"
    assert house.shown() == []


async def test_what_was_taken_back_long_before_matters_to_nobody(house: House):
    """A message that is older than the part is not the part."""
    house.homeserver.person(ANN).redact(house.room, house.homeserver.person(ME).say(house.room, "old"))
    house.age(DAY_S + 2 * MARGIN_S)
    async with house.bot.live() as surface:
        await surface.send(house.part(surface, "new"))
    assert house.shown() == ["new"]


async def test_somebody_elses_mark_is_not_believed(house: House):
    """Whoever copies the id of an answer does not keep it from being said."""
    async with house.bot.live() as surface:
        message = house.part(surface, "the answer")
        mark = {"io.surfaces.id": {"turn": message.turn, "part": message.part}}
        house.homeserver.person(ANN).send(house.room, {"msgtype": "m.text", "body": "fake", **mark})
        await surface.send(message)
    assert house.shown() == ["the answer"]


# When to look, and how far -------------------------------------------------------------------------


async def test_what_is_surely_recognised_costs_nothing(house: House):
    """Within the window, under the same login, the room is never read."""
    async with house.bot.live() as surface:
        now = time.time()
        message = house.part(surface, "quick", frozen_at=now)
        await surface.send(message)
        await surface.send(message)
        await surface.show(house.draft(surface, "half", part=1, first_at=now))
        await surface.send(house.part(surface, "whole", part=1, streamed=True, frozen_at=now))
    async with house.bot.live() as surface:
        await surface.send(message)
    assert house.looked() == 0
    assert house.shown() == ["quick", "whole"]


async def test_a_draft_that_this_life_knows_is_edited_at_once(house: House):
    """However long the turn took."""
    async with house.bot.live() as surface:
        await surface.show(house.draft(surface, "half", first_at=time.time()))
        house.homeserver.forget_transactions()
        await surface.send(house.part(surface, "whole", streamed=True))
    assert house.looked() == 0
    assert house.shown() == ["whole"]


async def test_a_first_draft_whose_answer_was_lost_is_looked_for(house: House):
    """Also within one life: it is not repeated when the homeserver has forgotten it meanwhile."""
    async with house.bot.live() as surface:
        old = house.draft(surface, "half")
        house.homeserver.fault("send", Lost(), times=2)
        with pytest.raises(Unavailable):
            await surface.show(old)
        house.homeserver.forget_transactions()
        await surface.show(replace(old, version=2, text="half of it"))
        await surface.send(house.part(surface, "whole", streamed=True))
    assert house.shown() == ["whole"]


@pytest.mark.parametrize("ahead_s", [1.0, 10 * DAY_S])
async def test_a_part_from_the_future_is_looked_for(house: House, ahead_s: float):
    """A clock that was set back says nothing about how long ago it was."""
    async with house.bot.live() as surface:
        message = house.part(surface, "once", frozen_at=time.time() + ahead_s)
        await surface.send(message)
    house.homeserver.forget_transactions()
    house.age(100 * DAY_S)
    async with house.bot.live() as surface:
        await surface.send(message)
    assert house.shown() == ["once"]


async def test_the_last_messages_are_looked_at_whatever_the_clocks_say(house: House):
    """What shows is found although our clock says that it is older than the part."""
    async with house.bot.live() as surface:
        message = house.part(surface, "once")
        await surface.send(message)
    for number in range(PAGE - 1):
        house.homeserver.person(ME).say(house.room, f"{number}")
    house.age(7 * DAY_S)
    house.homeserver.forget_transactions()
    async with house.bot.live() as surface:
        await surface.send(message)
    assert house.shown().count("once") == 1


async def test_the_search_ends_at_what_is_older_than_the_part(house: House):
    """A room with years of talk is not read from its beginning."""
    for number in range(5 * PAGE):
        house.homeserver.person(ME).say(house.room, f"{number}")
    house.age(DAY_S + 2 * MARGIN_S)
    async with house.bot.live() as surface:
        await surface.send(house.part(surface, "new"))
    assert house.looked() == 1
    assert house.shown()[-1] == "new"


async def test_the_window_can_be_set(house: House):
    """With 0 the room is read before anything is said; a negative one makes no sense."""
    async with house.bot.live(replay_window_s=0) as surface:
        await surface.send(house.part(surface, "careful", frozen_at=time.time()))
    assert house.looked() > 0
    with pytest.raises(ValidationError):
        house.bot.make(replay_window_s=-1)


# A homeserver that says something else ---------------------------------------------------------------


def page(*events: Any, end: str | None = None) -> dict[str, Any]:
    """A page of a room."""
    return {"start": "t9", "chunk": list(events)} | ({} if end is None else {"end": end})


def own(event_id: str, *, age_s: float = 0.0, part: int = 7, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A message of the bot on the scripted homeserver, whose own clock stands still in 1970."""
    mark = {"io.surfaces.id": {"turn": "turn", "part": part}}
    return {
        "type": "m.room.message",
        "event_id": event_id,
        "sender": "@bot:hs",
        "origin_server_ts": 0,
        "unsigned": {"age": int(age_s * 1000)},
        "content": {"msgtype": "m.text", "body": "x", **mark, **(more or {})},
    }


def old(text: str = "once", **more: Any) -> Outbound:
    """A part that was stored a day ago."""
    return outbound(text, frozen_at=time.time() - DAY_S, **more)


async def test_ages_are_compared_and_not_times(stage: Stage, bot: Bot):
    """A homeserver whose clock is decades behind is read as far as it takes."""
    await stage.then(
        MESSAGES,
        page(own("$new", age_s=60), end="t8"),
        page(own("$younger", age_s=DAY_S - 60), end="t7"),
        page(own("$it", age_s=DAY_S, part=0), end="t6"),
    )
    async with bot.live() as surface:
        assert (await surface.send(old())).remote_id == "$it"
    assert stage.count(SEND) == 0
    assert [request.query.get("from") for request in stage.sent(MESSAGES)] == [None, "t8", "t7"]


async def test_what_has_the_wrong_shape_is_passed_over(stage: Stage, bot: Bot):
    """Whatever a homeserver puts into a page."""
    hostile: list[Any] = [
        5,
        None,
        {},
        {**own("$a"), "unsigned": 3, "content": {"io.surfaces.id": [1]}, "origin_server_ts": "x"},
        {**own("$b", part=0), "event_id": 5},
        {**own("$c", part=0), "type": "m.room.topic"},
        {**own("$d", part=0), "sender": "@ann:hs"},
        own("$e", part=0, more={"m.relates_to": {"rel_type": "m.replace", "event_id": {}}}),
    ]
    await stage.then(MESSAGES, page(*hostile, end="t8"), page())
    async with bot.live() as surface:
        assert (await surface.send(old())).remote_id == "$of-turn.0"
    assert stage.count(SEND) == 1


@pytest.mark.parametrize("answer", [{}, {"chunk": None}, {"chunk": {}}])
async def test_a_page_that_is_none_is_asked_for_again(stage: Stage, bot: Bot, answer: Any):
    """It may pass."""
    await stage.then(MESSAGES, answer, page())
    async with bot.live() as surface:
        with pytest.raises(Unavailable):
            await surface.send(old())
        await surface.send(old())
    assert stage.count(SEND) == 1


async def test_an_empty_page_is_not_the_end(stage: Stage, bot: Bot):
    """A homeserver may leave out all that it found and still have more."""
    await stage.then(MESSAGES, page(end="t8"), page(own("$it", part=0)))
    async with bot.live() as surface:
        assert (await surface.send(old())).remote_id == "$it"


async def test_a_search_without_end_is_given_up(stage: Stage, bot: Bot):
    """Then it is not known whether it shows, and nothing is said."""
    ends = iter(range(10_000))
    await stage.then(MESSAGES, *[lambda _request: page(own("$x"), end=f"t{next(ends)}")] * (MOST_PAGES + 1))
    async with bot.live() as surface:
        with pytest.raises(Rejected) as caught:
            await surface.send(old())
    assert caught.value.code == "UNSURE"
    assert stage.count(MESSAGES) == MOST_PAGES
    assert stage.count(SEND) == 0


async def test_a_search_that_moves_nowhere_ends(stage: Stage, bot: Bot):
    """A token that comes back as it went names the beginning of the room."""
    await stage.then(MESSAGES, page(own("$x"), end="t8"), page(end="t8"))
    async with bot.live() as surface:
        await surface.send(old())
    assert stage.count(SEND) == 1


async def test_a_draft_that_cannot_be_told_is_not_shown(stage: Stage, bot: Bot):
    """Nor asked for again and again; what becomes of the answer is decided when it is sent."""
    blank = {**own("$gone"), "content": {}}
    await stage.then(MESSAGES, *[page(blank)] * 5)
    async with bot.live() as surface:
        for version in (1, 2, 3):
            await surface.show(draft("half", version=version, attempt=2, first_at=time.time() - DAY_S))
        assert stage.count(MESSAGES) == 1
        with pytest.raises(Rejected):
            await surface.send(old(streamed=True))
    assert stage.count(SEND) == 0


# The login -------------------------------------------------------------------------------------------


async def test_the_device_is_known_before_the_homeserver_answers(stage: Stage, bot: Bot):
    """From the second life on; what is stored meanwhile is stored for the login that will be used."""
    async with bot.make() as surface:
        assert surface.device == ""
    async with bot.live() as surface:
        device = surface.device
        assert device == session_of(TOKEN)
    async with bot.make() as surface:
        assert surface.device == device
    async with bot.make(access_token=TOKEN) as surface:
        assert surface.device == device
    assert TOKEN not in device


async def test_every_login_is_a_device_of_its_own(stage: Stage, bot: Bot):
    """Its id stays, but a homeserver forgets what a device sent when it is logged out."""
    async with bot.live() as surface:
        first = surface.device
    await stage.revoke("tok2")
    async with bot.live() as surface:
        assert surface.device not in ("", first)
    ids = {request.body["device_id"] for request in stage.sent(LOGIN)}
    assert len(ids) == 1


async def test_a_token_without_a_device_is_never_relied_on(stage: Stage, bot: Bot):
    """Such a one has no transaction ids that the homeserver keeps."""
    await stage.then(WHOAMI, {"user_id": "@bot:hs"})
    await stage.then(MESSAGES, page(), page())
    async with bot.live(access_token=TOKEN) as surface:
        assert surface.device == ""
        await surface.send(outbound("hello"))
    assert stage.count(MESSAGES) == 1


async def test_nothing_is_sent_before_the_login_is_sure(stage: Stage, bot: Bot):
    """A kept token may turn out to be revoked: then what was sent under it is looked for."""
    async with bot.live() as surface:
        message = outbound("once", device=surface.device)
    await stage.revoke("tok2")
    await stage.then(MESSAGES, page(own("$it", part=0)))
    async with bot.make(request_timeout_s=1) as surface:
        with pytest.raises(Unavailable, match="not logged in"):
            await surface.send(message)
    async with bot.live() as surface:
        assert (await surface.send(message)).remote_id == "$it"
    assert stage.count(SEND) == 0


async def test_what_waits_for_the_login_is_decided_by_it(stage: Stage, bot: Bot):
    """A part that is sent while the bot is still logging in, with another token than before, is looked for."""
    async with bot.live() as surface:
        message = outbound("once", device=surface.device)
    await stage.revoke("tok2")
    await stage.then(MESSAGES, page(own("$it", part=0)))
    async with bot.make() as surface, asyncio.TaskGroup() as group:
        surface._encryption.complete([ROOM])
        sending = group.create_task(surface.send(message))
        await asyncio.sleep(0)
        await surface._login()
        assert (await sending).remote_id == "$it"
    assert stage.count(SEND) == 0


async def test_a_login_between_looking_and_saying_makes_it_look_again(stage: Stage, bot: Bot):
    """The key would be new to the homeserver, though it was not when that was decided."""
    async with bot.live() as surface:
        login = surface._login

        def meanwhile(_request: object) -> Any:
            login._authorize("KEPT", "tok2")
            stage.token = "tok2"
            return NO_STATE

        surface._encryption._encrypted.clear()
        await stage.then("/state/m.room.encryption", meanwhile)
        message = outbound("once")
        with pytest.raises(Unavailable) as caught:
            await surface.send(message)
        assert caught.value.code == "LOGIN_CHANGED"
        assert stage.count(SEND) == 0
        await stage.then(MESSAGES, page())
        await surface.send(message)
    assert stage.count(SEND) == 1


# Uploads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [(403, {"errcode": "M_FORBIDDEN"}), (413, {"errcode": "M_TOO_LARGE"})])
async def test_a_refused_file_leaves_nothing_behind(stage: Stage, bot: Bot, workspace: Workspace, refusal: Any):
    """What was uploaded for a part that is given up is remembered by nobody."""
    bot.files = workspace
    file: FileRef = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await stage.then(SEND, (502, "x"), refusal)
        with pytest.raises(Unavailable):
            await surface.send(outbound(file=file))
        assert "uploaded:turn.0" in bot.store.rows
        with pytest.raises(Rejected):
            await surface.send(outbound(file=file))
    assert [key for key in bot.store.rows if key not in ("instance", "login")] == []


async def test_a_file_that_cannot_be_told_leaves_nothing_behind(stage: Stage, bot: Bot, workspace: Workspace):
    """Nor does one that may show."""
    bot.files = workspace
    file = a_file("a.txt", 3)
    workspace.put(file, b"abc")
    async with bot.live() as surface:
        await stage.then(SEND, (502, "x"))
        with pytest.raises(Unavailable):
            await surface.send(outbound(file=file))
        await stage.then(MESSAGES, page({**own("$gone"), "content": {}}))
        with pytest.raises(Rejected):
            await surface.send(old(file=file))
    assert [key for key in bot.store.rows if key not in ("instance", "login")] == []
