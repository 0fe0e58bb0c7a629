"""The host, counting how often it comes to each kill point: `python -m proof.counted COUNTS run -c FILE`.

The file gets one name a line, as it happens.
"""

from __future__ import annotations

import sys
from pathlib import Path

from surfaces_core._engine import killpoints


def count_into(file: Path) -> None:
    """Write down every kill point; to be called before anything else of the host is imported."""
    counts = file.open("a", buffering=1)

    def counted(name: str) -> None:
        counts.write(f"{name}\n")

    killpoints.point = counted


if __name__ == "__main__":
    count_into(Path(sys.argv[1]))
    from surfaces_core.cli import main

    sys.exit(main(sys.argv[2:]))
