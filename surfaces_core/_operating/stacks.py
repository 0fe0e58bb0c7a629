"""Where somebody's code stands right now, in words: `module:line function`; read from any thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_OURS = "surfaces_core"


def of_thread(ident: int) -> str:
    """The innermost line of a thread that is no part of Python itself, and whom the host called to get there.

    Empty when all of it is Python.
    """
    lines: list[str] = []
    for frame in _outwards(sys._current_frames().get(ident)):  # noqa: SLF001 - documented, and has no other name
        if lines and _is_ours(frame):
            break
        if not _is_python(frame):
            lines.append(_line(frame))
    return lines[0] if len(lines) == 1 else f"{lines[0]}, called by {lines[-1]}" if lines else ""


def of_tasks(loop: asyncio.AbstractEventLoop, *, deaf: bool = False) -> list[str]:
    """Where the tasks of a loop wait that stand in code of others; only those that were cancelled when `deaf`."""
    tasks = (task for task in asyncio.all_tasks(loop) if not deaf or task.cancelling())
    found = (list(_inwards(task)) for task in tasks)
    innermost = (next((f for f in reversed(frames) if not _is_python(f)), None) for frames in found)
    return sorted(_line(frame) for frame in innermost if frame is not None and not _is_ours(frame))


def of_others() -> list[str]:
    """The threads that the interpreter would wait for at its end, each by its name and where it stands."""
    threads = [thread for thread in threading.enumerate() if not thread.daemon and thread.ident is not None]
    waited_for = [thread for thread in threads if thread is not threading.main_thread()]
    return [f"{thread.name} in {of_thread(thread.ident or 0) or 'Python'}" for thread in waited_for]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _inwards(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """The frames of what a task awaits, from its own coroutine on."""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)


def _line(frame: FrameType) -> str:
    return f"{_module(frame)}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _is_python(frame: FrameType) -> bool:
    return _module(frame).partition(".")[0] in sys.stdlib_module_names


def _is_ours(frame: FrameType) -> bool:
    return _module(frame).partition(".")[0] == _OURS


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))
