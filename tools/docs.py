"""Writes the generated pages of the documents: what can be read from the code is written nowhere else.

`python tools/docs.py` writes them; with `--check` it names those that are out of date and exits 1.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script, this folder alone is on the path

from bench import plot
from surfaces_core._program import scaffold
from tools.documents import contracts, drawings, failures, figures, measures, operators, promised, protocol, testing
from tools.documents.parts import DOCS, GENERATED, ROOT, Page


def decisions_page() -> Page:
    """The list of decisions."""
    yield from ("# Decisions", "", GENERATED, "", "What was chosen where another way was open, and why.", "")
    for path in sorted((DOCS / "explanation/decisions").glob("0*.md")):
        title = path.read_text().splitlines()[0].removeprefix("# ")
        yield f"- [{title}]({path.name})"


def plugins_page() -> Page:
    """The list of plugins, with what each says of itself."""
    yield from ("# Plugins", "", GENERATED, "")
    yield "Everything but the host itself is a plugin: a distribution of its own, with a page of its own. The config"
    yield "names what is used; what is installed but not named is never imported."
    yield ""
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        link = f"../../plugins/{path.parent.name}/README.md"
        yield f"- [{project['name']}]({link}): {project['description']}."


PAGES: Mapping[str, Callable[[], Page]] = {
    "reference/settings.md": operators.settings_page,
    "reference/cli.md": operators.cli_page,
    "reference/commands.md": operators.commands_page,
    "reference/hooks.md": contracts.hooks_page,
    "reference/contracts.md": contracts.contracts_page,
    "reference/contract-checks.md": promised.promises_page,
    "reference/testing.md": testing.testing_page,
    "reference/values.md": contracts.values_page,
    "reference/languages.md": contracts.languages_page,
    "reference/agent-api.md": protocol.agent_api_page,
    "reference/errors.md": failures.errors_page,
    "reference/log-events.md": failures.logs_page,
    "reference/metrics.md": measures.metrics_page,
    "explanation/decisions/README.md": decisions_page,
    "plugins/index.md": plugins_page,
}
DRAWINGS: Mapping[str, Callable[[], str]] = {
    "images/architecture.svg": drawings.architecture,
    "images/message.svg": drawings.message,
    **{f"images/{name}": partial(plot.picture, name) for name in plot.PICTURES},
}
INCLUDE = re.compile(r"(<!-- include (\S+) -->\n)```([^\n]*)\n(?:.*?\n)?```\n", re.DOTALL)


def _content(place: str) -> str:
    """A file of the repository, or with `new:KIND:NAME:FILE` one that `surfaces plugins new` would write."""
    word, *more = place.split(":")
    if word != "new":
        return (ROOT / place).read_text()
    kind, name, file = more
    return dict(scaffold.package_of(kind, name))[file]


def included(page: Path) -> str:
    """A page written by hand with the files that it includes as they are now."""

    def fresh(match: re.Match[str]) -> str:
        content = _content(match[2]).rstrip()
        return f"{match[1]}```{match[3]}\n{content}\n```\n"

    return figures.filled(INCLUDE.sub(fresh, page.read_text()))


def pages() -> dict[Path, str]:
    """Every page as it should be."""
    made = {DOCS / name: "\n".join(make()).rstrip() + "\n" for name, make in PAGES.items()}
    made |= {DOCS / name: draw() for name, draw in DRAWINGS.items()}
    by_hand = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    return made | {page: included(page) for page in by_hand if page not in made}


def main() -> int:
    """Write or check; the exit code."""
    stale = [page for page, text in pages().items() if not page.exists() or page.read_text() != text]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)} is out of date: run `make docs`")
        return 1 if stale else 0
    for page in stale:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(pages()[page])
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
