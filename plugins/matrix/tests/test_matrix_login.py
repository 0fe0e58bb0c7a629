"""Logging in: which token is used, what is kept of it, and what is said when none is good."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from surfaces_core import ConfigError, Unavailable
from surfaces_matrix import MatrixSurface

from .conftest import LOGGED_OUT, LOGIN, ME, SYNC, WHOAMI, Bot, Stage, batch, message


async def test_a_password_login_is_kept(stage: Stage, bot: Bot):
    """A restart needs no new login."""
    async with bot.live():
        pass
    async with bot.live():
        pass
    assert stage.count(LOGIN) == 1
    assert {request.token for request in stage.sent(SYNC)} == {stage.token}


async def test_a_revoked_kept_token_makes_one_new_login_of_the_same_device(stage: Stage, bot: Bot):
    """A token that ended while the bot was away is replaced, the device stays."""
    async with bot.live():
        pass
    await stage.revoke("tok2")
    async with bot.live():
        pass
    devices = {request.body["device_id"] for request in stage.sent(LOGIN)}
    assert (stage.count(LOGIN), len(devices)) == (2, 1)


async def test_the_device_is_kept_before_it_is_made(stage: Stage, bot: Bot):
    """A login whose answer is lost is repeated for the same device."""
    await stage.then(LOGIN, (502, "gone"))
    async with bot.make() as surface:
        with pytest.raises(Unavailable):
            await surface.run(bot.intake)
    async with bot.live():
        pass
    devices = [request.body["device_id"] for request in stage.sent(LOGIN)]
    assert len(devices) == 2
    assert devices[0] == devices[1]


async def test_a_token_revoked_while_running_is_replaced(stage: Stage, bot: Bot, log: list[Any]):
    """One new login, and nothing that was said meanwhile is lost."""
    async with bot.live():
        await stage.live(batch("s1", message("$1", "one")))
        await bot.intake.wait_said(["one"], "the first message")
        await stage.revoke("tok2")
        await stage.live(batch("s2", message("$2", "two")))
        await bot.intake.wait_said(["one", "two"], "the message after the new login")
    assert stage.count(LOGIN) == 2
    assert [entry["event"] for entry in log].count("login.revoked") == 1


async def test_a_homeserver_that_ends_each_login_ends_the_bot(stage: Stage, bot: Bot):
    """A second revocation without a good answer in between is no accident."""
    await stage.live(*[LOGGED_OUT] * 5)
    async with bot.make() as surface:
        with pytest.raises(ConfigError, match=r"surfaces\.work\.password: .*after each login"):
            await surface.run(bot.intake)
    assert len(stage.live_syncs()) == 2


async def test_a_new_login_outlasts_trouble(stage: Stage, bot: Bot):
    """While the homeserver is down the new login is tried again, not given up."""
    async with bot.live():
        await stage.live(batch("s1", message("$1", "one")))
        await bot.intake.wait_said(["one"], "the first message")
        await stage.then(LOGIN, (502, "down"), (502, "down"))
        await stage.revoke("tok2")
        await stage.live(batch("s2", message("$2", "two")))
        await bot.intake.wait_said(["one", "two"], "the message after the trouble")


async def test_a_revoked_configured_token_ends_the_bot(stage: Stage, bot: Bot):
    """Only the operator can make a new one, so the bot says so and ends."""
    async with bot.live(access_token="tok1"):
        pass
    await stage.revoke("tok2")
    async with bot.make(access_token="tok1") as surface:
        with pytest.raises(ConfigError, match=r"surfaces\.work\.access_token: .*revoked"):
            await surface.run(bot.intake)
    assert stage.count(LOGIN) == 0


async def test_a_configured_token_revoked_while_running_ends_the_bot(stage: Stage, bot: Bot):
    """The same while it runs."""
    async with bot.make(access_token="tok1") as surface:
        await stage.live(LOGGED_OUT)
        await stage.then(WHOAMI, {"user_id": ME, "device_id": "D"}, LOGGED_OUT)
        with pytest.raises(ConfigError, match=r"access_token: .*revoked"):
            await surface.run(bot.intake)


async def test_a_wrong_password_ends_the_bot(stage: Stage, bot: Bot):
    """The refusal is told with what the homeserver said, without the password."""
    await stage.then(LOGIN, (403, {"errcode": "M_FORBIDDEN", "error": "Invalid username or password"}))
    async with bot.make(password="secret-pw") as surface:
        with pytest.raises(ConfigError, match="Invalid username or password") as caught:
            await surface.run(bot.intake)
    assert "secret-pw" not in str(caught.value)


@pytest.mark.parametrize("credential", [{}, {"access_token": "tok1"}])
async def test_another_account_ends_the_bot(stage: Stage, bot: Bot, credential: dict[str, str]):
    """A token or password of somebody else is a mistake in the settings."""
    other = {"user_id": "@other:hs", "device_id": "D", "access_token": "t"}
    await stage.then(LOGIN, other)
    await stage.then(WHOAMI, other)
    async with bot.make(**credential) as surface:
        with pytest.raises(ConfigError, match=r"surfaces\.work\.user_id: .*@other:hs"):
            await surface.run(bot.intake)


async def test_a_kept_token_of_other_settings_is_not_used(stage: Stage, bot: Bot):
    """Another device in the settings means another login."""
    async with bot.live():
        pass
    async with bot.live(device_id="WANTED"):
        pass
    assert [request.body["device_id"] for request in stage.sent(LOGIN)][1] == "WANTED"


async def test_a_token_of_another_device_is_refused(bot: Bot):
    """A configured device id that the token does not have is a mistake in the settings."""
    async with bot.make(access_token="tok1", device_id="OTHER") as surface:
        with pytest.raises(ConfigError, match="device_id"):
            await surface.run(bot.intake)


async def test_a_broken_kept_login_is_made_anew(stage: Stage, bot: Bot):
    """What can't be read in the store is not in the way."""
    bot.store.rows["login"] = b'{"homeserver": 1}'
    async with bot.live():
        pass
    assert stage.count(LOGIN) == 1


async def test_no_homeserver_at_start_is_unavailable(bot: Bot):
    """The host starts the surface again later."""
    bot.url = "http://127.0.0.1:1"
    async with bot.make() as surface:
        with pytest.raises(Unavailable):
            await surface.run(bot.intake)


async def test_something_else_at_the_address_is_a_mistake(stage: Stage, bot: Bot):
    """A server that is no homeserver is told apart from one that is down."""
    await stage.then(WHOAMI, (404, {"errcode": "M_UNRECOGNIZED", "error": "?"}))
    async with bot.make(access_token="tok1") as surface:
        with pytest.raises(ConfigError, match=r"surfaces\.work\.homeserver"):
            await surface.run(bot.intake)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": None}, "either password or access_token: neither is set"),
        ({"access_token": "t"}, "either password or access_token: both are; keep one"),
        ({"homeserver": "example.org"}, "homeserver"),
        ({"homeserver": "https://me:pw@example.org"}, "homeserver"),
        ({"user_id": "bot"}, "user_id"),
        ({"space_name": "{nobody}"}, "space_name"),
        ({"homserver": "x"}, "homserver"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], said: str):
    """A mistake in the settings is found before anything runs."""
    good = {"homeserver": "https://example.org", "user_id": "@bot:example.org", "password": "p"}
    MatrixSurface.Settings.model_validate(good)
    with pytest.raises(ValidationError, match=said):
        MatrixSurface.Settings.model_validate({**good, **wrong})


def test_secrets_are_not_shown():
    """Settings can be printed."""
    settings = MatrixSurface.Settings(homeserver="https://e.org", user_id="@b:e.org", access_token="hidden-token")
    assert "hidden-token" not in repr(settings)


async def test_what_does_not_answer_as_a_homeserver_is_named(stage: Stage, bot: Bot):
    """Whoever reads the log sees which setting holds the address, and where it leads to."""
    await stage.then(LOGIN, (301, "<html>", {"Location": "https://elsewhere.example/"}))
    async with bot.make() as surface:
        with pytest.raises(Unavailable) as caught:
            await surface.run(bot.intake)
    assert "leads to https://elsewhere.example/" in str(caught.value)
    assert f"surfaces.work.homeserver, {stage.url}" in str(caught.value)


async def test_a_refused_login_names_setting_and_account(stage: Stage, bot: Bot):
    """The password may be right and the account another one."""
    await stage.then(LOGIN, (403, {"errcode": "M_FORBIDDEN", "error": "Invalid username or password"}))
    async with bot.make() as surface:
        with pytest.raises(ConfigError, match=rf"surfaces\.work\.password: .*{ME}"):
            await surface.run(bot.intake)


@pytest.mark.parametrize("nothing", [{}, {"user_id": None, "access_token": 5}, (200, "[]")])
@pytest.mark.parametrize("credential", [{}, {"access_token": "tok1"}])
async def test_an_answer_of_nothing_is_no_mistake_in_the_settings(
    stage: Stage, bot: Bot, credential: dict[str, str], nothing: Any
):
    """Something on the way answers for the homeserver, which may pass."""
    await stage.then(LOGIN, nothing)
    await stage.then(WHOAMI, nothing)
    async with bot.live(**credential):
        pass
    assert stage.count(LOGIN) + stage.count(WHOAMI) >= 2


async def test_a_login_waits_as_long_as_the_homeserver_asks(stage: Stage, bot: Bot):
    """Homeservers limit logins more than anything else."""
    await stage.then(LOGIN, (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 333_000}))
    async with bot.make() as surface:
        with pytest.raises(Unavailable) as caught:
            await surface.run(bot.intake)
    assert caught.value.retry_after == 333.0


@pytest.mark.parametrize("soft", [True, False])
async def test_an_expired_token_is_replaced_like_a_revoked_one(stage: Stage, bot: Bot, soft: bool):
    """`soft_logout` says that the device still exists (Matrix spec, "Soft logout"), and the same device logs in."""
    async with bot.live():
        await stage.live((401, {"errcode": "M_UNKNOWN_TOKEN", "error": "expired", "soft_logout": soft}))
        await stage.live(batch("s1", message("$1", "one")))
        await stage.then(WHOAMI, LOGGED_OUT)
        await bot.intake.wait_said(["one"], "what came behind the new login")
    assert len({request.body["device_id"] for request in stage.sent(LOGIN)}) == 1
    assert stage.count(LOGIN) == 2
