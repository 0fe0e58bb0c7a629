"""What can be wrong with a PostgreSQL server: each thing has its exit code and one line, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from proof import servers
from surfaces_core import StateError
from surfaces_storage_postgres import PostgresStorage, failures, schema, session

StorageIn = Callable[..., PostgresStorage]
SAID = {os.EX_DATAERR, os.EX_UNAVAILABLE, os.EX_IOERR, os.EX_TEMPFAIL, os.EX_NOPERM, os.EX_CONFIG}
ERRORS = [
    error
    for error in vars(asyncpg.exceptions).values()
    if isinstance(error, type) and issubclass(error, Exception) and not issubclass(error, Warning)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_the_library_has_its_place(error: type[Exception]) -> None:
    """Each class that asyncpg raises is caught, and its class of SQLSTATE is one that was thought of."""
    assert issubclass(error, failures.FAILURES)
    state = getattr(error, "sqlstate", None)
    assert state is None or state[:2] in failures.BY_CLASS or state in failures.BY_STATE
    said = failures.translated("here", error("secret words"))
    assert said.exit_code in SAID
    assert str(said).startswith("here: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (asyncpg.DiskFullError("x"), os.EX_IOERR),
        (asyncpg.DataCorruptedError("x"), os.EX_DATAERR),
        (asyncpg.InvalidPasswordError("x"), os.EX_CONFIG),
        (asyncpg.TooManyConnectionsError("x"), os.EX_UNAVAILABLE),
        (asyncpg.CannotConnectNowError("x"), os.EX_UNAVAILABLE),
        (asyncpg.InsufficientPrivilegeError("x"), os.EX_NOPERM),
        (ConnectionRefusedError(111, "refused"), os.EX_UNAVAILABLE),
        (TimeoutError(), os.EX_UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(error: Exception, code: int) -> None:
    """What operators meet has the exit code that says what to do."""
    assert failures.translated("here", error).exit_code == code


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dsn": "x", "timeout_s": 0},
        {"dsn": "x", "schema_name": ""},
        {"dsn": "x", "schema_name": "é" * 40},
        {"dsn": "x", "schema_name": "pg_bot"},
        {"dsm": "x"},
    ],
)
def test_postgres_settings_are_checked(settings: dict[str, object]) -> None:
    """A missing DSN, a time that is none, a name that PostgreSQL would not take and an unknown key are errors."""
    with pytest.raises(ValidationError):
        PostgresStorage.Settings.model_validate(settings)


# At the start ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dsn", "code"),
    [
        ("postgresql://ann:hush@127.0.0.1:1/x", os.EX_UNAVAILABLE),
        ("postgresql://ann:hush@host:port/x", os.EX_CONFIG),
        ("mysql://ann:hush@host/x", os.EX_CONFIG),
        ("postgresql://nobody:hush@/postgres?host={folder}", os.EX_CONFIG),
        ("postgresql://surfaces:hush@/missing?host={folder}", os.EX_CONFIG),
    ],
)
async def test_a_server_that_cannot_be_used(server: servers.Server, storage_in: StorageIn, dsn: str, code: int) -> None:
    """One line with the remedy, and never the password."""
    dsn = dsn.format(folder=server.folder)
    assert "hush" not in await refusal(storage_in("s", dsn=dsn), code)


@pytest.mark.slow
async def test_a_server_that_does_not_keep_what_it_acknowledges(server: servers.Server, storage_in: StorageIn) -> None:
    """Where a setting would lose acknowledged commits the host does not start, and says what to set."""
    async with admin(server) as sql:
        await sql.execute("CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off")
    dsn = f"postgresql://hasty@/postgres?host={server.folder}"
    assert "SET synchronous_commit = on" in await refusal(storage_in("hasty", dsn=dsn), os.EX_CONFIG)
    server.end()
    server.start("-c", "fsync=off")
    assert "set fsync = on" in await refusal(storage_in("hasty"), os.EX_CONFIG)
    server.end()
    server.start()


@pytest.mark.slow
async def test_a_pooler_that_lends_the_connection_out(storage_in: StorageIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who are connected at once and find one process behind them hold no lock: refused at a start and by check.

    Patched, for there is no such pooler here: the second connection is answered by the process of the first.
    """
    connected, shared = session.connected, list[asyncpg.Connection]()

    class Lent:
        def __init__(self, own: asyncpg.Connection) -> None:
            self._own = own

        def __getattr__(self, name: str) -> object:
            return getattr(self._own if name == "terminate" else shared[0], name)

    async def lent(target: session.Target) -> object:
        own = await connected(target)
        shared.append(own)
        return Lent(own)

    monkeypatch.setattr(session, "connected", lent)
    storage = storage_in("pooled")
    with pytest.raises(StateError, match="a pooler lends it to several at once") as raised:
        await storage.__aenter__()
    assert raised.value.exit_code == os.EX_CONFIG
    shared.clear()
    assert "pooler" in await wrong(storage)


@pytest.mark.slow
async def test_no_right_to_the_schema(server: servers.Server, storage_in: StorageIn) -> None:
    """Who may not make or use the schema is refused with exit code 77."""
    async with storage_in("rights"):
        pass
    async with admin(server) as sql:
        await sql.execute("CREATE ROLE stranger LOGIN")
    dsn = f"postgresql://stranger@/postgres?host={server.folder}"
    for name in ("rights", "unheard_of"):
        await refusal(storage_in(name, dsn=dsn), os.EX_NOPERM)


@pytest.mark.slow
async def test_a_newer_schema(server: servers.Server, storage_in: StorageIn) -> None:
    """A state of a younger version is left alone: exit code 65, and which version is known."""
    async with storage_in("newer"):
        pass
    async with admin(server) as sql:
        await sql.execute("UPDATE newer.meta SET version = 99")
    assert "schema version 99, known 1" in await refusal(storage_in("newer"), os.EX_DATAERR)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["state (a int)", "meta (a int)", "orders (a int)"])
async def test_a_schema_of_another_program(server: servers.Server, storage_in: StorageIn, table: str) -> None:
    """A schema with tables that are not ours is refused and stays as it is."""
    name = f"foreign_{table[:4]}"
    async with admin(server) as sql:
        await sql.execute(f"CREATE SCHEMA {name}; CREATE TABLE {name}.{table}")
    assert "another program" in await refusal(storage_in(name), os.EX_DATAERR)
    async with admin(server) as sql:
        assert await sql.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = $1", name) == 1


@pytest.mark.slow
async def test_migrations_are_all_or_nothing(server: servers.Server, storage_in: StorageIn) -> None:
    """An older schema is brought up to date in one transaction; a step that fails leaves it as it was."""
    async with storage_in("older") as storage:
        await put(storage, b"a")
    more = "ALTER TABLE {schema}.state ADD COLUMN more int"
    async with admin(server) as sql:
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await schema.migrate(sql, "older", "here", (*schema.MIGRATIONS, more, "ALTER NONSENSE"))
        assert await sql.fetchval("SELECT version FROM older.meta") == 1
        await schema.migrate(sql, "older", "here", (*schema.MIGRATIONS, more))
        assert [tuple(row) for row in await sql.fetch("SELECT key, more FROM older.state")] == [(b"a", None)]
        assert await sql.fetchval("SELECT version FROM older.meta") == 2


_HOLD = """
import asyncio, sys, structlog
from surfaces_core import Context
from surfaces_storage_postgres import PostgresStorage
async def main():
    settings = PostgresStorage.Settings(dsn=sys.argv[1], schema_name="held")
    async with PostgresStorage(settings, Context(name="storage", log=structlog.get_logger())):
        print("open", flush=True)
        sys.stdin.readline()
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_second_host_is_told_who_holds_the_state(server: servers.Server, storage_in: StorageIn) -> None:
    """75 with the holder's process; when that is killed, the state is free at once."""
    command = [sys.executable, "-c", textwrap.dedent(_HOLD), server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert f"process {holder.pid} on " in asyncio.run(refusal(storage_in("held"), os.EX_TEMPFAIL))
        holder.kill()
    asyncio.run(opened(storage_in("held")))


@pytest.mark.slow
async def test_what_check_says_of_a_postgres_server(server: servers.Server, storage_in: StorageIn) -> None:
    """Reached, durable, and whose the schema is; all that is wrong in one pass, and nothing is changed by looking."""
    assert "empty" in (await findings(storage_in("look")))["schema"]
    async with admin(server) as sql:
        assert not await sql.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = 'look'")
        await sql.execute("CREATE SCHEMA strange; CREATE TABLE strange.orders (a int); CREATE ROLE looker LOGIN")
        await sql.execute("ALTER ROLE looker SET synchronous_commit = off")
    async with storage_in("look"):
        assert f"held by process {os.getpid()}" in (await findings(storage_in("look")))["schema"]
    assert "held by nobody" in (await findings(storage_in("look")))["schema"]
    assert "another program" in (await wrong(storage_in("strange")))["schema"]
    looker = f"postgresql://looker@/postgres?host={server.folder}"
    for name in ("look", "unheard_of"):
        found = await wrong(storage_in(name, dsn=looker))
        assert set(found) == {"durable", "schema"}
        assert "no right" in found["schema"]
    assert "correct `dsn`" in (await wrong(storage_in("s", dsn="postgresql://ann:hush@127.0.0.1:1/x")))["server"]
    assert "hush" not in str(await wrong(storage_in("s", dsn="postgresql://ann:hush@host:port/x")))


async def findings(storage: PostgresStorage) -> dict[str, str]:
    """What is well."""
    looks = await storage.examine(())
    assert {look.level for look in looks} == {"well"}, looks
    return {look.what: look.said for look in looks}


async def wrong(storage: PostgresStorage) -> dict[str, str]:
    """What is not."""
    return {look.what: look.said for look in await storage.examine(()) if look.level == "wrong"}


# While it runs --------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_cut_between_transactions_is_mended(server: servers.Server, storage_in: StorageIn) -> None:
    """Reading and writing go on over a new connection, and the cut is told once when it comes and once when it goes."""
    async with storage_in("cut") as storage:
        await put(storage, b"a")
        for step in (get, put):
            await cut(server)
            with capture_logs() as logs:
                await step(storage, b"a")
            assert [log["event"] for log in logs] == ["storage.lost", "storage.found"]


@pytest.mark.slow
async def test_a_cut_inside_a_transaction_is_mended(server: servers.Server, storage_in: StorageIn) -> None:
    """What was read before the cut is still true after it: nobody else wrote."""
    async with storage_in("cut_inside") as storage:
        await put(storage, b"a")
        async with storage.transaction() as tx:
            assert await tx.get(b"a") == b"v"
            await cut(server)
            await tx.put(b"b", b"1")
            assert [key async for key, _ in tx.scan(b"")] == [b"a", b"b"]
        assert await get(storage, b"b") == b"1"


@pytest.mark.slow
async def test_a_cut_in_a_query_is_mended(server: servers.Server, storage_in: StorageIn) -> None:
    """A question whose connection ends before its answer is asked again."""
    async with storage_in("cut_query") as storage, admin(server) as sql:
        await put(storage, b"a")
        async with asyncio.TaskGroup() as group, sql.transaction():
            await sql.execute("LOCK TABLE cut_query.state")
            asked = group.create_task(get(storage, b"a"))
            await waits_for_a_lock(sql)
            await cut(server)
        assert asked.result() == b"v"


@pytest.mark.slow
async def test_a_cut_in_a_commit_ends_the_storage(server: servers.Server, storage_in: StorageIn) -> None:
    """Whether it was stored is not known: everybody who waits is told, and nothing is sent again."""
    async with storage_in("doubt") as storage, admin(server) as sql:
        async with asyncio.TaskGroup() as group, sql.transaction():
            await sql.execute("LOCK TABLE doubt.state")
            first = group.create_task(failed(put(storage, b"a")))
            await waits_for_a_lock(sql)
            second = group.create_task(failed(put(storage, b"b")))
            await cut(server)
        for task in (first, second):
            assert task.result().exit_code == os.EX_IOERR
            assert "during a commit" in str(task.result())
        assert "during a commit" in str(await failed(get(storage, b"a")))
        assert await sql.fetch("SELECT key FROM doubt.state") == []


@pytest.mark.slow
async def test_a_host_that_was_taken_over_writes_nothing(server: servers.Server, storage_in: StorageIn) -> None:
    """Between the cut and the new connection another host began: 75, and its state is not touched."""
    async with storage_in("taken") as storage:
        await put(storage, b"a")
        await cut(server)
        async with storage_in("taken") as other:
            await put(other, b"b")
        assert (await failed(put(storage, b"c"))).exit_code == os.EX_TEMPFAIL
    async with storage_in("taken") as storage, storage.transaction() as tx:
        assert [key async for key, _ in tx.scan(b"")] == [b"a", b"b"]


@pytest.mark.slow
async def test_a_server_that_stays_away_ends_the_storage(server: servers.Server, storage_in: StorageIn) -> None:
    """After `reconnect_s` the host ends with 69; one that comes back before is waited for."""
    async with storage_in("away", reconnect_s=0.1) as storage:
        server.end()
        assert (await failed(get(storage, b"a"))).exit_code == os.EX_UNAVAILABLE
    server.start()
    async with storage_in("away") as storage, asyncio.TaskGroup() as group:
        server.end()
        asked = group.create_task(get(storage, b"a"))
        server.launch()
        assert await asked is None
        await put(storage, b"a")


@pytest.mark.slow
async def test_large_transactions(storage_in: StorageIn) -> None:
    """What is too large for one statement, and for one page, is stored and found whole."""
    async with storage_in("large") as storage:
        async with storage.transaction() as tx:
            await tx.put(b"gone", b"x")
        async with storage.transaction() as tx:
            for number in range(5):
                await tx.put(b"%d" % number, bytes([number]) * 9_000_000)
            await tx.delete(b"gone")
        async with storage.transaction() as tx:
            assert [(key, value[:1], len(value)) async for key, value in tx.scan(b"")] == [
                (b"%d" % number, bytes([number]), 9_000_000) for number in range(5)
            ]


# Helpers --------------------------------------------------------------------------------------------


@asynccontextmanager
async def admin(server: servers.Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the storage's."""
    connection = await asyncpg.connect(server.url, server_settings={"application_name": "admin"})
    try:
        yield connection
    finally:
        await connection.close()


async def cut(server: servers.Server) -> None:
    """End the storage's connection, and wait until both sides know."""
    async with admin(server) as sql:
        rows = await sql.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'surfaces'")
        pids = [row["pid"] for row in rows]
        await sql.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
        alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)"
        while await sql.fetchval(alive, pids):  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0.01)


async def waits_for_a_lock(sql: asyncpg.Connection) -> None:
    """Wait until the storage's statement has reached the server and stands there."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'surfaces' AND wait_event_type = 'Lock'"
    while not await sql.fetchval(waiting):  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0.01)


async def opened(storage: PostgresStorage) -> None:
    async with storage:
        pass


async def get(storage: PostgresStorage, key: bytes) -> bytes | None:
    async with storage.transaction() as tx:
        return await tx.get(key)


async def put(storage: PostgresStorage, key: bytes) -> None:
    async with storage.transaction() as tx:
        await tx.put(key, b"v")


async def failed(call: object) -> StateError:
    """How something fails."""
    with pytest.raises(StateError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def refusal(storage: PostgresStorage, code: int) -> str:
    """The one line with which opening is refused."""
    with pytest.raises(StateError) as caught:
        async with storage:
            pass
    assert caught.value.exit_code == code, caught.value
    assert str(caught.value).startswith("PostgreSQL, schema ")
    assert "\n" not in str(caught.value)
    return str(caught.value)
