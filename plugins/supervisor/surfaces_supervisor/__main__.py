"""The supervisor's commands where not even `surfaces` starts: `python -m surfaces_supervisor rollback -c FILE`."""

from __future__ import annotations

import os
import sys

from surfaces_supervisor import operators, program
from surfaces_supervisor.arguments import complain

COMMANDS = {
    "supervise": program.supervise,
    "releases": operators.releases,
    "rollback": operators.rollback,
    "resume": operators.resume,
}

if __name__ == "__main__":
    name, *rest = sys.argv[1:] or [""]
    if name not in COMMANDS:
        sys.exit(complain(f"there are {', '.join(COMMANDS)}", os.EX_USAGE))
    sys.exit(COMMANDS[name](rest))
