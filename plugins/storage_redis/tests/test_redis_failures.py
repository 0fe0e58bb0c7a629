"""What can be wrong with a Redis server: each thing has its exit code and one line, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis, exceptions
from structlog.testing import capture_logs

from proof import servers
from surfaces_core import StateError
from surfaces_storage_redis import RedisStorage, failures

StorageUnder = Callable[..., RedisStorage]
SAID = {os.EX_DATAERR, os.EX_UNAVAILABLE, os.EX_IOERR, os.EX_TEMPFAIL, os.EX_NOPERM, os.EX_CONFIG}
ERRORS = [error for error in vars(exceptions).values() if isinstance(error, type) and issubclass(error, Exception)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_redis_has_its_place(error: type[Exception]) -> None:
    """Each class that the library raises is caught, and has a sentence of its own or of its base."""
    own = error in failures.BY_ERROR or set(failures.BY_ERROR) & set(error.__mro__[1:]) - {exceptions.RedisError}
    ours_never_meet = {
        exceptions.InvalidPipelineStack, exceptions.InvalidResponse, exceptions.DataError, exceptions.LockError,
        exceptions.LockNotOwnedError, exceptions.PubSubError, exceptions.WatchError,
    }  # fmt: skip
    assert own or error in ours_never_meet
    assert failures.translated("here", error.__new__(error)).exit_code in SAID


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.ResponseError("ERR Error running script: @user_script:2: -OOM command not allowed"), os.EX_IOERR),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left"), os.EX_IOERR),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), os.EX_IOERR),
        (exceptions.NoPermissionError("no permissions to run the 'config' command"), os.EX_NOPERM),
        (exceptions.AuthenticationError("invalid username-password pair"), os.EX_CONFIG),
        (exceptions.BusyLoadingError("loading the dataset in memory"), os.EX_UNAVAILABLE),
        (exceptions.ConnectionError("Error 111"), os.EX_UNAVAILABLE),
        (exceptions.TimeoutError("x"), os.EX_UNAVAILABLE),
        (ConnectionRefusedError(111, "refused"), os.EX_UNAVAILABLE),
        (ValueError("what is this URL"), os.EX_CONFIG),
    ],
    ids=lambda value: str(value)[:20],
)
def test_exit_codes(error: Exception, code: int) -> None:
    """What operators meet has the exit code that says what to do."""
    assert failures.translated("here", error).exit_code == code


@pytest.mark.parametrize("settings", [{}, {"url": "x", "timeout_s": 0}, {"url": "x", "prefix": ""}, {"uri": "x"}])
def test_redis_settings_are_checked(settings: dict[str, object]) -> None:
    """A missing URL, a time that is none, an empty prefix and an unknown key are errors."""
    with pytest.raises(ValidationError):
        RedisStorage.Settings.model_validate(settings)


# At the start ---------------------------------------------------------------------------------------


@pytest.fixture
def admin(server: servers.Server) -> Iterator[Any]:
    """A connection beside the storage's; what it configures is undone."""
    with Redis.from_url(server.url) as client:
        yield client
        for name, value in GOOD.items():
            client.config_set(name, value)


GOOD = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
    "maxmemory": "0",
}
BAD = [
    ("appendonly", "no"),
    ("appendfsync", "everysec"),
    ("appendfsync", "no"),
    ("no-appendfsync-on-rewrite", "yes"),
    ("maxmemory-policy", "allkeys-lru"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda word: word)
async def test_a_server_that_may_lose_writes(admin: Any, storage_under: StorageUnder, name: str, value: str) -> None:
    """It is refused as a journal, in one line that says how to set it."""
    admin.config_set(name, value)
    line = await refusal(storage_under("hasty"), os.EX_CONFIG)
    assert f"{name} is {value}" in line
    assert f"redis-cli CONFIG SET {name} {GOOD[name]}" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("redis://ann:hush@127.0.0.1:1", os.EX_UNAVAILABLE),
        ("redis://ann:hush@host:port", os.EX_CONFIG),
        ("http://ann:hush@host", os.EX_CONFIG),
        ("unix://ann:hush@{folder}/redis.sock", os.EX_CONFIG),
    ],
)
async def test_a_server_that_cannot_be_used(
    server: servers.Server, storage_under: StorageUnder, url: str, code: int
) -> None:
    """One line with the remedy, and never the password."""
    assert "hush" not in await refusal(storage_under("s", url=url.format(folder=server.folder)), code)


@pytest.mark.slow
async def test_a_replica_is_refused(admin: Any, storage_under: StorageUnder) -> None:
    """A server that follows another one is not written to."""
    admin.replicaof("127.0.0.1", 1)
    try:
        assert "only reads" in await refusal(storage_under("replica"), os.EX_CONFIG)
    finally:
        admin.replicaof("NO", "ONE")


@pytest.mark.slow
async def test_a_newer_version_and_keys_of_others(admin: Any, storage_under: StorageUnder) -> None:
    """Keys that younger code or another program wrote are left alone: exit code 65."""
    async with storage_under("newer"):
        pass
    admin.hset("newer:meta", "version", 99)
    assert "version 99, known 1" in await refusal(storage_under("newer"), os.EX_DATAERR)
    admin.hset("foreign:values", "a", "b")
    assert "another program" in await refusal(storage_under("foreign"), os.EX_DATAERR)
    admin.set("words:index", "a")
    assert "another program" in await refusal(storage_under("words"), os.EX_DATAERR)


@pytest.mark.slow
async def test_what_the_acl_forbids_is_found_at_the_start(
    server: servers.Server, admin: Any, storage_under: StorageUnder
) -> None:
    """A user who may not do all that a commit does is refused before anything is written; its README's may."""
    rights = ["+@read", "+@write", "+@scripting", "+config|get", "+client|id", "+client|list", "+info", "+role"]
    admin.execute_command("ACL", "SETUSER", "bot", "on", ">pw", "~acl:*", *rights)
    url = f"unix://bot:pw@{server.folder}/redis.sock"
    async with storage_under("acl", url=url) as storage:
        await put(storage, b"a")
    admin.execute_command("ACL", "SETUSER", "bot", "-hdel")
    with pytest.raises(StateError):
        async with storage_under("acl", url=url):
            pass
    admin.execute_command("ACL", "SETUSER", "bot", "-config")
    await refusal(storage_under("acl", url=url), os.EX_NOPERM)


_HOLD = """
import asyncio, sys, structlog
from surfaces_core import Context
from surfaces_storage_redis import RedisStorage
async def main():
    settings = RedisStorage.Settings(url=sys.argv[1], prefix="held")
    async with RedisStorage(settings, Context(name="storage", log=structlog.get_logger())):
        print("open", flush=True)
        sys.stdin.readline()
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_second_host_is_told_who_holds_the_state(server: servers.Server, storage_under: StorageUnder) -> None:
    """75 with the holder's process; when that is killed, the state is free at once."""
    command = [sys.executable, "-c", textwrap.dedent(_HOLD), server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert f"process {holder.pid} on " in asyncio.run(refusal(storage_under("held"), os.EX_TEMPFAIL))
        holder.kill()
    asyncio.run(opened(storage_under("held")))


@pytest.mark.slow
async def test_a_restarted_server_frees_the_state(server: servers.Server, storage_under: StorageUnder) -> None:
    """A holder of the server's last run is not taken for a client of this one that has its number."""
    stranger = storage_under("restarted")
    await stranger.__aenter__()
    with ExitStack() as stack, Redis.from_url(server.url) as client:
        number = int(holder(client, "restarted"))
        client.close()
        server.end(9)
        server.start()
        while stack.enter_context(Redis.from_url(server.url, single_connection_client=True)).client_id() < number:
            pass
        async with storage_under("restarted") as storage:
            await put(storage, b"a")
            assert "took this state over" in str(await failed(put(stranger, b"b")))
    await stranger.__aexit__(None, None, None)


@pytest.mark.slow
async def test_what_check_says_of_a_redis_server(
    server: servers.Server, admin: Any, storage_under: StorageUnder
) -> None:
    """Reached, durable, and whose the keys are; all that is wrong in one pass, and nothing is changed by looking."""
    assert "empty" in (await findings(storage_under("look")))["keys"]
    assert not list(admin.scan_iter("look:*"))
    async with storage_under("look"):
        assert f"held by process {os.getpid()}" in (await findings(storage_under("look")))["keys"]
    assert "held by nobody" in (await findings(storage_under("look")))["keys"]
    admin.set("strange:index", "a")
    assert "another program" in (await wrong(storage_under("strange")))["keys"]
    admin.config_set("appendfsync", "everysec")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    looks = await storage_under("look").examine(())
    assert [look.what for look in looks if look.level == "wrong"] == ["durable", "durable"]
    assert "correct `url`" in (await wrong(storage_under("look", url="redis://ann:hush@127.0.0.1:1")))["server"]
    assert "hush" not in str(await wrong(storage_under("look", url="redis://ann:hush@host:port")))


async def findings(storage: RedisStorage) -> dict[str, str]:
    """What is well."""
    looks = await storage.examine(())
    assert {look.level for look in looks} == {"well"}, looks
    return {look.what: look.said for look in looks}


async def wrong(storage: RedisStorage) -> dict[str, str]:
    """What is not."""
    return {look.what: look.said for look in await storage.examine(()) if look.level == "wrong"}


# While it runs --------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_cut_between_transactions_is_mended(admin: Any, storage_under: StorageUnder) -> None:
    """Reading and writing go on over a new connection, and the cut is told once when it comes and once when it goes."""
    async with storage_under("cut") as storage:
        await put(storage, b"a")
        for step in (get, put):
            await cut(admin, "cut")
            with capture_logs() as logs:
                await step(storage, b"a")
            assert [log["event"] for log in logs] == ["storage.lost", "storage.found"]


@pytest.mark.slow
async def test_a_cut_inside_a_transaction_is_mended(admin: Any, storage_under: StorageUnder) -> None:
    """What was read before the cut is still true after it: nobody else wrote."""
    async with storage_under("inside") as storage:
        await put(storage, b"a")
        async with storage.transaction() as tx:
            assert await tx.get(b"a") == b"v"
            await cut(admin, "inside")
            await tx.put(b"b", b"1")
            assert [key async for key, _ in tx.scan(b"")] == [b"a", b"b"]
        assert await get(storage, b"b") == b"1"


@pytest.mark.slow
async def test_a_host_that_was_taken_over_writes_nothing(admin: Any, storage_under: StorageUnder) -> None:
    """Between the cut and the new connection another host began: 75, and its state is not touched."""
    async with storage_under("taken") as storage:
        await put(storage, b"a")
        await cut(admin, "taken")
        async with storage_under("taken") as other:
            await put(other, b"b")
        assert (await failed(put(storage, b"c"))).exit_code == os.EX_TEMPFAIL
    async with storage_under("taken") as storage, storage.transaction() as tx:
        assert [key async for key, _ in tx.scan(b"")] == [b"a", b"b"]


@pytest.mark.slow
async def test_without_its_token_nothing_is_written(admin: Any, storage_under: StorageUnder) -> None:
    """Whose token was replaced while its connection stood is refused by the server itself."""
    async with storage_under("token") as storage:
        admin.hset("token:meta", "token", "another's")
        assert (await failed(put(storage, b"c"))).exit_code == os.EX_TEMPFAIL
        assert not admin.exists("token:values")


@pytest.mark.slow
async def test_a_full_server_takes_nothing(admin: Any, storage_under: StorageUnder) -> None:
    """Beyond its maxmemory the transaction fails with exit code 74 and leaves nothing."""
    async with storage_under("full") as storage:
        await put(storage, b"a")
        admin.config_set("maxmemory", "1")
        error = await failed(put(storage, b"b"))
        assert (error.exit_code, "maxmemory" in str(error)) == (os.EX_IOERR, True)
        admin.config_set("maxmemory", "0")
    async with storage_under("full") as storage, storage.transaction() as tx:
        assert [key async for key, _ in tx.scan(b"")] == [b"a"]


@pytest.mark.slow
async def test_a_server_that_stays_away_ends_the_storage(server: servers.Server, storage_under: StorageUnder) -> None:
    """After `reconnect_s` the host ends with 69; one that comes back before is waited for."""
    async with storage_under("away", reconnect_s=0.1) as storage:
        server.end(9)
        assert (await failed(get(storage, b"a"))).exit_code == os.EX_UNAVAILABLE
    server.start()
    async with storage_under("away") as storage, asyncio.TaskGroup() as group:
        await put(storage, b"a")
        server.end(9)
        asked = group.create_task(get(storage, b"a"))
        server.launch()
        assert await asked == b"v"


# Helpers --------------------------------------------------------------------------------------------


def holder(admin: Any, prefix: str) -> str:
    """The id of the connection that holds a state."""
    return str(admin.hget(f"{prefix}:meta", "client").decode())


async def cut(admin: Any, prefix: str) -> None:
    """End the storage's connection."""
    client = holder(admin, prefix)
    admin.execute_command("CLIENT", "KILL", "ID", client)
    while admin.execute_command("CLIENT LIST", "ID", client, NEVER_DECODE=True):
        pass
    for _ in range(3):  # the loop reads the end of the connection
        await asyncio.sleep(0)


async def opened(storage: RedisStorage) -> None:
    async with storage:
        pass


async def get(storage: RedisStorage, key: bytes) -> bytes | None:
    async with storage.transaction() as tx:
        return await tx.get(key)


async def put(storage: RedisStorage, key: bytes) -> None:
    async with storage.transaction() as tx:
        await tx.put(key, b"v")


async def failed(call: object) -> StateError:
    """How something fails."""
    with pytest.raises(StateError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def refusal(storage: RedisStorage, code: int) -> str:
    """The one line with which opening is refused."""
    with pytest.raises(StateError) as caught:
        async with storage:
            pass
    assert caught.value.exit_code == code, caught.value
    assert str(caught.value).startswith("Redis, prefix ")
    assert "\n" not in str(caught.value)
    return str(caught.value)
