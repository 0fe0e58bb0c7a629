"""The pages for when something goes wrong: errors, their codes, and what stands in the log."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from surfaces_core import cli
from tools.documents.contracts import described, parsed, public, target
from tools.documents.parts import GENERATED, ROOT, Page, table

PACKAGES = sorted([ROOT / "surfaces_core", *ROOT.glob("plugins/*/surfaces_*/")])
NOT_RUNNING = ("surfaces_demo", "surfaces_testing")
"""Tools around the product: they log nothing and fail in front of whoever started them."""


def errors_page() -> Page:
    """Exit codes, classes and codes of errors."""
    yield from ("# Errors", "", GENERATED, "", "## Exit codes", "")
    said = re.findall(r"(\d+)\s+([^,.;]+)", " ".join((cli.__doc__ or "").split()))
    yield from table(("code", "meaning"), *((f"`{code}`", text) for code, text in said))
    yield "An expected failure is one line on standard error, `surfaces: CODE: what, and the remedy`. A traceback is a"
    yield "bug. A second SIGTERM or SIGINT ends a host that is stopping at once, with 130."
    yield from ("", "## Classes", "")
    module = import_module("surfaces_core.errors")
    yield from ("```text", *(inspect.getdoc(module) or "").split("\n\n")[1].splitlines(), "```", "")
    for name, node, doc in public(parsed(module)):
        yield from described(name, node, doc)
    yield from ("## Codes", "", "Stable words for logs and alarms. Dead letters carry one as their reason.", "")
    codes = sorted({found for package in PACKAGES for found in _codes(package)})
    yield from table(("code", "from"), *((f"`{code}`", f"`{package}`") for code, package in codes))


def trees(package: Path) -> Iterator[ast.Module]:
    """The modules of a package that runs in production."""
    if package.name not in NOT_RUNNING:
        for path in sorted(package.rglob("*.py")):
            if not {"testing", "reference"} & set(path.relative_to(package).parts):
                yield ast.parse(path.read_text())


def _codes(package: Path) -> Iterator[tuple[str, str]]:
    for tree in trees(package):
        makers = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and takes_code(node)}
        for node in ast.walk(tree):
            value = _code(node, makers)
            if isinstance(value, ast.Constant) and re.fullmatch(r"[A-Z_]{3,}", str(value.value)):
                yield str(value.value), package.name


def takes_code(function: ast.FunctionDef) -> bool:
    """A function that makes an error from its code."""
    return [argument.arg for argument in function.args.args][:1] == ["code"]


def _code(node: ast.AST, makers: set[str]) -> ast.AST | None:
    """What gives an error its code here, if anything does."""
    match node:
        case ast.keyword(arg="code" | "dead", value=value):
            return value
        case ast.Call(func=ast.Name(id=name), args=[value, *_]) if name in makers:
            return value
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if target(node) == "code":
            return value
        case ast.AnnAssign(annotation=ast.Name(id="Final"), value=value):
            return value
    return None


def logs_page() -> Page:
    """Every event in the log."""
    yield from ("# Log events", "", GENERATED, "")
    yield "Logs go to standard error: for people on a terminal, JSON lines elsewhere. `host.log_level` says how much."
    yield "Every event has `level` and `timestamp`; what is about one turn also has its `turn_id`, whatever part of the"
    yield "host or plugin logs it: from `turn.accepted` to `part.shown`, retries and restarts between them included."
    yield "It is what the messages of the answer carry (on Matrix in `io.surfaces.id`)."
    yield ""
    yield "Message texts, names of files and secrets are not in it, nor what unexpected errors and libraries quote: of"
    yield "these their kind and place are logged. `host.log_content: true` adds all of that but the secrets."
    yield ""
    found = sorted({entry for package in PACKAGES for entry in _events(package)})
    yield from table(("event", "level", "keys", "from"), *found)


def _events(package: Path) -> Iterator[tuple[str, str, str, str]]:
    levels = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
    for tree in trees(package):
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=logger, attr=level), args=[ast.Constant(value=str(event))]) if (
                    level in levels and ast.unparse(logger).endswith("log")
                ):
                    keys = ", ".join(f"`{key.arg}`" for key in node.keywords)
                    yield f"`{event}`", levels[level], keys, f"`{package.name}`"
