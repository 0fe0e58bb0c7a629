"""`surfaces init`: a commented config, made of what is installed and of a few answers."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from surfaces_core._config.checking import each, is_secret, validate
from surfaces_core._config.config import survey
from surfaces_core._config.discovery import HOOKS, load_driver, offers
from surfaces_core._config.settings import AgentEntry, HostSettings
from surfaces_core._config.sources import Source
from surfaces_core._engine import log
from surfaces_core._host import host
from surfaces_core._program.tables import say
from surfaces_core._program.whole import whole
from surfaces_core.contracts import Driver, Transport
from surfaces_core.errors import ConfigError

KINDS = {"storage": "sqlite", "files": "volume", "surface": "matrix", "transport": "agent_api"}
"""What is asked for, and what is taken where several are installed and nobody says which."""
USUAL_HOOKS = ("context", "chats", "staging")
EXAMPLE = ".env.example"
READABLE = 0o666
"""As far as the umask lets it: no secret is in what is written, and another user may run the host."""


def run(options: argparse.Namespace) -> int:
    """Ask, write, and say what to do next; the exit code."""
    log.configure("error")
    config: Path = options.config
    secrets = config.with_name(EXAMPLE)
    for path in (config, secrets):
        if path.exists():
            raise ConfigError("", f"{path} is there already; move it away, or name another file with -c")
    answers = Answers(given=_given(options.set), asking=sys.stdin.isatty() and not options.yes)
    text = "".join(f"{line}\n" for line in _config(answers, _given(options.use)))
    if answers.given:
        raise ConfigError("", f"nothing here is called {', '.join(sorted(answers.given))}; take it out")
    config.parent.mkdir(parents=True, exist_ok=True)
    with whole(secrets, mode=READABLE) as names, whole(config, mode=READABLE) as file:
        names.write("".join(f"{name}=\n" for name in answers.environment).encode())
        file.write(text.encode())
    say(f"{config}: written; read it once, it says what else may be set")
    say(f"{secrets}: copy it to {config.with_name('.env')} (chmod 600) and fill it in")
    return _checked(config, answers)


def _checked(config: Path, answers: Answers) -> int:
    """What was written is held to what a start would say: a value that was given may still be wrong."""
    found, problems = survey(config, {**os.environ, **dict.fromkeys(answers.environment, "x")})
    problems = [problem for problem in (*problems, *host.check(found)) if problem.where not in answers.open]
    for problem in problems:
        sys.stderr.write(f"surfaces: {problem.code}: {problem}\n")
    if not problems:
        say(f"then: surfaces check -c {config} --agents; surfaces run -c {config}")
    return os.EX_CONFIG if problems else os.EX_OK


def _given(pairs: Sequence[str] | None) -> dict[str, str]:
    parted = [pair.partition("=") for pair in pairs or ()]
    for name, equals, _ in parted:
        if not name or not equals:
            raise ConfigError("", f"write NAME=VALUE instead of {name}")
    return {name: value for name, _, value in parted}


@dataclass(kw_only=True)
class Answers:
    """What was given, what is asked, and which secrets and other values are left to the environment."""

    given: dict[str, str]
    asking: bool
    environment: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    """Places whose value is not known yet."""

    def of(
        self,
        place: str,
        question: str,
        otherwise: str | None = None,
        *,
        wrong: Callable[[str], str | None] = lambda answer: None,
    ) -> str | None:
        """An answer that is not `wrong`; None where there is none. Raises `ConfigError`."""
        if place in self.given:
            answer = self.given.pop(place)
            if (problem := wrong(answer)) is not None:
                raise ConfigError(place, problem)
            return answer
        return self._asked(place, question, otherwise, wrong) if self.asking else otherwise

    def _asked(
        self, place: str, question: str, otherwise: str | None, wrong: Callable[[str], str | None]
    ) -> str | None:
        hint = f" [{otherwise}]" if otherwise else ""
        while True:
            try:
                answer = input(f"{question}{hint}\n  {place}: ").strip()
            except EOFError:  # who hangs up wants no config made of what was not said
                say("")
                raise ConfigError("", "stopped; nothing was written") from None
            problem = wrong(answer) if answer else None
            if problem is None:
                return answer or otherwise
            say(f"  {problem}")

    def left(self, name: str) -> str:
        """The name of a variable that is to hold it."""
        name = name.upper()
        if name not in self.environment:
            self.environment.append(name)
        return name


# The text -----------------------------------------------------------------------------------------


def _config(answers: Answers, chosen: dict[str, str]) -> Iterator[str]:
    drivers = {kind: _driver(kind, chosen, answers) for kind in KINDS}
    if chosen:
        raise ConfigError("", f"there is no kind {', '.join(chosen)}; there are: {', '.join(KINDS)}")
    yield "# Made by `surfaces init`. `surfaces check` says what is wrong with it; what stands behind # is the default."
    for kind in ("storage", "files"):
        name, driver = drivers[kind]
        yield from ("", f"{kind}:", f"  use: {name}", *_settings(answers, driver.Settings, kind, name, "  "))
    for kind, section in (("surface", "surfaces"), ("transport", "transports")):
        name, driver = drivers[kind]
        yield from ("", f"{section}:", f"  {name}:")
        yield from _settings(answers, driver.Settings, f"{section}.{name}", name, "    ")
    yield from _hooks()
    yield from _agent(answers, *drivers["transport"])
    yield from ("", "host:", *_commented(HostSettings, "  "))
    yield from (
        "",
        "# A page that says whether people are served, /livez, /readyz and /metrics for whoever watches the host",
        '# ops: {listen: "127.0.0.1:9400"}',
    )


def _driver(kind: str, chosen: dict[str, str], answers: Answers) -> tuple[str, type[Driver]]:
    group = f"surfaces.{kind}"
    there = sorted({offer.name for offer in offers() if offer.group == group})
    if not there:
        raise ConfigError("", f"no {kind} is installed; pip install surfaces-{'matrix' if kind == 'surface' else kind}")
    usual = KINDS[kind] if KINDS[kind] in there else there[0]
    name = chosen.pop(kind, None)
    if name is None:
        known = ", ".join(there)

        def wrong(answer: str) -> str | None:
            return None if answer in there else f"no {kind} is called {answer}; there are: {known}"

        name = answers.of(kind, f"Which {kind}? There are {known}.", usual, wrong=wrong) if len(there) > 1 else usual
    name = name or usual
    return name, load_driver(group, name)[1]


def _settings(answers: Answers, model: type[BaseModel], place: str, name: str, indent: str) -> Iterator[str]:
    """What must be set and what usually is, then the rest as comments."""
    for key, info in model.model_fields.items():
        if _is_asked(info):
            value = _value(answers, model, key, f"{place}.{key}", f"{name}_{key}")
            yield f"{indent}{key}: {value}  # {_line(info)}"
    yield from _commented(model, indent)


def _is_asked(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return info.is_required() or (isinstance(extra, Mapping) and bool(extra.get("ask")))


def _value(answers: Answers, model: type[BaseModel], key: str, place: str, variable: str) -> str:
    info = model.model_fields[key]
    if is_secret(info):
        return f"{{env: {answers.left(variable)}}}"
    suggested = info.examples[0] if info.examples else None
    answer = answers.of(place, f"{_line(info)}.", suggested, wrong=partial(_wrong, model, key))
    if answer is not None:
        return json.dumps(answer, ensure_ascii=False)
    answers.open.add(place.replace("agent.", "agents[0]."))
    return f'"${{{answers.left(variable)}}}"'


def _wrong(model: type[BaseModel], key: str, answer: str) -> str | None:
    """What a start would say of one value, whatever the others are."""
    if "${" in answer:  # what the environment will have in its place is not known here
        return None
    try:
        validate(model, {key: answer}, Source(file=""), ())
    except ConfigError as error:
        return next((found.problem for found in each(error) if found.where.split(".")[0].split("[")[0] == key), None)
    return None


def _commented(model: type[BaseModel], indent: str) -> Iterator[str]:
    for key, info in model.model_fields.items():
        if not _is_asked(info):
            yield f"{indent}# {key}: {_default(info)}  # {_line(info)}"


def _default(info: FieldInfo) -> str:
    if info.examples:
        return json.dumps(info.examples[0])
    value = info.get_default(call_default_factory=True) if info.default_factory is None else None
    if value is None or value is PydanticUndefined:
        return "null"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, ensure_ascii=False, default=str)


def _line(info: FieldInfo) -> str:
    """What a setting is for, as far as one line needs it."""
    return re.split(r"[;.] |: ", " ".join((info.description or "").split()))[0].rstrip(".")


def _hooks() -> Iterator[str]:
    there = sorted({offer.name for offer in offers() if offer.group == HOOKS})
    usual = [name for name in USUAL_HOOKS if name in there]
    others = [name for name in there if name not in usual]
    yield from (
        "",
        f"hooks: [{', '.join(usual)}]"
        + (f"  # further hooks that are installed: {', '.join(others)}" if others else ""),
    )


def _agent(answers: Answers, name: str, transport: type[Driver]) -> Iterator[str]:
    yield from ("", "# Whom people talk to. Who is not in `user_agents` gets the first agent.", "agents:")
    name_of = answers.of("agent.id", "A name for the first agent.", "agent-0", wrong=partial(_wrong, AgentEntry, "id"))
    yield f"  - id: {json.dumps(name_of)}"
    yield f"    transport: {name}"
    if issubclass(transport, Transport):
        yield from _settings(answers, transport.AgentSettings, "agent", "agent", "    ")
    for key in ("label", "workspace_path", "people"):
        info = AgentEntry.model_fields[key]
        yield f"    # {key}: {_default(info)}  # {_line(info)}"
    yield '# user_agents: {"@ann:example.org": agent-0}'
