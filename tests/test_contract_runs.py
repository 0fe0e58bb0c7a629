"""A stranger runs the contract checks: from the command line, or with a line in a file of tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from surfaces_core.testing import contract, planted, promises
from surfaces_core.testing.broken import BrokenPromise
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage

STRANGER = '''
from pathlib import Path

from surfaces_core import Command, Settings, hookimpl
from surfaces_core.testing.memory_storage import MemoryDisk, MemoryStorage, MemoryTx
from surfaces_core.testing.scripted_transport import ScriptedTransport

DISKS = {}


class Kept(MemoryStorage):
    class Settings(Settings):
        path: Path
        name: str

    def __init__(self, settings, context):
        super().__init__(settings, context, disk=DISKS.setdefault((settings.path, settings.name), MemoryDisk()))


class Odd(MemoryStorage):
    """Takes an empty value for none, and stumbles when it undoes."""

    def _commit(self, changes):
        super()._commit({key: value or None for key, value in changes.items()})

    def transaction(self):
        return stumbling(super().transaction())


class stumbling:
    def __init__(self, inner):
        self.inner = inner

    async def __aenter__(self):
        return await self.inner.__aenter__()

    async def __aexit__(self, kind, error, trace):
        if kind is not None:
            raise KeyError("undo")
        return await self.inner.__aexit__(kind, error, trace)


def odd(tmp_path):
    disk = DISKS.setdefault(tmp_path, MemoryDisk())
    return Odd(disk=disk)


async def shout(call):
    return call.rest.upper()


@hookimpl
def surfaces_commands():
    return [Command(name="Shout", help="Says it louder.", handler=shout)]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stranger's package, and a file of tests that fails if anybody collects it."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "stranger.py").write_text(STRANGER)
    (folder / "test_own.py").write_text("def test_durable(): raise AssertionError('nobody asked for this file')")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of pytest there."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_every_check_states_its_promise() -> None:
    """Each check has a name of its own within its kind, and a sentence that begins and ends like one."""
    for kind in promises.KINDS:
        checks = promises.checks(kind)
        assert len({promises.name(check) for check in checks}) == len(checks)
        for check in checks:
            sentence = promises.sentence(check)
            assert sentence.endswith(".")
            assert sentence[0].isupper() or sentence[0] == "`", sentence


@pytest.mark.slow
def test_a_class_and_its_settings_are_enough(folder: Path) -> None:
    """A class that is named is checked, alone, with a place of its own for a path and what else it was given."""
    done = run(
        folder,
        "-v",
        "--surfaces-contract=storage=stranger:Kept",
        "--surfaces-set=storage.name=n",
        "-k",
        "durable or read",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "storage=stranger:Kept::test[durable] PASSED" in done.stdout
    assert "2 passed, " in done.stdout


@pytest.mark.slow
def test_a_broken_promise_is_told_in_words(folder: Path) -> None:
    """The promise comes first, then what was found, then the author's own lines and none of ours."""
    done = run(
        folder,
        "--surfaces-contract=storage=stranger:odd",
        "--surfaces-contract=hooks=stranger",
        "--surfaces-contract=storage=stranger:Kept",
        "-k",
        "empty_value or raised_leaves or command_",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout.partition("= FAILURES =")[2]
    assert "This storage breaks a promise: An empty value is a value.\n\n  an empty value must come back as an " in told
    stumbled = told.partition("A body that raises undoes all of its transaction.")[2]
    assert stumbled.lstrip().startswith("KeyError: 'undo'")
    assert 'raise KeyError("undo")' in stumbled
    assert "checks/storage" not in told
    assert "not 'Shout'" in told
    assert "not 'Says it louder.'" in told
    assert "- An empty value is a v" in done.stdout.partition("short test summary")[2]
    assert "\nsettings: name: Field required\n" in told
    assert "6 failed, 2 passed" in done.stdout


def test_a_broken_promise_is_told_with_the_history_that_breaks_it() -> None:
    """Hypothesis notes it beside the error."""
    error = AssertionError("scan gave nothing")
    error.add_note("Failing test case: compare(\n    rounds=[…],\n)")
    check = next(check for check in promises.checks("storage") if promises.name(check) == "model")
    assert "  scan gave nothing\n\n  Failing test case: compare(\n      rounds=[…],\n  )" in str(
        BrokenPromise("storage", check, error)
    )


@pytest.mark.slow
def test_slips_are_told_in_a_line(folder: Path) -> None:
    """What cannot be checked is said without a traceback."""
    slips = {
        "cupboard=stranger": "write KIND=MODULE:NAME, where KIND is one of storage, transport",
        "storage=strange:Kept": "strange cannot be imported",
        "storage=stranger:Kep": "stranger has no Kep",
        "storage=stranger:DISKS": "is no Storage class and no function",
        "surface=surfaces_core:Surface": "Surface does not implement run, send",
        "surface=surfaces_core.testing.memory_surface:MemorySurface": "give a function with a SurfaceBench",
    }
    done = run(folder, *(f"--surfaces-contract={slip}" for slip in slips))
    assert done.returncode == 2
    for slip, words in slips.items():
        told = done.stdout.partition(f"--surfaces-contract {slip}: ")[2].partition("\n")[0]
        assert words in told, slip
    assert "Traceback" not in done.stdout


async def test_what_is_no_fault_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault that breaks nothing, or lets a check stumble instead of see, fails the test that plants it."""

    def nothing(_: pytest.MonkeyPatch) -> None:
        """No fault at all."""

    def stumbling(patching: pytest.MonkeyPatch) -> None:
        patching.delattr(MemoryStorage, "_commit")

    async def storages() -> Callable[[], MemoryStorage]:
        disk = MemoryDisk()
        return lambda: MemoryStorage(disk=disk)

    plant = planted.are_caught(contract.storage(storages), {nothing: "durable", stumbling: "durable"})
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await plant(monkeypatch=monkeypatch, fault=nothing, promise="durable")
    with pytest.raises(AssertionError, match="stumbled over instead of seen"):
        await plant(monkeypatch=monkeypatch, fault=stumbling, promise="durable")
