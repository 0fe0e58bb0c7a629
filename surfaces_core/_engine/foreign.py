"""What may not come out of a call into code of others, however that code was written.

A plugin may raise what only the host or the interpreter should: `SystemExit` out of `sys.exit()`, or a
cancellation that nobody asked for, out of awaiting a task that it cancelled itself. Let through, the
first ends the process as if it were asked to, and the second a task of ours without a word.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from types import TracebackType

_STRAY = (SystemExit, KeyboardInterrupt, asyncio.CancelledError)


class PluginBug(RuntimeError):
    """A plugin did what none may, in words of ours, so that they may stand in a log."""


def contained() -> AbstractContextManager[None]:
    """Turn what code of others must not raise into a `PluginBug`; a cancellation that was meant passes."""
    return _CONTAINED


class _Contained(AbstractContextManager[None]):
    """No generator, and one for all: a message on its way enters some twenty times."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _STRAY) and not _is_meant(error):
            raise PluginBug(f"raised {type(error).__name__}, which no plugin may") from error
        if isinstance(error, BaseExceptionGroup):
            stray, others = error.split(_STRAY)
            if stray is not None and (others is None or isinstance(others, Exception)):
                raise PluginBug("raised in a group what no plugin may") from error


_CONTAINED = _Contained()


def _is_meant(error: BaseException) -> bool:
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
