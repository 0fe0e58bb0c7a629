"""Runs a plugin's own tests and the contract checks of its kind, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from surfaces_core._config.discovery import Offer
from surfaces_core._program.checkup.findings import Finding, Subject, about
from surfaces_core._program.checkup.imports import environment

QUIET = ("-q", "-p", "no:cacheprovider")
TESTS = ("test_*.py", "tests/**/test_*.py")
"""Where authors keep theirs."""
MOST = 10
"""Failures that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test that was run."""

    name: str
    failure: str
    """What it said, the first line of it; empty where it passed."""
    skipped: str = ""
    """Why it was left out; empty where it was not."""

    @property
    def promise(self) -> str:
        """Which promise it checks, if it is a contract check."""
        found = re.search(r"\[(?:check_)?(\w+)\]$", self.name)
        return found[1] if found else ""


def judged(subject: Subject, settings: Sequence[str]) -> Iterator[Finding]:
    """What tests say: its own where it has any, and for each entry point that they leave out the contract checks."""
    from surfaces_core.testing import promises

    own: list[Case] = []
    if subject.folder and any(path for where in TESTS for path in subject.folder.glob(where)):
        own = _run(subject, [])
        yield from _failures("tests", own)
        yield _count("tests", own)
    for offer in subject.offers:
        wanted = {promises.name(check) for check in promises.checks(offer.kind)}
        if wanted <= {case.promise for case in own}:
            continue  # its own tests have checked it already
        options = [f"--surfaces-contract={offer.kind}={offer.value}", *(f"--surfaces-set={each}" for each in settings)]
        yield from _contract(subject, offer, _run(subject, options))


def _contract(subject: Subject, offer: Offer, cases: Sequence[Case]) -> Iterator[Finding]:
    reasons = {case.failure for case in cases}
    if reasons and (len(reasons) > 1 or "" in reasons):  # where nothing could be made all fail alike
        yield from _failures(about(offer), cases)
        yield _count(about(offer), cases)
        return
    said = f"the contract checks cannot begin ({''.join(reasons) or 'pytest found nothing to run'})"
    if subject.folder is None:
        yield Finding(level="note", about=about(offer), said=said, remedy="check it in its folder, where its tests are")
        return
    remedy = f"give what is missing with --set, or write a test with surfaces_core.testing.contract.{offer.kind}"
    yield Finding(level="wrong", about=about(offer), said=said, remedy=remedy)


def _failures(what: str, cases: Sequence[Case]) -> Iterator[Finding]:
    failed = [case for case in cases if case.failure]
    for case in failed[:MOST]:
        remedy = "run pytest there to see all of it"
        yield Finding(level="wrong", about=what, said=f"{case.name} fails: {case.failure}", remedy=remedy)
    if failed[MOST:]:
        said = f"{len(failed) - MOST} more tests fail"
        yield Finding(level="wrong", about=what, said=said, remedy="run pytest there to see them")


def _count(what: str, cases: Sequence[Case]) -> Finding:
    passed = sum(not case.failure and not case.skipped for case in cases)
    left_out = [f"{case.promise or case.name} ({case.skipped})" for case in cases if case.skipped]
    said = f"{passed} of {len(cases)} tests pass" + (f", left out: {', '.join(left_out)}" if left_out else "")
    return Finding(level="ok" if passed else "note", about=what, said=said)


def _run(subject: Subject, options: Sequence[str]) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *QUIET, f"--junitxml={report}", *options]
        done = subprocess.run(  # noqa: S603 -- the author's own tests
            command, capture_output=True, text=True, check=False, cwd=subject.folder or folder, env=environment(subject)
        )
        if not report.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
            return [Case(name="pytest", failure=last)]
        return [_case(node) for node in ElementTree.parse(report).iter("testcase")]  # noqa: S314 -- pytest wrote it


def _case(node: ElementTree.Element) -> Case:
    failed = node.find("failure") if node.find("failure") is not None else node.find("error")
    failure = "" if failed is None else _first(failed)
    skipped = node.find("skipped")
    why = "" if skipped is None else skipped.get("message") or "skipped"
    return Case(name=node.get("name", ""), failure=failure, skipped=why.removesuffix(", says the bench"))


def _first(failed: ElementTree.Element) -> str:
    message = failed.get("message", "").replace("collection failure", "")  # pytest's; what it was stands below
    lines = [*message.splitlines(), *(failed.text or "").splitlines()]
    return next((line.strip() for line in lines if line.strip()), "without a word")
