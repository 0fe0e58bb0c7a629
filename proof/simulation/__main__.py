"""`python -m proof.simulation --seed N --turns 100000`: lives through one world and says what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from proof.simulation import simulate


def main() -> int:
    """One line; on a failure what led to it, and exit code 1."""
    parser = argparse.ArgumentParser(prog="proof.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--trace", type=Path, help="write every line here")
    parser.add_argument("--json", action="store_true", help="print everything that was counted")
    options = parser.parse_args()
    with ExitStack() as stack:
        copy = None if options.trace is None else stack.enter_context(options.trace.open("w"))
        result = simulate(options.seed, options.turns, copy=copy)
    print(json.dumps(asdict(result), indent=1) if options.json else result.summary())
    if result.failures:
        print(result.report())
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
