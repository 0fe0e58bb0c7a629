"""The contract checks see faults that are planted into the Matrix surface."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from surfaces_core import Attachment, Condition, Draft, Inbound, Intake, Opening, Outbound, Receipt
from surfaces_core.testing import planted
from surfaces_matrix import MatrixSurface
from surfaces_matrix.drafts import Drafts
from surfaces_matrix.lookup import Looked, Lookup
from surfaces_matrix.rooms import Rooms
from surfaces_matrix.send import Sender
from surfaces_testing.homeserver import FakeHomeserver

from .test_matrix_contract import ME
from .test_matrix_contract import test_contract as contract


@pytest.fixture
async def homeserver() -> AsyncIterator[FakeHomeserver]:
    """One room version is enough here."""
    async with FakeHomeserver() as homeserver:
        homeserver.register(ME)
        yield homeserver


SEND = Sender.send


def key_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeat has another transaction id."""

    async def send(self: Sender, message: Outbound) -> Receipt:
        return await SEND(self, replace(message, key=f"{secrets.token_hex(8)}.0"))

    monkeypatch.setattr(Sender, "send", send)


def never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the homeserver may have forgotten is said again without a look."""
    monkeypatch.setattr(Lookup, "__call__", _sees_nothing)


async def _sees_nothing(self: Lookup, key: object, *, timeout_s: float) -> Looked:
    return Looked(found=None, session=self._login.session)


def drafts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A final text does not take the place of its draft."""

    async def send(self: Sender, message: Outbound) -> Receipt:
        return await SEND(self, replace(message, streamed=False, key=f"{message.key}x"))

    monkeypatch.setattr(Sender, "send", send)


def drafts_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drafts of all turns are one."""
    original = Drafts.show

    async def show(self: Drafts, draft: Draft) -> None:
        await original(self, replace(draft, key="one.0"))

    monkeypatch.setattr(Drafts, "show", show)


def replaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What replaces another message is said anew."""

    async def send(self: Sender, message: Outbound) -> Receipt:
        return await SEND(self, replace(message, replaces=""))

    monkeypatch.setattr(Sender, "send", send)


class Eager:
    """An intake that is told of cursors ahead of what lies before them."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._intake, name)

    async def accept(self, batch: Sequence[Inbound], cursor: str) -> None:
        await self._intake.accept([], cursor)
        await self._intake.accept(batch, cursor)


def cursor_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor is stored before the messages."""
    original = MatrixSurface.run

    async def run(self: MatrixSurface, intake: Intake) -> None:
        await original(self, Eager(intake))

    monkeypatch.setattr(MatrixSurface, "run", run)


def waiting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a message waits is a message."""

    async def acknowledge(self: MatrixSurface, message: Inbound, *, waiting: bool) -> None:
        await self.send(Outbound(key="wait.0", turn="wait", part=0, address=message.address, text="wait"))

    monkeypatch.setattr(MatrixSurface, "acknowledge", acknowledge)


def parts_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of any length is one part."""
    monkeypatch.setattr(MatrixSurface, "split", lambda self, text: [text])


def words_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a long text is left out."""
    original = MatrixSurface.split
    monkeypatch.setattr(MatrixSurface, "split", lambda self, text: original(self, text)[:3])


def device_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each life is another device."""
    monkeypatch.setattr(MatrixSurface, "device", property(lambda self: f"{id(self)}"))


def never_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is not connected."""
    monkeypatch.setattr(MatrixSurface, "condition", lambda self: Condition(connected=False))


def any_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that there is not is made up."""

    async def report(self: MatrixSurface, name: str) -> AsyncIterator[str]:
        yield "fine"

    monkeypatch.setattr(MatrixSurface, "report", report)


def lost_files_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be fetched has no bytes."""

    async def fetch(self: MatrixSurface, attachment: Attachment) -> AsyncIterator[bytes]:
        yield b""

    monkeypatch.setattr(MatrixSurface, "fetch", fetch)


def history_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said before comes newest first."""
    original = MatrixSurface.history

    async def history(self: MatrixSurface, *place: Any, **bounds: Any) -> Any:
        return (await original(self, *place, **bounds))[::-1]

    monkeypatch.setattr(MatrixSurface, "history", history)


def rooms_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated opening makes another room."""
    original = Rooms.open

    async def open_(self: Rooms, opening: Opening) -> Any:
        return await original(self, replace(opening, key=secrets.token_hex(8)))

    monkeypatch.setattr(Rooms, "open", open_)


def nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed binding is not written."""

    async def record(self: Rooms, binding: Any) -> None:
        """Nothing."""

    monkeypatch.setattr(Rooms, "record", record)


test_planted = planted.are_caught(
    contract,
    {
        key_by_chance: "same_key_once",
        never_looks: "forgotten_key_once",
        drafts_stay: "streamed_ends_exact",
        drafts_of_one_name: "keys_are_apart",
        replaces_nothing: "replaces",
        cursor_first: "cursor_waits",
        waiting_is_said: "acknowledge",
        parts_too_large: "parts_fit",
        words_are_lost: "split_is_lossless",
        device_by_chance: "device",
        never_connected: "condition",
        any_report: "reports",
        lost_files_are_empty: "fetch_refused",
        history_backwards: "history",
        rooms_by_chance: "opened_once",
        nothing_is_recorded: "recorded",
    },
)
