"""The order of promises: nothing leaves the host before what it rests on is synced, and who breaks that is flagged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proof import planted_order
from proof.order import ESSENTIAL, RULES, Act, Result, acts, check, rows
from proof.processes import PATH
from proof.trace import Call, Disk, Kill, Summary, Trace, disks, joined, read, sent, traced

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, **PATH}
REQUESTS = set(RULES) - {"typing"}  # how quick an answer is decides whether somebody types
EVERYTHING = REQUESTS | {"USER_MESSAGE"}
FLAGGED = {
    "unsynced": EVERYTHING,
    "sent_before_complete": {"send", "upload"},
    "cursor_behind": {"sync"},
    "unmarked": {"USER_MESSAGE"},
    "unmarked_draft": {"send"},
    "unkept_upload": {"send"},
    "unkept_mark": {"account_data.put"},
    "unkept_login": REQUESTS,
    "unkept_room": {"createRoom"},
    "unsynced_file": {"USER_MESSAGE"},
}
"""The acts that come too early with each planted bug."""


def flagged(result: Result) -> set[str]:
    """The kinds of the acts that came too early."""
    return {early.act for early in result.early} - {"typing"}


async def test_nothing_leaves_before_what_it_rests_on_is_synced(tmp_path: Path) -> None:
    """A whole scenario: answers, drafts, files, cursors, rooms, the login and questions to the agent."""
    result = await check(tmp_path)
    assert result.good, result.table()
    assert result.acts.keys() - {"typing"} == EVERYTHING


@pytest.mark.parametrize("count", [20, 40])
async def test_nor_does_it_behind_a_crash(tmp_path: Path, count: int) -> None:
    """What a life that was killed had written and not synced is safe before the next life acts on it."""
    result = await check(tmp_path, kills=[Kill(kind="fsync", side="before", count=count)])
    assert result.good, result.table()


@pytest.mark.parametrize("bug", planted_order.BUGS)
async def test_a_planted_bug_is_flagged(tmp_path: Path, bug: str) -> None:
    """The host with one promise in a wrong order is flagged at just those acts that rest on it."""
    result = await check(tmp_path, (sys.executable, str(planted_order.__file__), bug))
    assert not result.good
    assert flagged(result) == FLAGGED[bug], result.table()


CHECKING = """
import asyncio, sys
from pathlib import Path
from proof.order import check
result = asyncio.run(check(Path(sys.argv[1])))
print(result.table())
sys.exit(not result.good)
"""


def test_where_tracing_is_forbidden_the_check_fails_and_says_why(tmp_path: Path) -> None:
    """It is never passed over: a program that is traced already may not be traced by the check."""
    command = traced((sys.executable, "-c", CHECKING, str(tmp_path)), into=tmp_path / "outer.jsonl", folders=[])
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "cannot trace: ptrace is forbidden here" in ended.stdout


# What the check is made of ----------------------------------------------------------------------------


def trace(*calls: Call) -> Trace:
    """A record of these calls, each begun and ended before the next."""
    return Trace(calls=calls, summary=Summary())


def written(begun: int, path: str, data: bytes, offset: int = 0) -> Call:
    """A write that came through."""
    return Call(
        begun=begun,
        ended=begun + 1,
        name="pwrite64",
        tid=1,
        kind="write",
        path=path,
        result=len(data),
        offset=offset,
        data=data,
    )


def done(begun: int, name: str, path: str, *, ended: int | None = None, tid: int = 1, to: str = "") -> Call:
    """Another call that came through."""
    return Call(
        begun=begun,
        ended=ended or begun + 1,
        name=name,
        tid=tid,
        kind="name" if to else "fsync",
        path=path,
        to=to,
        result=0,
    )


def last(*calls: Call) -> Disk:
    """The disk behind all of them."""
    return list(disks(trace(*calls).calls))[-1]


def test_a_disk_has_what_was_synced_alone() -> None:
    """Bytes behind the last sync are not there."""
    disk = last(written(1, "/f", b"one"), done(3, "fsync", "/f"), written(5, "/f", b"two", 3))
    assert disk.files == {"/f": b"one"}


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    """Bytes that another thread writes meanwhile may be missing."""
    disk = last(written(1, "/f", b"one"), done(3, "fsync", "/f", ended=9), written(5, "/f", b"two", 3))
    assert disk.files == {"/f": b"one"}
    assert disk.at == 9


def test_a_sync_that_failed_covers_nothing() -> None:
    """Only what the kernel confirms counts."""
    failed = Call(begun=3, ended=4, name="fsync", tid=1, kind="fsync", path="/f", result=-5)
    assert list(disks([written(1, "/f", b"one"), failed])) == []


def test_a_file_is_whole_when_its_folder_is_synced_too() -> None:
    """A new name is in the cache alone until then."""
    calls = [
        written(1, "/d/part", b"x"),
        done(3, "fsync", "/d/part"),
        done(5, "renameat2", "/d/part", to="/d/f"),
        written(7, "/other", b"y"),
        done(9, "fsync", "/other"),
    ]
    assert last(*calls).whole == {"/other"}
    assert last(*calls, done(11, "fsync", "/d")).whole == {"/d/f", "/other"}


def test_unsynced_bytes_of_a_life_are_not_safe_in_the_next() -> None:
    """A killed program leaves its bytes in the cache, where a power cut finds them."""
    lives = joined([trace(written(1, "/f", b"one")), trace(written(1, "/g", b"two"), done(3, "fsync", "/g"))])
    assert list(disks(lives.calls))[-1].files == {"/f": b"", "/g": b"two"}


def test_a_request_in_pieces_left_with_its_first_byte() -> None:
    """Requests follow each other in a socket, with bodies and without, however they are cut."""
    pieces = [b"PUT /a HTTP/1.1\r\ncontent-le", b"ngth: 2\r\n\r\nok", b"GET /b HTTP/1.1\r\n\r\n"]
    calls = [
        Call(begun=tick, name="sendto", tid=1, kind="send", path="socket:[1]", peer="far", result=len(data), data=data)
        for tick, data in zip((5, 7, 9), pieces, strict=True)
    ]
    requests = [message for message in sent(calls) if not hasattr(message, "text")]
    assert [(one.at, one.method, one.target, one.body) for one in requests] == [
        (5, "PUT", "/a", b"ok"),
        (9, "GET", "/b", b""),
    ]


def test_what_no_rule_knows_is_an_act_too() -> None:
    """A request that is new gets its rule, or the check fails."""
    data = b"POST /_matrix/client/v3/logout HTTP/1.1\r\n\r\n"
    call = Call(begun=1, name="sendto", tid=1, kind="send", path="socket:[1]", peer="far", result=len(data), data=data)
    assert list(acts(trace(call))) == [Act(at=1, kind="logout", subject="", needs=None)]


def test_a_scenario_without_what_it_is_there_for_is_wrong() -> None:
    """Nothing came early where nothing came."""
    assert Result(acts=dict.fromkeys(ESSENTIAL, 1)).good
    assert Result(acts=dict.fromkeys(ESSENTIAL - {"send"}, 1)).wrong() == {"send": "was not seen"}


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute(f"PRAGMA synchronous={sys.argv[2]}")
database.execute("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
for number in range(5):
    database.execute("INSERT INTO kv VALUES (?, ?)", (b"%d" % number, b"x" * 9000))
import os; os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("synchronous", "safe"), [("FULL", 5), ("OFF", 0)])
def test_a_database_is_read_as_a_power_cut_leaves_it(tmp_path: Path, synchronous: str, safe: int) -> None:
    """Committed rows are there as far as SQLite synced them, whatever the files hold."""
    database, record = tmp_path / "one.db", tmp_path / "record.jsonl"
    command = traced((sys.executable, "-c", WRITER, str(database), synchronous), into=record, folders=[tmp_path])
    subprocess.run(command, env=ENVIRONMENT, check=False, timeout=60)
    left = list(disks(read(record).calls))
    (tmp_path / "copy").mkdir()
    assert len(rows(left[-1].files if left else {}, str(database), tmp_path / "copy")) == safe
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM kv").fetchone() == (5,)
    connection.close()
