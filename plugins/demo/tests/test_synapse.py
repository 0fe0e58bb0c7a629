"""The homeserver for demos and tests starts, registers people and says clearly why it can't."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from surfaces_demo.children import DemoError
from surfaces_demo.synapse import PYTHON_VARIABLE, Synapse, find_python


async def log_in(url: str, user_id: str, password: str) -> int:
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": password,
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/_matrix/client/v3/login", json=body) as answer:
        return answer.status


@pytest.mark.slow
async def test_registered_people_can_log_in(synapse: Synapse) -> None:
    """A registered person's password is good and another one is not."""
    account = await synapse.register("synapse-ann")
    assert await log_in(synapse.url, account.user_id, account.password) == 200
    assert await log_in(synapse.url, account.user_id, "wrong") == 403


@pytest.mark.slow
async def test_taken_names_are_refused(synapse: Synapse) -> None:
    """Registering the same name twice says so."""
    await synapse.register("synapse-twice")
    with pytest.raises(DemoError, match="synapse-twice"):
        await synapse.register("synapse-twice")


@pytest.mark.slow
async def test_a_folder_can_be_used_again(synapse: Synapse, tmp_path: Path) -> None:
    """A homeserver that is started in the folder of another one knows its people."""
    account = await synapse.register("synapse-again")
    shutil.copytree(synapse.folder, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("homeserver.db*"))
    with (
        closing(sqlite3.connect(synapse.folder / "homeserver.db")) as running,
        closing(sqlite3.connect(tmp_path / "homeserver.db")) as copy,
    ):
        running.backup(copy)
    async with Synapse(tmp_path, room_version="11") as server:
        assert await log_in(server.url, account.user_id, account.password) == 200


def test_a_named_python_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrong path in the environment variable is an error that names the remedy."""
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DemoError, match="make synapse"):
        find_python()


async def test_a_homeserver_that_cannot_start_shows_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the program ends at once, the error carries what it wrote."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(broken))
    with pytest.raises(DemoError, match=r"exit code 3\n.*no such module"):
        await Synapse(tmp_path / "hs").start()
