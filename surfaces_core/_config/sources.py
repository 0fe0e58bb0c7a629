"""A YAML file with its values filled in from the environment, and where in it each stands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from surfaces_core.errors import ConfigError

Place = tuple[str | int, ...]
"""Where in a file a value stands, from its root."""
REGISTRY = ("agents", "user_agents", "default_agent")
"""The sections that a running host takes up."""
MOST_BYTES = 8 << 20
"""Files larger than this are something else; a registry of ten thousand agents is much smaller."""
UNKNOWN = "?"
"""Stands in the place of what is missing and was told, so that nothing else is said to be missing for it."""
DEEPEST = 20
"""How deep values may be nested."""
_DEEPEST_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One config file: its name, and the line of every place in it."""

    file: str
    lines: Mapping[Place, int] = field(default_factory=dict)
    digest: str = ""
    """Of its bytes as they were read (SHA-256)."""
    settings: str = ""
    """Digest of what it says beside agents and people: what a running host does not take up."""
    filled: set[Place] = field(default_factory=set)
    """Places whose value came from the environment or from a file."""
    missing: set[Place] = field(default_factory=set)
    """Places that are empty, because the environment or a file did not give what should stand there."""
    secret_files: list[Path] = field(default_factory=list)
    """Files that values came from."""

    def error(self, place: Place, problem: str) -> ConfigError:
        """An error at a place, or at the nearest place around it that has a line."""
        around = place
        while around and around not in self.lines:
            around = around[:-1]
        return self.error_at(place, problem, self.lines.get(around, 1))

    def error_at(self, place: Place, problem: str, line: int) -> ConfigError:
        """An error whose line is known."""
        return ConfigError(dotted(place), problem, file=self.file, line=line)


def dotted(place: Place) -> str:
    """A place as people write it: `agents[0].base_url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def dotenv(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; none when there is no file."""
    try:
        lines = _content(path).decode("utf-8-sig").splitlines()  # some editors begin with a mark
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError("", f"cannot be read: {_os_problem(error)}", file=str(path)) from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"\w+", name.strip()):
            raise ConfigError("", "write NAME=value", file=str(path), line=number)
        values[name.strip()] = value.strip().strip("'\"")
    return values


def read(
    path: Path, environment: Mapping[str, str], needed: Collection[str]
) -> tuple[Source, dict[str, Any], list[ConfigError]]:
    """A YAML file with its values filled in, where each stands, and what of it cannot stand as it is."""
    try:
        content = _content(path)
    except OSError as error:
        raise ConfigError("", f"cannot be read: {_os_problem(error)}", file=str(path)) from error
    lines: dict[Place, int] = {}
    source = Source(file=str(path), lines=lines, digest=hashlib.sha256(content).hexdigest())
    root = _tree(path, content)
    if root is None:
        raise source.error((), "the file is empty")
    source = replace(source, settings=_settings(root))
    reader = _Reader(source, lines, environment, needed)
    data = reader.value(root, ())
    if not isinstance(data, dict):
        raise source.error((), "the file must be a mapping of keys to values")
    return source, data, reader.problems


def _settings(root: yaml.Node) -> str:
    """A digest of everything but the registry, whatever its form, before anything is filled in."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return _digest([pair for pair in pairs if pair[0].value not in REGISTRY], {}).hex()


def _digest(part: Any, known: dict[int, bytes]) -> bytes:
    if isinstance(part, (list, tuple)):
        return hashlib.sha256(b"".join(_digest(one, known) for one in part)).digest()
    if not isinstance(part, yaml.Node):
        return hashlib.sha256(str(part).encode()).digest()
    if id(part) not in known:  # an alias stands for what was seen before
        known[id(part)] = b""
        known[id(part)] = hashlib.sha256(str(part.tag).encode() + b"\0" + _digest(part.value, known)).digest()
    return known[id(part)]


def _tree(path: Path, content: bytes) -> yaml.Node | None:
    """What YAML makes of a file. Raises `ConfigError`."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("", "is not UTF-8 text; save it as that", file=str(path)) from error
    try:
        tree = _composed(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ConfigError("", f"is no valid YAML: {_yaml_problem(error)}", file=str(path), line=line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"is no valid YAML: the character U+{error.character:04X} may not stand there; take it out"
        raise ConfigError("", problem, file=str(path), line=line) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError("", "is no valid YAML", file=str(path)) from error
    return tree


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it breaks off"
    if r"'\t'" in problem:
        return f"{problem}; indent with spaces"
    if "cannot start any token" in problem:
        return f"{problem}; put the value in quotes"
    if "another document" in problem:
        return "a second document begins here (`---`); keep one"
    if "<stream end>" in problem:
        return f"{problem}; close the bracket that is open above"
    if "expected <block end>" in problem:
        return f"{problem}; indent this line like those it belongs with"
    if "mapping values are not allowed" in problem:
        return f"{problem}; indent this line like those it belongs with, or put the value in quotes"
    return problem


def _content(path: Path) -> bytes:
    """A whole file, unless nobody can have meant it. Raises `OSError` or `ConfigError`."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        problem = f"is larger than {MOST_BYTES >> 20} MiB, which no config is; name another file"
        raise ConfigError("", problem, file=str(path))
    return content


def _composed(text: str) -> yaml.Node | None:
    """The root of a text's nodes: by libyaml where PyYAML has it, in a sixth of the time.

    Where that finds a fault PyYAML says which, in its own words. Raises `YAMLError` and `RecursionError`.
    """
    with suppress(AttributeError, yaml.YAMLError, RecursionError):
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_TEXT:  # libyaml composes on the stack of the process, and would end it
                raise RecursionError
        found: yaml.Node | None = yaml.compose(text, Loader=yaml.CSafeLoader)
        return found
    root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    return root


def _os_problem(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)


class _Reader:
    """Turns YAML nodes into values, noting lines, refusing doubled keys, filling in the environment."""

    def __init__(
        self, source: Source, lines: dict[Place, int], environment: Mapping[str, str], needed: Collection[str]
    ) -> None:
        self._source = source
        self._lines = lines
        self._environment = environment
        self._needed = needed
        self._scalars = yaml.SafeLoader("")
        self.problems: list[ConfigError] = []
        """What cannot stand as it is, and what the environment or a file should have given; all else is read."""

    def value(self, node: yaml.Node, place: Place) -> Any:
        if len(place) > DEEPEST:  # an alias may also contain itself
            raise self._source.error(place[:3], f"is nested more than {DEEPEST} deep")
        self._lines.setdefault(place, node.start_mark.line + 1)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            self._problem(place, f"the tag {node.tag} means nothing here; take it out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._secret(self._pairs(node, place), place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*place, index)) for index, child in enumerate(node.value)]
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problem(place, "this value cannot be read; put it in quotes")
            return None
        return self._fill(value, place) if isinstance(value, str) else value

    def _pairs(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(self._source.error_at(place, "keys must be plain words", line))
                continue
            name = key_node.value
            if name in result:
                again = "stands here a second time; keep one"
                self.problems.append(self._source.error_at((*place, name), again, line))
                continue
            self._lines[(*place, name)] = line
            result[name] = self.value(value_node, (*place, name))
        return result

    def _fill(self, text: str, place: Place) -> str:
        def found(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            value = self._named(name, place)
            if value is None or (value == "" and default is not None):
                value = default
            if value is None:
                return self._missing(place, f"the environment has no {name}; set it, or write ${{{name}:-default}}")
            return value

        if "${" in text:
            self._source.filled.add(place)
        filled = re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}", found, text)
        if "${" in re.sub(r"\$\{\w+(?::-[^}]*)?\}", "", text):
            self._problem(place, "${ begins no name that ends with }; write ${NAME} or ${NAME:-default}")
        return filled

    def _problem(self, place: Place, problem: str) -> None:
        self.problems.append(self._source.error(place, problem))

    def _missing(self, place: Place, problem: str) -> str:
        self._source.missing.add(place)
        if place and place[0] not in self._needed:
            return ""
        self._problem(place, problem)
        return UNKNOWN

    def _secret(self, pairs: dict[str, Any], place: Place) -> Any:
        if len(pairs) != 1 or not place:
            return pairs
        (kind, name), *_ = pairs.items()
        self._source.filled.add(place)
        if kind == "env" and isinstance(name, str):
            value = self._named(name, place)
            return self._missing(place, f"the environment has no {name}; set it") if value is None else value
        if kind == "file" and isinstance(name, str):
            return self._from_file(name, place)
        return pairs

    def _named(self, name: str, place: Place) -> str | None:
        """What the environment has under a name, or else what a file holds that it names there (`NAME_FILE`)."""
        value, file = self._environment.get(name), self._environment.get(f"{name}_FILE")
        return value if value or not file else self._from_file(file, place)

    def _from_file(self, name: str, place: Place) -> str:
        try:
            secret = Path(name).read_text("utf8").strip()
        except (OSError, ValueError) as error:
            return self._missing(place, f"{name} cannot be read: {_os_problem(error)}")
        self._source.secret_files.append(Path(name))
        return secret or self._missing(place, f"{name} is empty")
