"""`python -m proof`: proves the delivery promise with the real process, and writes down what was found.

Without options everything runs in its long form. The exit code is 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import format_exception

from proof.parts import PARTS, Orders, Prove
from proof.report import Part, Teller, complaint, table, write

WHOLE = Path("proof.json")
"""Where the figures of everything in its long form go, if nothing else is said."""


def main(arguments: Sequence[str] | None = None, known: Mapping[str, Prove] = PARTS) -> int:
    """Run what was asked for, of the parts that are known."""
    options = _options(arguments, known)
    orders = Orders(quick=options.quick, seed=options.seed, case=options.case, tell=Teller())
    began = time.monotonic()
    parts: list[Part] = []
    for name in options.only:
        parts.append(_run(name, known[name], orders))
        if not parts[-1].good:
            print(complaint(parts[-1]), flush=True)
    whole = options.only == list(known) and not (options.quick or options.case or options.seed)
    out = options.out or (WHOLE if whole else None)
    if out is not None:
        write(out, parts, form="quick" if options.quick else "long", seconds=time.monotonic() - began)
    print(table(parts))
    return 0 if all(part.good for part in parts) else 1


def _run(name: str, prove: Prove, orders: Orders) -> Part:
    try:
        return asyncio.run(prove(orders))
    except Exception as error:  # noqa: BLE001 - a part that can't run is wrong, and the others run all the same
        what = f"{error!r}\n{''.join(format_exception(error)[-4:])}"
        return Part(name=name, good=False, figures={}, wrong={"it could not run": what})


def _options(arguments: Sequence[str] | None, known: Mapping[str, Prove]) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no part is called {', '.join(unknown)}")
        return text.split(",")

    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some minutes instead of an hour")
    parser.add_argument("--only", type=names, default=list(known), metavar="PART,…", help=", ".join(known))
    parser.add_argument("--seed", type=int, help="this seed alone, of the campaign and the simulation")
    parser.add_argument("--case", default="", help="this run alone, as a failure names it")
    parser.add_argument("--out", type=Path, help=f"where the figures go; those of everything go to {WHOLE}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
