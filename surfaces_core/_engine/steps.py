"""Steps: how long each piece of the work on a turn took and what ended it, told to those who observe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from surfaces_core.errors import SurfacesError
from surfaces_core.events import Address, Agent, Observed, StepEnded

Observe = Callable[[Observed], None]
Name = Literal["wait", "files_in", "ask", "file_out", "store", "send"]


@dataclass(slots=True, eq=False)
class Step:
    """A piece of work while it goes on: what only its end can say of it."""

    began: float = field(default_factory=time.perf_counter)
    error: str = ""
    first_s: float | None = None


@contextmanager
def stepping(
    observe: Observe,
    name: Name,
    turn: str,
    address: Address,
    *,
    attempt: int = 1,
    agent: Agent | None = None,
    part: int | None = None,
    files: int = 0,
) -> Iterator[Step]:
    """Time a block, and tell of it at its end, however it ends."""
    step = Step()
    try:
        yield step
    except SurfacesError as error:
        step.error = error.code
        raise
    except asyncio.CancelledError:
        step.error = "CANCELLED"
        raise
    except BaseException:
        step.error = "BUG"
        raise
    finally:
        observe(
            StepEnded(
                turn=turn,
                address=address,
                step=name,
                seconds=time.perf_counter() - step.began,
                attempt=attempt,
                error=step.error,
                agent=agent,
                first_s=step.first_s,
                part=part,
                files=files,
            )
        )
