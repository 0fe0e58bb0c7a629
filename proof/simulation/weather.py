"""How often each thing goes wrong in a simulated world, and the chances that decide it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """For each thing that can go wrong its probability, each time that it could; all zero is a calm day."""

    mortality: float = 0.0
    """How often the host dies, compared with a rough day."""
    commit_fails: float = 0.0
    """The storage ends the host with its error; half the time what was to be stored is stored."""
    commit_slow: float = 0.0
    send_unavailable: float = 0.0
    send_lost: float = 0.0
    """It shows, and the answer that says so is lost."""
    send_rejected: float = 0.0
    send_chokes: float = 0.0
    """A bug in the surface."""
    send_slow: float = 0.0
    send_hangs: float = 0.0
    show_fails: float = 0.0
    show_slow: float = 0.0
    poll_fails: float = 0.0
    repeats: float = 0.0
    """A batch brings again what came before."""
    fetch_fails: float = 0.0
    fetch_gone: float = 0.0
    save_fails: float = 0.0
    rooms_fail: float = 0.0
    agent_unavailable: float = 0.0
    agent_cut: float = 0.0
    agent_silent: float = 0.0
    agent_chokes: float = 0.0
    """A bug in the transport."""
    agent_ends_twice: float = 0.0
    answer_fails: float = 0.0
    """The agent is gone when its question is answered."""


CALM = Weather()
ROUGH = Weather(
    mortality=1.0,
    commit_fails=0.0003,
    commit_slow=0.002,
    send_unavailable=0.01,
    send_lost=0.01,
    send_rejected=0.004,
    send_chokes=0.001,
    send_slow=0.01,
    send_hangs=0.001,
    show_fails=0.02,
    show_slow=0.01,
    poll_fails=0.01,
    repeats=0.2,
    fetch_fails=0.1,
    fetch_gone=0.05,
    save_fails=0.05,
    rooms_fail=0.1,
    agent_unavailable=0.01,
    agent_cut=0.01,
    agent_silent=0.003,
    agent_chokes=0.003,
    agent_ends_twice=0.02,
    answer_fails=0.05,
)

DEADLY = replace(ROUGH, mortality=4.0)
"""For few turns: what only a crash at one place shows is seen sooner."""


def stream(seed: int, name: str) -> random.Random:
    """Chances of their own for one part of a world: what others draw does not change them."""
    return random.Random(f"{seed}/{name}")
