"""Puts wrong things into JSON, wherever they fit, and leaves what is to be spared as it is."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Spares = Callable[[object], bool]
"""Whether a value, and with it everything in it, must stay as it is."""


DEEP = "@deep"
"""Stands for nesting deeper than parsers go."""
_NESTED = b"[" * 5000 + b"]" * 5000
_LEVELS = 20
"""Deeper nothing is changed; no answer of a homeserver's own goes deeper."""

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    0.5,
    2**53,
    10**400,
    float("nan"),
    "",
    "\x00",
    "\ud800",
    "x" * 70_000,
    "@nobody:nowhere",
    [],
    [None],
    {},
    {"": {}},
    {"events": 7},
    DEEP,
)
"""What some program once did not expect: types, sizes, half characters, NUL, nesting."""


def scramble(value: Any, chance: random.Random, changes: int, spares: Spares = lambda _: False) -> None:
    """Change some JSON in place, so often; neither what is spared nor where it stands is touched."""
    for _ in range(changes):
        places = list(_places(value, spares, _LEVELS))
        if not places:
            return
        container, key = chance.choice(places)
        chance.choice((_replace, _replace, _remove, _wrap, _repeat))(container, key, chance)


def dumps(value: Any) -> bytes:
    """JSON with everything in it that `scramble` makes, which is more than JSON may hold."""
    return json.dumps(value).encode().replace(b'"%s"' % DEEP.encode(), _NESTED)


def _places(value: Any, spares: Spares, levels: int) -> Iterator[tuple[Any, Any]]:
    """Everything that may be changed, as container and key."""
    if levels and isinstance(value, dict | list) and not spares(value):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            if not _holds(inner, spares):
                yield value, key
            yield from _places(inner, spares, levels - 1)


def _holds(value: Any, spares: Spares) -> bool:
    if spares(value):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds(one, spares) for one in inner)


def _replace(container: Any, key: Any, chance: random.Random) -> None:
    container[key] = copy.deepcopy(chance.choice(ODD))


def _remove(container: Any, key: Any, chance: random.Random) -> None:
    del container[key]


def _wrap(container: Any, key: Any, chance: random.Random) -> None:
    container[key] = chance.choice(([container[key]], {"events": container[key]}))


def _repeat(container: Any, key: Any, chance: random.Random) -> None:
    again = copy.deepcopy(container[key])
    if isinstance(container, list):
        container.insert(chance.randrange(len(container) + 1), again)
    else:
        container[f"{key}{chance.choice(('s', '.x', chr(0)))}"] = again
