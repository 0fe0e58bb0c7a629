"""The page of what tests of plugins are made of, read from the source."""

from __future__ import annotations

from importlib import import_module

from tools.documents.contracts import described, documented, parsed
from tools.documents.parts import GENERATED, Page

_NAMES = {
    "contract": ("storage", "transport", "files", "surface", "hooks"),
    "planted": ("are_caught",),
    "bot": ("TestBot",),
    "memory_surface": ("Shown", "MemoryMessenger", "memory_context"),
    "scripted_transport": ("ScriptedTransport",),
    "driver_contexts": ("MemoryStore", "transport_context"),
    "checks.transport": ("TransportBench",),
    "checks.files": ("FilesBench",),
    "checks.surface": ("SurfaceBench",),
}


def testing_page() -> Page:
    """Each public name of `surfaces_core.testing`, by the module that it is imported from."""
    yield from ("# What tests are made of", "", GENERATED, "")
    yield "Everything here comes with `pip install 'surfaces-core[testing]'`. How it is used:"
    yield from ("[test a plugin](../how-to/test-a-plugin.md) and the tutorials of each kind.", "")
    for place, names in _NAMES.items():
        module = import_module(f"surfaces_core.testing.{place}")
        yield from (f"## `{module.__name__}`", "")
        for node, doc in documented(parsed(module).body):
            if getattr(node, "name", "") in names:
                yield from described(node.name, node, doc)  # type: ignore[attr-defined]  # one that has a name
