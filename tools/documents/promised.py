"""The page that lists what each kind of plugin promises, read from the contract checks."""

from __future__ import annotations

from surfaces_core.testing import promises
from tools.documents.parts import GENERATED, Page

_CALLED = {"files": "files drivers", "hooks": "hooks plugins", "storage": "storages"}


def promises_page() -> Page:
    """Every promise of every kind."""
    yield from ("# What plugins promise", "", GENERATED, "")
    yield "Each line is a check, named as tests show it. How to run them: [test a plugin](../how-to/test-a-plugin.md)."
    yield from ("What they are about: [contracts](contracts.md) and [hooks](hooks.md).", "")
    for kind in promises.KINDS:
        yield from (f"## {_CALLED.get(kind, f'{kind}s').capitalize()}", "", "| check | promise |", "| --- | --- |")
        for check in promises.checks(kind):
            yield f"| `{promises.name(check)}` | {promises.sentence(check).replace('|', chr(92) + '|')} |"
        yield ""
