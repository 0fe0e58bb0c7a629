"""Owns how a broken promise is told: the promise in words first, then what happened in the author's own code."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from surfaces_core.testing import promises
from surfaces_core.testing.materials import NotReady

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr  # what `getrepr` gives has no public name

_OURS = str(Path(__file__).parent)
_STDLIB = sysconfig.get_path("stdlib")
_MACHINERY = ("_pytest", "pluggy", "pytest_asyncio", "hypothesis")
_CALLED = {"files": "files driver", "hooks": "hooks plugin"}


class BrokenPromise(AssertionError):
    """A check failed; why is its cause."""

    def __init__(self, kind: str, check: promises.Check, cause: Exception) -> None:
        self.promise = promises.sentence(check)
        """What was promised."""
        leaves = list(_leaves(cause))
        self.in_words = any(isinstance(leaf, AssertionError) for leaf in leaves)
        """A check found it, and nothing stumbled before that."""
        self.found = _said(leaves[0]).partition("\n")[0]
        """What happened instead, in a line."""
        said = [line for leaf in leaves for line in (*_indented(_said(leaf)), *_theirs(leaf), "")]
        examples = [line for note in getattr(cause, "__notes__", ()) for line in (*_indented(note), "")]
        place = f"The check is {check.__module__}.{check.__name__}; pytest --full-trace shows all of its traceback."
        super().__init__(
            "\n".join([f"This {_CALLED.get(kind, kind)} breaks a promise: {self.promise}", "", *said, *examples, place])
        )


def told(raised: pytest.ExceptionInfo[BaseException]) -> TerminalRepr | None:
    """What pytest is to show instead of a traceback through the checks; None for what is not about promises."""
    error = raised.value
    if not isinstance(error, (BrokenPromise, NotReady)):
        return None
    shown = raised.getrepr(style="value", chain=False)
    if shown.reprcrash is not None:
        words = f"{error.promise} ({error.found})" if isinstance(error, BrokenPromise) else str(error)
        shown.reprcrash.message = words
    return shown


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        if isinstance(error.__context__, AssertionError):  # what a check found, and a driver stumbled over as it closed
            yield error.__context__
        yield error


def _said(error: BaseException) -> str:
    """The words of an assertion are the check's; of anything else its type counts, too."""
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    return "".join(traceback.format_exception_only(error)).strip()


def _theirs(error: BaseException) -> list[str]:
    """The part of a traceback that lies in the author's code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return _indented("".join(traceback.format_list(frames)))


def _is_theirs(file: str) -> bool:
    library = file.rpartition("site-packages/")[2] if "site-packages/" in file else ""
    if library:
        return not library.startswith(_MACHINERY) and not file.startswith(_OURS)
    return not file.startswith((_OURS, _STDLIB, "<"))


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.rstrip().splitlines()]
