"""What may not come out of a call into code of others, however that code was written.

A plugin may raise what only the host or the interpreter should: `SystemExit` out of `sys.exit()`, or a
cancellation that nobody asked for, out of awaiting a task that it cancelled itself. Let through, the
first ends the process as if it were asked to, and the second a task of ours without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

_STRAY = (SystemExit, KeyboardInterrupt, asyncio.CancelledError)


@contextmanager
def contained() -> Iterator[None]:
    """Turn what code of others must not raise into a `RuntimeError`; a cancellation that was meant passes."""
    try:
        yield
    except _STRAY as error:
        if _is_meant(error):
            raise
        raise RuntimeError(f"raised {type(error).__name__}, which no plugin may") from error
    except BaseExceptionGroup as group:
        stray, others = group.split(_STRAY)
        if stray is None or (others is not None and not isinstance(others, Exception)):
            raise
        raise RuntimeError("raised in a group what no plugin may") from group


def _is_meant(error: BaseException) -> bool:
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
