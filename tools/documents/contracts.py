"""The pages for authors of plugins: contracts, values and hooks, read from the source."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator, Sequence
from importlib import import_module

import surfaces_core
from tools.documents.parts import GENERATED, Page

KINDS = ("driver", "surface", "transport", "storage", "files", "commands", "tools")
"""The modules of the contracts, as a reader meets them."""


def parsed(module: types.ModuleType) -> ast.Module:
    """The source of a module as a tree."""
    return ast.parse(inspect.getsource(module))


def public(tree: ast.Module) -> Iterator[tuple[str, ast.stmt, str]]:
    """The public names that a module defines: name, where, and what stands about it, in the order of the source."""
    for node, doc in documented(tree.body):
        name = getattr(node, "name", None) or target(node)
        if name in surfaces_core.__all__ or name in ("Handler", "FileKind"):
            yield name, node, doc


def documented(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Statements, each with its own docstring or the string that stands behind it."""
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield node, inspect.cleandoc(_string(after))


def _string(node: ast.stmt) -> str:
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def target(node: ast.AST) -> str:
    """The name that an assignment gives a value to; empty for anything else."""
    found = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return found.id if isinstance(found, ast.Name) else ""


def contracts_page() -> Page:
    """What plugins implement, and what they are handed."""
    yield from ("# Contracts", "", GENERATED, "")
    yield "Everything here is imported from `surfaces_core`. See also the [values](values.md) that flow, the"
    yield "[errors](errors.md) and the [hooks](hooks.md). Checks for each kind of driver are in"
    yield from ("`surfaces_core.testing.checks`.", "")
    for kind in KINDS:
        module = import_module(f"surfaces_core.contracts.{kind}")
        yield from (f"## {kind.capitalize()}", "", inspect.getdoc(module) or "", "")
        for name, node, doc in public(parsed(module)):
            yield from described(name, node, doc)
    module = import_module("surfaces_core.buffered")
    yield from ("## A storage over a database", "", inspect.getdoc(module) or "", "")
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc)
    module = import_module("surfaces_core.filenames")
    yield from ("## Helpers for files drivers", "")
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc)


def values_page() -> Page:
    """The values that flow."""
    module = import_module("surfaces_core.events")
    yield from ("# Values that flow", "", GENERATED, "", inspect.getdoc(module) or "", "")
    yield "All are imported from `surfaces_core`, frozen, and made with keyword arguments (`Text` takes its one also"
    yield from ("by position).", "")
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc, "#")


def described(name: str, node: ast.stmt, doc: str, under: str = "##") -> Page:
    """One public name, under a heading of that level."""
    yield from (f"{under}# `{name}`", "")
    if isinstance(node, ast.ClassDef):
        yield from (doc, "")
        bases = [base for base in map(ast.unparse, node.bases) if base in surfaces_core.__all__]
        if bases:
            yield from (f"Is a {', '.join(f'`{base}`' for base in bases)}.", "")
        made = next((each for each in node.body if getattr(each, "name", "") == "__init__"), None)
        if isinstance(made, ast.FunctionDef):
            yield from (f"`{signature(made, name).partition(' -> ')[0]}`", "")
        lines = [_member(member, text) for member, text in documented(node.body) if not _hidden(member)]
        yield from (*lines, "") if lines else ()
    elif isinstance(node, ast.FunctionDef):
        yield from (f"`{signature(node)}`", "", doc, "")
    else:
        yield from (f"`{ast.unparse(node)}`", "", *((doc, "") if doc else ()))


def _hidden(member: ast.stmt) -> bool:
    name = getattr(member, "name", "") or target(member)
    return name.startswith("_") or name == "model_config"


def _member(member: ast.stmt, doc: str) -> str:
    text = f" – {' '.join(doc.split())}" if doc else ""
    if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"- `{ast.unparse(member)}`{text}"
    marks = {ast.unparse(mark) for mark in member.decorator_list}
    if "property" in marks:
        return f"- `{member.name}: {ast.unparse(member.returns or ast.Constant(None))}`{text}"
    required = " *(required)*" if "abstractmethod" in marks else ""
    return f"- `{signature(member)}`{required}{text}"


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    """How a method is called, or by another name a class."""
    arguments = ast.unparse(function.args).removeprefix("self, ").removeprefix("self")
    word = "async " if isinstance(function, ast.AsyncFunctionDef) else ""
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{word}{name or function.name}({arguments}){returns}"


def hooks_page() -> Page:
    """Every hook."""
    module = import_module("surfaces_core.hooks")
    yield from ("# Hooks", "", GENERATED, "", inspect.getdoc(module) or "", "")
    yield "A hooks plugin is a module (or a class) named by an entry point of the group `surfaces.hooks`; its functions"
    yield "are marked with `hookimpl`. [Write a command](../tutorial/commands.md) shows a whole one."
    yield ""
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc, "#")
    specs = next(node for node in parsed(module).body if isinstance(node, ast.ClassDef) and node.name == "HookSpecs")
    for member, doc in documented(specs.body):
        if isinstance(member, ast.FunctionDef):
            yield from (f"## `{member.name}`", "", "```python", f"def {signature(member)}: ...", "```", "", doc, "")


def languages_page() -> Page:
    """How a plugin speaks the language of whoever reads it."""
    module = import_module("surfaces_core.i18n")
    yield from ("# Languages", "", GENERATED, "", inspect.getdoc(module) or "", "")
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc, "#")
