"""Homeservers that have only what a bot needs: where a path is not there, another one does."""

from __future__ import annotations

from typing import Any

import pytest

from surfaces_core import Address

from .conftest import ANN, ME, NO_STATE, Bot, Stage

CALLED = Address(surface="work", conversation="!called:hs")
ROOM_PATH = "/v3/rooms/%21called%3Ahs"
JOIN = f"POST /_matrix/client{ROOM_PATH}/join"
JOIN_BY_ID = "POST /_matrix/client/v3/join/%21called%3Ahs"
MEMBERS = f"{ROOM_PATH}/members"
JOINED_MEMBERS = f"{ROOM_PATH}/joined_members"
NO_PATH = (404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
NO_METHOD = (405, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
FORBIDDEN = (403, {"errcode": "M_FORBIDDEN", "error": "You are not invited to this room."})


@pytest.mark.parametrize("answer", [NO_PATH, NO_METHOD])
async def test_a_room_is_joined_by_the_other_path(stage: Stage, bot: Bot, answer: Any):
    """Where the one that begins with the room is not there."""
    await stage.then(JOIN, answer)
    async with bot.live() as surface:
        assert await surface.conversations.enter(CALLED, ANN)
    assert stage.count(JOIN_BY_ID) == 1


@pytest.mark.parametrize("answer", [FORBIDDEN, NO_STATE])
async def test_a_refused_join_is_not_tried_by_the_other_path(stage: Stage, bot: Bot, answer: Any):
    """The invite is gone, or the room."""
    await stage.then(JOIN, answer)
    async with bot.live() as surface:
        assert not await surface.conversations.enter(CALLED, ANN)
    assert stage.count(JOIN_BY_ID) == 0


async def test_an_invite_is_gone_where_neither_path_lets_the_bot_in(stage: Stage, bot: Bot):
    """The other path's word counts then."""
    await stage.then(JOIN, NO_PATH)
    await stage.then(JOIN_BY_ID, FORBIDDEN)
    async with bot.live() as surface:
        assert not await surface.conversations.enter(CALLED, ANN)


@pytest.mark.parametrize(("others", "entered"), [([ANN], True), ([ANN, "@bob:hs"], False)])
async def test_who_is_there_is_told_by_another_path(stage: Stage, bot: Bot, others: list[str], entered: bool):
    """A group is left all the same."""
    await stage.then(MEMBERS, NO_PATH)
    await stage.then(JOINED_MEMBERS, {"joined": {person: {} for person in [ME, *others]}})
    async with bot.live() as surface:
        assert await surface.conversations.enter(CALLED, ANN) is entered
    assert stage.count(f"{ROOM_PATH}/leave") == (not entered)


async def test_who_called_is_taken_to_be_alone_where_it_can_not_be_told(stage: Stage, bot: Bot):
    """A call is answered, whatever the homeserver does not say."""
    await stage.then(MEMBERS, NO_PATH)
    await stage.then(JOINED_MEMBERS, NO_PATH)
    async with bot.live() as surface:
        assert await surface.conversations.enter(CALLED, ANN)
