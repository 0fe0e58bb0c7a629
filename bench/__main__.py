"""`python -m bench`: measures every bot in turn and writes `bench/results.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.plan import QUICK, Plan, measured


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=Plan().rounds, help="how often everything is measured")
    parser.add_argument("--quick", action="store_true", help="one short round, printed and written nowhere")
    parser.add_argument("--only", nargs="*", default=[], metavar="BOT", help="these alone, likewise")
    options = parser.parse_args()
    plan = QUICK if options.quick else replace(Plan(), rounds=options.rounds)
    with tempfile.TemporaryDirectory(prefix="surfaces-bench-") as folder:
        found = asyncio.run(measured(Path(folder), plan, set(options.only)))
    if options.only:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    results = report.results(found)
    sys.stdout.write("\n".join(report.page(results)) + "\n")
    if not options.quick:
        report.RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
